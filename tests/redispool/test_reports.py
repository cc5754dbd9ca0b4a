from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redispool import PoolFactory, PoolStats
from redispool.rendering import FORMATS, run
from redispool.reports import REPORTS, clients, config, ping, stats

from ..conftest import MakeFactory
from ..support import Valkey
from ..support.valkey import free_port

ROOT = Path(__file__).parents[2]
NOWHERE = f"redis://127.0.0.1:{free_port()}/0"

# A process of the same application: connects twice under one alias, says so, ends with its input.
ANOTHER_PROCESS = """
import sys
from redispool import PoolFactory
factory = PoolFactory({sys.argv[2]: sys.argv[1]})
with factory.pool(sys.argv[2]).connection(), factory.pool(sys.argv[2]).connection():
    print("ready", flush=True)
    sys.stdin.read()
"""


class Terminal(io.StringIO):
    """What people look at; remembers what was written, without colours."""

    def isatty(self) -> bool:
        """Say that it is a terminal."""
        return True

    @property
    def text(self) -> str:
        """What there is to read."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.getvalue())


@pytest.fixture
def other(flushed: Valkey) -> Iterator[subprocess.Popen[str]]:
    """Another process, with two connections of the alias ``jobs``."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_PROCESS, flushed.url, "jobs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate()


def rows_of(report: Any, *keys: str) -> list[tuple[Any, ...]]:
    """The values of `keys` in each row."""
    return [tuple(row[key] for key in keys) for row in report.rows]


# stats


def test_stats_has_every_figure_of_every_alias(make_factory: MakeFactory, flushed: Valkey) -> None:
    """A row has all fields of PoolStats, also those that are zero."""
    factory = make_factory({"default": flushed.url, "sessions": NOWHERE})
    factory.client().ping()

    report = stats(factory, factory.aliases)

    assert rows_of(report, "alias", "idle", "acquired_total") == [
        ("default", 1, 1),
        ("sessions", 0, 0),
    ]
    names = [field.name for field in dataclasses.fields(PoolStats)]
    assert all(list(row) == names for row in report.rows)


def test_stats_says_in_words_whose_figures_they_are(factory: PoolFactory) -> None:
    """Nobody takes the figures of the command for those of the processes that serve requests."""
    note = stats(factory, factory.aliases).note

    assert f"pools of this command's own process ({os.getpid()})" in note
    assert "redispool clients" in note


@pytest.mark.parametrize("name", ["stats", "config"])
def test_what_needs_no_server_asks_none(make_factory: MakeFactory, name: str) -> None:
    """`stats` and `config` work while the server is away, and open no connection."""
    factory = make_factory(NOWHERE)

    report = REPORTS[name](factory, factory.aliases)

    assert report.rows
    assert report.errors == []
    assert factory.stats()["default"].create_failed_total == 0


# ping


def test_ping_tells_what_answers(factory: PoolFactory, flushed: Valkey) -> None:
    """A server that answers is shown with its version, its role and how long it took."""
    report = ping(factory, factory.aliases)

    place = f"{flushed.host}:{flushed.port}/0"
    assert rows_of(report, "alias", "server", "answers", "role") == [
        ("default", place, True, "master")
    ]
    (row,) = report.rows
    assert re.fullmatch(r"valkey \d+\.\d+\.\d+", row["version"])
    assert 0 < row["milliseconds"] < 1000
    assert report.errors == []


def test_ping_goes_on_after_a_server_that_is_away(
    make_factory: MakeFactory, flushed: Valkey
) -> None:
    """A server that is away hides no other one; its row has the same keys, and a line says why."""
    factory = make_factory({"gone": NOWHERE, "default": flushed.url})

    report = ping(factory, factory.aliases)

    assert rows_of(report, "alias", "answers") == [("gone", False), ("default", True)]
    assert report.rows[0].keys() == report.rows[1].keys()
    (error,) = report.errors
    place = NOWHERE.removeprefix("redis://")
    assert error.startswith(f"gone: no answer from {place}: Error 111 connecting to ")
    assert "\n" not in error


def test_a_server_that_refuses_is_not_called_away(
    make_factory: MakeFactory, own_server: Valkey
) -> None:
    """A wrong password is told from a dead server, and is not shown."""
    with own_server.outside() as client:
        client.config_set("requirepass", "right")
        factory = make_factory(own_server.url.replace("//", "//:wrong@"))
        report = ping(factory, factory.aliases)
        listed = clients(factory, factory.aliases)
        client.config_set("requirepass", "")

    (error,) = report.errors
    assert error.startswith(f"default: {own_server.host}:{own_server.port}/0 refused: ")
    assert "password" in error
    assert listed.errors == report.errors
    assert "wrong" not in error.replace("wrong number", "")


def test_of_the_aliases_of_a_server_one_that_is_let_in_tells_of_all(
    make_factory: MakeFactory, own_server: Valkey
) -> None:
    """The clients of a server are shown though its first alias is refused."""
    with own_server.outside() as client:
        client.config_set("requirepass", "right")
        refused, let_in = (own_server.url.replace("//", f"//:{word}@") for word in ("no", "right"))
        factory = make_factory({"default": refused, "jobs": let_in})
        listed = clients(factory, factory.aliases)
        client.config_set("requirepass", "")

    assert listed.errors == []
    assert "jobs" in [row["alias"] for row in listed.rows]


# config


def test_config_shows_the_options_in_force(make_factory: MakeFactory) -> None:
    """Each option is there as it is spelled in the settings, with the value that holds."""
    factory = make_factory({"default": {"URL": "redis://cache:7/3", "MAX_CONNECTIONS": 7}})

    found = {row["option"]: row["value"] for row in config(factory, factory.aliases).rows}

    assert (found["HOST"], found["PORT"], found["DB"]) == ("cache", 7, 3)
    assert (found["MAX_CONNECTIONS"], found["TIMEOUT"]) == (7, 5.0)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", REPORTS)
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"URL": "redis://ada:s3cr3t@127.0.0.1:1/0"}, id="URL"),
        pytest.param({"URL": "redis://:s3cr3t%40x@127.0.0.1:1/0"}, id="encoded in URL"),
        pytest.param({"URL": "redis://127.0.0.1:1/0?password=s3cr3t"}, id="query of URL"),
        pytest.param({"HOST": "127.0.0.1", "PORT": 1, "PASSWORD": "s3cr3t"}, id="option"),
        pytest.param(
            {"URL": "rediss://127.0.0.1:1/0", "SSL_PASSWORD": "s3cr3t"},
            id="key of the certificate",
        ),
        pytest.param(
            {"HOST": "127.0.0.1", "PORT": 1, "CREDENTIAL_PROVIDER": lambda: ("ada", "s3cr3t")},
            id="provider",
        ),
    ],
)
def test_no_report_shows_a_secret(
    make_factory: MakeFactory, settings: dict[str, Any], what: str, form: str
) -> None:
    """Neither a report nor what it complains of holds a password, wherever it was given."""
    factory = make_factory({"default": {**settings, "RETRIES": 0}})
    out = io.StringIO()

    errors = run(what, factory, out, form=form)

    assert "s3cr3t" not in out.getvalue()
    assert not any("s3cr3t" in error for error in errors)


# clients


def test_clients_shows_the_other_processes(
    factory: PoolFactory, other: subprocess.Popen[str]
) -> None:
    """Every process with its alias and number of connections; the asking one is marked."""
    report = clients(factory, factory.aliases)

    ours = [row for row in report.rows if row["process"]]
    seen = {(r["alias"], r["process"]): (r["connections"], r["this_command"]) for r in ours}
    assert seen == {("default", os.getpid()): (1, True), ("jobs", other.pid): (2, False)}
    assert len({row["host"] for row in ours}) == 1
    assert report.note == f"{sum(row['connections'] for row in report.rows)} connections"


def test_clients_tells_strangers_apart(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Who is no pool of redispool's is shown as such, with the name that it gave itself."""
    factory = make_factory(own_server.url)
    with own_server.outside() as unnamed, own_server.outside(client_name="backup") as named:
        unnamed.ping()
        named.ping()
        report = clients(factory, factory.aliases)

    assert rows_of(report, "alias", "host", "process", "this_command", "connections") == [
        ("default", report.rows[0]["host"], os.getpid(), True, 1),
        ("not redispool: backup", "127.0.0.1", None, False, 1),
        ("not redispool: unnamed", "127.0.0.1", None, False, 1),
    ]


def test_a_pool_with_a_name_of_its_own_is_no_stranger(
    make_factory: MakeFactory, own_server: Valkey
) -> None:
    """Connections whose CLIENT_NAME the user chose are shown under their alias."""
    factory = make_factory({"default": {"URL": own_server.url, "CLIENT_NAME": "shop"}})

    report = clients(factory, factory.aliases)

    assert rows_of(report, "alias", "process") == [("default", None)]


def test_an_alias_may_have_colons(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Alias, host and process are told apart also where the alias looks like several parts."""
    factory = make_factory({"eu:sessions": own_server.url})

    report = clients(factory, factory.aliases)

    assert rows_of(report, "alias", "process") == [("eu:sessions", os.getpid())]


def test_a_server_is_asked_once(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Aliases on one server are one question: the list is that of the whole server."""
    place = f"redis://{own_server.host}:{own_server.port}"
    factory = make_factory({"default": f"{place}/0", "sessions": f"{place}/1"})
    factory.client("sessions").ping()

    report = clients(factory, factory.aliases)

    assert rows_of(report, "alias", "connections") == [("default", 1), ("sessions", 1)]
    assert {row["server"] for row in report.rows} == {f"{own_server.host}:{own_server.port}"}


def test_clients_of_several_servers(
    make_factory: MakeFactory, own_server: Valkey, flushed: Valkey
) -> None:
    """Each server is asked, and one that is away hides no other one."""
    factory = make_factory({"here": flushed.url, "gone": NOWHERE, "there": own_server.url})

    report = clients(factory, factory.aliases)

    mine = [row for row in report.rows if row["this_command"]]
    assert [row["alias"] for row in mine] == ["here", "there"]
    assert [error.partition(":")[0] for error in report.errors] == ["gone"]


# How they are written


@pytest.mark.parametrize("what", REPORTS)
def test_json_has_the_same_keys_always(make_factory: MakeFactory, what: str) -> None:
    """Programs find ``title``, ``rows``, ``note`` and ``errors``, whether servers answer or not."""
    factory = make_factory({"default": NOWHERE})
    out = io.StringIO()

    errors = run(what, factory, out, form="json")

    answer = json.loads(out.getvalue())
    assert list(answer) == ["title", "rows", "note", "errors"]
    assert answer["errors"] == errors
    assert bool(errors) == (what in {"ping", "clients"})


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("stats", [field.name for field in dataclasses.fields(PoolStats)]),
        ("ping", ["alias", "server", "answers", "milliseconds", "version", "role"]),
        ("config", ["alias", "option", "value"]),
        (
            "clients",
            "server alias host process this_command connections idle_seconds last_command".split(),
        ),
    ],
)
def test_the_keys_of_a_row_are_public(factory: PoolFactory, what: str, keys: list[str]) -> None:
    """The keys of each report stay what they are: scripts rely on them."""
    out = io.StringIO()

    run(what, factory, out, form="json")

    assert all(list(row) == keys for row in json.loads(out.getvalue())["rows"])


def test_only_the_alias_that_was_asked_for(make_factory: MakeFactory, flushed: Valkey) -> None:
    """With an alias, no other one is looked at."""
    factory = make_factory({"default": NOWHERE, "sessions": flushed.url})
    out = io.StringIO()

    assert run("ping", factory, out, alias="sessions", form="json") == []
    assert [row["alias"] for row in json.loads(out.getvalue())["rows"]] == ["sessions"]


@pytest.mark.parametrize("what", REPORTS)
def test_an_unknown_alias_is_answered_with_the_known_ones(factory: PoolFactory, what: str) -> None:
    """An alias that nobody defined is said to be none, in one line; nothing is written."""
    out = io.StringIO()

    errors = run(what, factory, out, alias="sesions")

    assert errors == ["'sesions' is no alias of REDISPOOL; defined are: default"]
    assert out.getvalue() == ""


def test_a_pool_that_cannot_be_made_is_complained_of(make_factory: MakeFactory) -> None:
    """An option that shows to be wrong only when the pool is made is one line too."""
    factory = make_factory({"default": {"CREDENTIAL_PROVIDER": "no.such.provider"}})

    (error,) = run("ping", factory, io.StringIO())

    assert "no.such.provider" in error


def test_nothing_is_folded_in_a_pipe(make_factory: MakeFactory) -> None:
    """In a file or a pipe a row is a line and a value is whole, however long it is."""
    place = "/" + "/".join(f"directory{number}" for number in range(40))
    factory = make_factory({"default": f"unix://{place}"})
    out = io.StringIO()

    run("config", factory, out)

    lines = out.getvalue().splitlines()
    assert sum(place in line for line in lines) == 2  # URL and PATH
    assert len(lines) == 2 + len(config(factory, factory.aliases).rows)


@pytest.mark.parametrize("what", ["stats", "ping", "clients"])
def test_a_terminal_of_80_columns_shows_a_table(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """In an ordinary terminal a report is a table with a line for each row."""
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()

    run(what, factory, out)

    title, heading, first, *_ = out.text.splitlines()
    assert title == REPORTS[what](factory, factory.aliases).title
    assert "alias" in heading
    assert "default" in first
    assert max(map(len, (heading, first))) <= 80


@pytest.mark.parametrize("what", ["stats", "ping", "clients"])
@pytest.mark.parametrize("columns", [30, 40])
def test_a_narrow_terminal_loses_nothing(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch, what: str, columns: int
) -> None:
    """Where a table would not fit, each value has a line of its own, and none is cut."""
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = Terminal()
    run(what, factory, narrow)
    monkeypatch.setenv("COLUMNS", "500")
    wide = Terminal()
    run(what, factory, wide)

    headings = re.split(" {2,}", wide.text.splitlines()[1])
    assert [line for line in headings if line not in narrow.text] == []
    assert "…" not in narrow.text
    assert "\ndefault" not in narrow.text
    assert re.search("^alias +default", narrow.text, re.MULTILINE)


def test_a_value_may_look_like_markup(make_factory: MakeFactory) -> None:
    """What stands in brackets or colons is shown as it is; it does not instruct who draws."""
    factory = make_factory({"[bold]:key:": {"HOST": "::1", "PORT": 1, "USERNAME": "[red]:lock:"}})
    out = io.StringIO()

    run("config", factory, out)

    assert "[bold]:key:  HOST" in out.getvalue()
    assert "[red]:lock:" in out.getvalue()


def test_without_rich_json_still_works(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rich is not installed a table says what to install, and JSON is as ever."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    out = io.StringIO()

    (error,) = run("stats", factory, out)

    assert "pip install rich" in error
    assert "--format json" in error
    assert out.getvalue() == ""
    assert run("stats", factory, out, form="json") == []
