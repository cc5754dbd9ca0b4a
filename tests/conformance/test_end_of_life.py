from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import Valkey, eventually
from tests.support.scale import scale
from tests.support.web import Watcher, WebServer, load

from .programs import Program, gunicorn_hooks

REQUESTS = scale(4_000, 400)
TIMES = scale(20, 1)
"""How often a program is ended whose threads are somewhere else each time."""


# A signal


def test_sigterm_systemexit_mid_command(flushed: Valkey) -> None:
    """SystemExit from a signal handler frees the place; then ``atexit`` has nothing to wait for."""
    with Program("terminated", flushed.port) as script:
        eventually(lambda: waiting_for_a_list(flushed))
        script.terminate()
        script.finish()

    assert (script.code, script.errors) == (3, "")
    at_the_signal, at_exit = map(json.loads, script.output.splitlines())
    assert at_the_signal == {"in_use": 0, "free": 1}
    assert at_exit == {"cut": 0}


# gunicorn


def site(log: Path, server: Valkey, *options: str) -> WebServer:
    """The keyed site under gunicorn, with two connections in each process."""
    return WebServer(
        *("gunicorn", "--bind", "127.0.0.1:0", *options),
        *("--config", f"python:{gunicorn_hooks.__name__}"),
        f"{__package__}.programs.site_of_keys:application",
        log=log,
        environment={"REDIS_URL": f"{server.url}?max_connections=2"},
    )


GTHREAD = ["--worker-class", "gthread", "--threads", "4"]


@pytest.mark.parametrize(
    ("in_flight", "options"),
    [
        pytest.param(1, ["--worker-class", "sync"], id="sync"),
        pytest.param(1, ["--worker-class", "sync", "--preload"], id="sync, preloaded"),
        pytest.param(2, GTHREAD, id="gthread"),
        pytest.param(2, [*GTHREAD, "--preload"], id="gthread, preloaded"),
        pytest.param(2, ["--worker-class", "gevent"], id="gevent"),
    ],
)
def test_sigterm_is_graceful(
    flushed: Valkey, tmp_path: Path, in_flight: int, options: list[str]
) -> None:
    """Requests that wait for Redis at SIGTERM get their answers; all ends without a complaint."""
    expected = [(f"list {number}", f"value of {number}") for number in range(in_flight)]
    with (
        site(tmp_path / "log", flushed, "--workers", "1", *options) as web,
        ThreadPoolExecutor(in_flight) as browsers,
    ):
        pages = [browsers.submit(web.get, f"/wait/{number}") for number in range(in_flight)]
        eventually(lambda: waiting_for_a_list(flushed) == in_flight)
        web.terminate()
        eventually(lambda: gunicorn_hooks.TOLD_TO_END in web.log.read_text())
        assert not any(page.done() for page in pages)
        with flushed.outside() as outside:
            for name, value in expected:
                outside.rpush(name, value)
        found = [json.loads(page.result(20)) for page in pages]
        assert web.wait() == 0

    assert [(page["list"], page["value"]) for page in found] == expected
    assert web.complaints() == []
    eventually(lambda: not flushed.clients())


def test_gunicorn_preload_e2e(flushed: Valkey, tmp_path: Path) -> None:
    """The master used its pool before it forked: no value is mixed up, no connection shared."""
    with (
        site(tmp_path / "log", flushed, "--workers", "4", "--preload") as web,
        Watcher(flushed) as watcher,
    ):
        found: list[Any] = []
        # Which worker takes a request is the kernel's choice, and one may be passed over for long.
        while len({answer["process"] for answer in found}) < 4:
            found += map(json.loads, load(web, keys(REQUESTS)))
        (masters,) = {tuple(answer["loaded"].values()) for answer in found}
        assert str(masters[1]) in {row["id"] for row in flushed.clients()}, "the master's is open"

    values = [f"value of {number}" for number in range(REQUESTS)]
    assert [answer["value"] for answer in found] == values * (len(found) // REQUESTS)
    users: dict[int, set[int]] = defaultdict(set, {masters[1]: {masters[0]}})
    for answer in found:
        users[answer["connection"]].add(answer["process"])
    assert {connection: used for connection, used in users.items() if len(used) > 1} == {}
    assert len(set.union(*users.values())) == 5, "the master and four workers"
    assert max(watcher.most.values()) <= 2
    assert web.complaints() == []


def keys(count: int) -> list[str]:
    """The paths of the pages of so many keys."""
    return [f"/keyed/{number}" for number in range(count)]


def waiting_for_a_list(server: Valkey) -> int:
    """How many connections wait in BLPOP."""
    return sum(row["cmd"] == "blpop" for row in server.clients())


# The end of the interpreter

ALONE = """
    nothing_done never_closed never_closed_and_local kept_by_the_interpreter
    a_connection_held a_connection_with_an_unread_reply a_pin_and_a_watch an_open_subscription
    an_open_scope a_finalizer_that_gives_back a_finalizer_in_a_cycle a_finalizer_at_the_exit
    a_thread_of_its_own
"""
AMONG_THREADS = """
    busy_daemons daemons_waiting_for_a_reply daemons_in_the_queue
    daemons_in_the_queue_while_others_are_busy daemons_holding daemons_connecting daemons_listening
"""


@pytest.mark.parametrize("situation", ALONE.split())
def test_interpreter_exit_is_silent(flushed: Valkey, situation: str) -> None:
    """A program may end with its pool in any state; nothing is printed, and the code is 0."""
    assert_silent(situation, flushed)


@pytest.mark.parametrize("situation", AMONG_THREADS.split())
def test_interpreter_exit_is_silent_among_threads(flushed: Valkey, situation: str) -> None:
    """The same with daemon threads inside of the pool, which the interpreter stops anywhere."""
    for _ in range(TIMES):
        assert_silent(situation, flushed)


def assert_silent(situation: str, server: Valkey) -> None:
    """Nothing is to be heard of the end, and nothing is left on the server."""
    with Program("exits", server.port, situation) as program:
        program.finish()
    outcome: tuple[Any, ...] = program.code, program.output, program.errors
    assert outcome == (0, "", "")
    eventually(lambda: not server.clients())
