from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from flask_redispool import redis
from redispool.reports import REPORTS

from ..support import Valkey
from ..support.terminal import in_a_terminal
from ..support.valkey import free_port
from .conftest import MakeApp

ROOT = Path(__file__).parents[2]


def flask(app: Flask, *words: str) -> Result:
    """What the command line of `app` answers to ``flask redispool …``."""
    # Not app.test_cli_runner(): that one knows no commands of installed packages.
    return CliRunner().invoke(FlaskGroup(create_app=lambda: app), ["redispool", *words])


def rows(app: Flask, *words: str) -> list[dict[str, Any]]:
    """The rows of a report in JSON."""
    result = flask(app, *words, "--format", "json")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
    return found


@pytest.fixture
def gone(make_app: MakeApp) -> Flask:
    """An application whose server is away."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    return make_app(REDISPOOL={"default": {"URL": url, "RETRIES": 0}})


@pytest.fixture(autouse=True)
def _figures_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the processes of another one."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", str(tmp_path / "live"))


def test_stats_is_what_comes_without_a_word(shop: Flask) -> None:
    """``flask redispool`` is ``flask redispool stats``, and takes the same options."""
    with shop.app_context():
        redis.ping()

    assert flask(shop).stdout.startswith("Pools of all processes\n")
    assert flask(shop, "stats").stdout.splitlines()[:3] == flask(shop).stdout.splitlines()[:3]
    assert [row["process"] for row in rows(shop)] == [os.getpid()]


@pytest.mark.parametrize("what", REPORTS)
def test_every_report_has_a_table_and_json(shop: Flask, what: str) -> None:
    """Each report ends with 0 where the server answers, and comes in both forms."""
    with shop.app_context():
        redis.ping()

    table = flask(shop, what)

    assert (table.exit_code, table.stderr) == (0, "")
    assert {"doctor": "All well.", "budget": "That fits."}.get(what, "default") in table.stdout
    assert rows(shop, what) or what == "doctor"


def test_one_alias_alone(make_app: MakeApp, flushed: Valkey) -> None:
    """``--alias`` leaves the others out."""
    app = make_app(REDISPOOL={"default": flushed.url, "sessions": flushed.url})

    assert [row["alias"] for row in rows(app, "ping")] == ["default", "sessions"]
    assert [row["alias"] for row in rows(app, "ping", "--alias", "sessions")] == ["sessions"]


def test_config_masks_what_is_secret(make_app: MakeApp, flushed: Valkey) -> None:
    """A password in the URL is not shown, neither there nor as an option."""
    app = make_app(REDIS_URL=flushed.url.replace("//", "//ada:s3cr3t@"))

    table = flask(app, "config").stdout

    assert "s3cr3t" not in table
    assert "redis://ada:***@" in table
    assert {row["option"]: row["value"] for row in rows(app, "config")}["PASSWORD"] == "***"


@pytest.mark.parametrize("what", ["ping", "clients", "budget"])
def test_a_server_that_is_away_ends_with_1_and_a_line(gone: Flask, what: str) -> None:
    """Where a server does not answer, the exit code is 1 and one line names alias and server."""
    for form in ("table", "json"):
        result = flask(gone, what, "--format", form)

        assert result.exit_code == 1
        assert re.fullmatch(
            r"Error: default: no answer from 127\.0\.0\.1:\d+/0: .*refused.*\n", result.stderr
        )


@pytest.mark.parametrize("what", ["stats", "config"])
def test_what_needs_no_server_works_without_one(gone: Flask, what: str) -> None:
    """`stats` and `config` do not mind that the server is away."""
    assert flask(gone, what).exit_code == 0


def test_the_doctor_ends_with_1_where_something_is_wrong(gone: Flask) -> None:
    """What is wrong stands in the report; the line on stderr says how much that is."""
    result = flask(gone, "doctor")

    assert (result.exit_code, result.stderr) == (1, "Error: 1 thing is wrong\n")
    assert "wrong: default: no answer from 127.0.0.1:" in result.stdout


def test_an_unknown_alias(shop: Flask) -> None:
    """An alias that nobody defined is one line, with those that are defined; exit code 1."""
    result = flask(shop, "ping", "--alias", "sesions")

    assert result.exit_code == 1
    assert result.stderr == ("Error: 'sesions' is no alias of REDISPOOL; defined are: default\n")


def test_an_unregistered_application() -> None:
    """An application without the extension is told how to register; exit code 1."""
    result = flask(Flask("bakery"))

    assert result.exit_code == 1
    assert re.fullmatch(r"Error: The Flask app 'bakery' .*RedisPool\(app\).*\n", result.stderr)


def test_an_unknown_report(shop: Flask) -> None:
    """A word that is no report is answered with those that are; exit code 2 as ever in click."""
    result = flask(shop, "stat")

    assert result.exit_code == 2
    assert all(what in result.stderr for what in REPORTS)


def test_stats_starts_no_private_server(make_app: MakeApp, tmp_path: Path) -> None:
    """Looking at ``embedded://`` starts nothing and leaves no file."""
    app = make_app(REDIS_URL=f"embedded://{tmp_path}/data")

    for what in ("stats", "config"):
        assert flask(app, what).exit_code == 0
    assert list(tmp_path.iterdir()) == []


# The real program

APP = """
from flask import Flask
from flask_redispool import RedisPool

app = Flask(__name__)
RedisPool(app)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an application in it, as a user has one."""
    (tmp_path / "app.py").write_text(APP, encoding="ascii")
    return tmp_path


def command(*words: str) -> list[str]:
    """``flask redispool …``, with warnings as errors."""
    return [sys.executable, "-W", "error", "-m", "flask", "redispool", *words]


def environment(url: str) -> dict[str, str]:
    """The environment of a shell in which ``REDIS_URL`` is set."""
    return {**os.environ, "REDIS_URL": url, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}


def test_clients_sees_the_other_processes(shop: Flask, flushed: Valkey, project: Path) -> None:
    """The program shows the connections of another process of the application, this one."""
    with shop.app_context():
        redis.ping()

    done = subprocess.run(
        command("clients", "--format", "json"),
        cwd=project,
        env=environment(flushed.url),
        capture_output=True,
        text=True,
        check=True,
    )

    found = {row["process"]: row["this_command"] for row in json.loads(done.stdout)["rows"]}
    assert found.pop(os.getpid()) is False
    assert True in found.values()
    assert done.stderr == ""


def test_the_program_fails_without_a_traceback(project: Path) -> None:
    """A server that is away is one line on stderr, and nothing of the inside."""
    done = subprocess.run(
        command("ping", "--format", "json"),
        cwd=project,
        env=environment(f"redis://127.0.0.1:{free_port()}/0"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["rows"][0]["answers"] is False


def test_a_terminal_gets_a_table(flushed: Valkey, project: Path) -> None:
    """In a real terminal of 80 columns the table fits, and nothing is cut."""
    code, shown = in_a_terminal(
        command("ping"), columns=80, cwd=project, env=environment(flushed.url)
    )

    assert code == 0, shown
    assert "…" not in shown
    assert re.search(r"^alias +server +answers +version +role +named by *$", shown, re.MULTILINE)
    assert re.search(rf"^default +127\.0\.0\.1:{flushed.port}/0 +[0-9.]+ ms ", shown, re.MULTILINE)


def test_watching_ends_with_ctrl_c(flushed: Valkey, project: Path) -> None:
    """In a terminal the picture is drawn again in its place; Ctrl-C ends it with exit code 0."""
    code, shown = in_a_terminal(
        command("clients", "--watch"),
        columns=80,
        cwd=project,
        env=environment(flushed.url),
        interrupt_after=(b"1 connection", 2),
    )

    assert code == 0, shown
    assert "Traceback" not in shown
    assert "Aborted" not in shown
    assert shown.count("Connections of all processes") >= 2
    assert "1 connection\r\x1b[2K\x1b[1A" in shown, "the next picture begins where this one ends"


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_has_enough_ends_the_watching(
    flushed: Valkey, project: Path, form: str
) -> None:
    """``flask redispool … --watch | head`` ends without a complaint when head has ended."""
    with subprocess.Popen(
        command("clients", "--watch", "--format", form),
        cwd=project,
        env=environment(flushed.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
