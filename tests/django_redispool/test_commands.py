from __future__ import annotations

import io
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_redispool import redis
from django_redispool.pools import Pools
from redispool.reports import REPORTS

from ..support import Valkey
from ..support.terminal import in_a_terminal
from ..support.valkey import free_port
from .manage import ROOT, command, environment, manage


def called(*words: str, **options: Any) -> str:
    """What ``call_command("redispool", …)`` writes."""
    out = io.StringIO()
    call_command("redispool", *words, stdout=out, **options)
    return out.getvalue()


def rows(*words: str, **options: Any) -> list[dict[str, Any]]:
    """The rows of a report in JSON."""
    found: list[dict[str, Any]] = json.loads(called(*words, format="json", **options))["rows"]
    return found


@pytest.fixture
def gone(settings: Any) -> str:
    """A project whose server is away; gives its place."""
    place = f"127.0.0.1:{free_port()}/0"
    settings.REDISPOOL = {"default": {"URL": f"redis://{place}", "RETRIES": 0}}
    return place


@pytest.fixture(autouse=True)
def _figures_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the processes of another one."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", str(tmp_path / "live"))


def test_stats_is_what_comes_without_a_word(site: Pools) -> None:
    """``manage.py redispool`` is ``manage.py redispool stats``, and takes the same options."""
    redis.ping()

    assert called().startswith("Pools of all processes\n")
    assert called().splitlines()[:3] == called("stats").splitlines()[:3]
    assert [row["process"] for row in rows()] == [os.getpid()]


@pytest.mark.parametrize("what", REPORTS)
def test_every_report_has_a_table_and_json(site: Pools, what: str) -> None:
    """Each report comes in both forms, by options and by words."""
    redis.ping()

    assert {"doctor": "All well.", "budget": "That fits."}.get(what, "default") in called(what)
    assert rows(what) or what == "doctor"
    assert json.loads(called(what, "--format", "json"))["errors"] == []


def test_one_alias_alone(site: Pools, flushed: Valkey, settings: Any) -> None:
    """``--alias`` leaves the others out."""
    settings.REDISPOOL = {"default": flushed.url, "sessions": flushed.url}

    assert [row["alias"] for row in rows("ping")] == ["default", "sessions"]
    assert [row["alias"] for row in rows("ping", alias="sessions")] == ["sessions"]
    assert [row["alias"] for row in rows("ping", "--alias", "sessions")] == ["sessions"]


def test_config_masks_what_is_secret(site: Pools, flushed: Valkey, settings: Any) -> None:
    """A password in the URL is not shown, neither there nor as an option."""
    settings.REDIS_URL = flushed.url.replace("//", "//ada:s3cr3t@")

    assert "s3cr3t" not in called("config")
    assert "redis://ada:***@" in called("config")


@pytest.mark.parametrize("what", ["ping", "clients", "budget"])
def test_a_server_that_is_away_is_a_command_error(gone: str, what: str) -> None:
    """Where a server does not answer, the error names alias and server in one line."""
    with pytest.raises(CommandError) as caught:
        called(what)

    assert str(caught.value).startswith(f"default: no answer from {gone}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["stats", "config"])
def test_what_needs_no_server_works_without_one(gone: str, what: str) -> None:
    """`stats` and `config` do not mind that the server is away."""
    assert {row["alias"] for row in rows(what)} <= {"default"}
    assert called(what)


def test_the_doctor_ends_with_1_where_something_is_wrong(gone: str) -> None:
    """What is wrong stands in the report; the error says how much that is."""
    out = io.StringIO()

    with pytest.raises(CommandError, match=r"^1 thing is wrong$"):
        call_command("redispool", "doctor", stdout=out)

    assert f"wrong: default: no answer from {gone}: " in out.getvalue()


def test_an_unknown_alias(site: Pools) -> None:
    """An alias that nobody defined is answered with those that are."""
    with pytest.raises(CommandError, match=r"^'sesions' is no alias.*defined are: default$"):
        called("ping", alias="sesions")


def test_a_mistake_in_the_settings_is_a_command_error(settings: Any) -> None:
    """What the checks would say is said here as well, without a traceback."""
    settings.REDISPOOL = {"default": {"MAX_CONECTIONS": 2}}

    with pytest.raises(CommandError, match=r'REDISPOOL\["default"\]\["MAX_CONECTIONS"\]: unknown'):
        called("stats")


def test_stats_starts_no_private_server(settings: Any, tmp_path: Path) -> None:
    """Looking at ``embedded://`` starts nothing and leaves no file."""
    settings.BASE_DIR = tmp_path
    settings.REDIS_URL = "embedded://"

    for what in ("stats", "config"):
        assert called(what)
    assert list(tmp_path.iterdir()) == []


# The real program


@pytest.mark.parametrize("words", [[], ["stats"], ["config", "--format", "json"]], ids=str)
def test_the_program_without_a_server(words: list[str]) -> None:
    """`stats` and `config` end with 0 while the server is away, with nothing on stderr."""
    done = manage("redispool", *words, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert (done.returncode, done.stderr) == (0, "")
    assert "default" in done.stdout or done.stdout.startswith("Nothing is seen: no process ")


def test_the_program_fails_without_a_traceback() -> None:
    """A server that is away is exit code 1 and one line on stderr; JSON stays JSON."""
    done = manage("redispool", "ping", "--format", "json", REDIS_URL="redis://127.0.0.1:1/0")

    assert done.returncode == 1
    assert re.fullmatch(
        r"CommandError: default: no answer from 127\.0\.0\.1:1/0: .*\n", done.stderr
    )
    assert json.loads(done.stdout)["rows"][0]["answers"] is False


def test_clients_sees_the_other_processes(site: Pools, flushed: Valkey) -> None:
    """The program shows the connections of another process of the project, this one."""
    redis.ping()

    done = manage("redispool", "clients", "--format", "json", REDIS_URL=flushed.url)

    found = {row["process"]: row["this_command"] for row in json.loads(done.stdout)["rows"]}
    assert found.pop(os.getpid()) is False
    assert True in found.values()
    assert done.stderr == ""


def test_a_terminal_gets_a_table(flushed: Valkey) -> None:
    """In a real terminal of 80 columns the table fits, and nothing is cut."""
    code, shown = in_a_terminal(
        command("redispool", "ping"),
        columns=80,
        cwd=ROOT,
        env=environment(REDIS_URL=flushed.url),
    )

    assert code == 0, shown
    assert "…" not in shown
    assert re.search(rf"^default +127\.0\.0\.1:{flushed.port}/0 +[0-9.]+ ms ", shown, re.MULTILINE)


def test_watching_ends_with_ctrl_c(flushed: Valkey) -> None:
    """In a terminal the picture is drawn again in its place; Ctrl-C ends it with exit code 0."""
    code, shown = in_a_terminal(
        command("redispool", "clients", "--watch"),
        columns=80,
        cwd=ROOT,
        env=environment(REDIS_URL=flushed.url),
        interrupt_after=(b"1 connection", 2),
    )

    assert code == 0, shown
    assert "Traceback" not in shown
    assert shown.count("Connections of all processes") >= 2
    assert "1 connection\r\x1b[2K\x1b[1A" in shown, "the next picture begins where this one ends"


def test_a_reader_that_has_enough_ends_the_watching(flushed: Valkey) -> None:
    """``manage.py redispool … --watch | head`` ends without a complaint when head has ended."""
    with subprocess.Popen(
        command("redispool", "clients", "--watch", "--format", "json"),
        cwd=ROOT,
        env=environment(REDIS_URL=flushed.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_check_is_content_with_a_good_setting() -> None:
    """``manage.py check --deploy`` has nothing to say of a server with a name."""
    done = manage("check", "--deploy", "--tag", "redispool", REDIS_URL="redis://cache/0")

    assert done.returncode == 0, done.stderr
    assert "redispool." not in done.stderr


def test_check_tells_a_mistake() -> None:
    """``manage.py check`` ends with 1 and tells id, text and hint of a mistake, no more."""
    done = manage("check", REDIS_URL="redis://127.0.0.1/abc")

    assert done.returncode == 1
    assert re.search(r"\(redispool\.E001\) REDIS_URL.*: the path of the URL", done.stderr)
    assert "HINT: " in done.stderr
    assert "Traceback" not in done.stderr


def test_check_warns_before_a_deployment() -> None:
    """``manage.py check --deploy`` warns of a project that names no server, and ends with 0."""
    done = manage("check", "--deploy", "--tag", "redispool")

    assert done.returncode == 0
    assert "(redispool.W002)" in done.stderr
