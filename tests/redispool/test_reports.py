from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redispool import PoolFactory, PoolStats
from redispool.columns import columns_of
from redispool.rendering import FORMATS, run
from redispool.reports import REPORTS, clients, config, ping, stats

from ..conftest import MakeFactory
from ..support import Valkey
from ..support.process import Process
from ..support.valkey import free_port

NOWHERE = f"redis://127.0.0.1:{free_port()}/0"


class Terminal(io.StringIO):
    """What people look at; remembers what was written, without colours."""

    def isatty(self) -> bool:
        """Say that it is a terminal."""
        return True

    @property
    def text(self) -> str:
        """What there is to read."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.getvalue())


@pytest.fixture(autouse=True)
def _figures_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the processes of another one."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", str(tmp_path / "live"))


@pytest.fixture
def other(flushed: Valkey) -> Iterator[Process]:
    """Another process, with two connections of the alias ``jobs``."""
    with Process({"default": NOWHERE, "jobs": flushed.url}) as process:
        process.do("for _ in 'ab': held.enter_context(factory.pool('jobs').connection())")
        yield process
        process.give_back()


def rows_of(report: Any, *keys: str) -> list[tuple[Any, ...]]:
    """The values of `keys` in each row."""
    return [tuple(row[key] for key in keys) for row in report.rows]


# stats


def test_stats_has_a_row_for_each_process_alias_and_face(
    make_factory: MakeFactory, flushed: Valkey
) -> None:
    """Every pool that a process has used is a row, with its figures; this command has none."""
    settings = {"default": flushed.url, "jobs": flushed.url}
    with Process(settings) as one, Process(settings) as two:
        one.do("redis.ping(), redis.ping()")
        one.do("import asyncio; asyncio.run(factory.async_client().ping())")
        two.do("factory.client('jobs').ping()")
        two.take()
        report = stats(factory := make_factory(settings), factory.aliases)

    assert rows_of(
        report, "process", "alias", "face", "acquired_total", "in_use", "idle"
    ) == sorted(
        [
            (one.pid, "default", "asyncio", 1, 0, 1),
            (one.pid, "default", "threads", 2, 0, 1),
            (two.pid, "default", "threads", 1, 1, 0),
            (two.pid, "jobs", "threads", 1, 0, 1),
        ]
    )
    assert report.note.splitlines()[0] == (
        "2 processes: 4 connections, 1 in use; 0 callers wait; 5 checkouts, 0 timed out."
    )


def test_stats_tells_who_holds_connections(
    make_factory: MakeFactory, monkeypatch: pytest.MonkeyPatch, flushed: Valkey
) -> None:
    """The oldest leases are named with thread, time and the line that took them."""
    monkeypatch.setenv("COLUMNS", "300")
    factory, out = make_factory(), Terminal()
    with Process(flushed.url) as process:
        process.take()
        (row,) = stats(factory, factory.aliases).rows
        run("stats", factory, out)

    (holder,) = row["holders"]
    assert (holder["name"], holder["place"]) == ("thread MainThread", "<string>:1 in <module>")
    assert row["oldest_lease_seconds"] >= holder["seconds"] > 0
    assert "taken at <string>:1 in <module>" in out.text.splitlines()[-1]
    assert "<string>:1 in <module>" in out.text.splitlines()[3]


def test_a_killed_process_leaves_no_row(factory: PoolFactory, flushed: Valkey) -> None:
    """A process that was killed is gone from the figures at once, and the others stay."""
    with Process(flushed.url) as one, Process(flushed.url) as two:
        one.do("redis.ping()")
        two.do("redis.ping()")
        one.kill()

        assert rows_of(stats(factory, factory.aliases), "process") == [(two.pid,)]


def test_stats_shows_an_outage(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Where a process found its server away, the note says so, since when and why."""
    factory = make_factory(own_server.url)
    with Process({"default": {"URL": own_server.url, "TIMEOUT": 2.0, "RETRIES": 0}}) as process:
        process.do("redis.ping()")
        own_server.stop()
        process.do("import contextlib, redis as r")
        for _ in range(2):  # the first one finds the line dead, the second one dials
            process.do("with contextlib.suppress(r.RedisError): redis.ping()")
        report = stats(factory, factory.aliases)

    assert report.rows[0]["away_seconds"] > 0
    assert re.search(
        rf"^default \(threads\) of process {process.pid} .*: .* has been away for .*: .*refused",
        report.note,
        re.MULTILINE,
    )


def test_stats_of_one_alias(make_factory: MakeFactory, flushed: Valkey) -> None:
    """With an alias only its pools are shown; without, also those that the settings lost."""
    factory = make_factory({"default": flushed.url, "jobs": flushed.url})
    with Process({"default": flushed.url, "jobs": flushed.url, "old": flushed.url}) as process:
        process.do("[factory.client(alias).ping() for alias in factory.aliases]")

        assert rows_of(stats(factory, ["jobs"]), "alias") == [("jobs",)]
        assert rows_of(stats(factory, factory.aliases), "alias") == [
            ("default",),
            ("jobs",),
            ("old",),
        ]


# Where nothing is seen


def test_nobody_has_used_a_pool_yet(factory: PoolFactory) -> None:
    """Without a process there is no row, and the note names the directory and all that may be."""
    report = stats(factory, factory.aliases)

    assert (report.rows, report.errors) == ([], [])
    for words in (str(factory.directory), "another user", "PrivateTmp", "redispool clients"):
        assert words in report.note
    assert "REDISPOOL_LIVE_DIRECTORY" in report.note


def test_all_processes_have_ended(factory: PoolFactory, flushed: Valkey) -> None:
    """The same holds where there were processes."""
    with Process(flushed.url) as process:
        process.do("redis.ping()")

    note = stats(factory, factory.aliases).note
    assert note.startswith(f"Nothing is seen: no process shows figures in {factory.directory} now.")


def test_figures_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who switched them off is told how to switch them on."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", "")
    with PoolFactory(NOWHERE) as factory:
        note = stats(factory, factory.aliases).note

    assert "switched off" in note
    assert note.endswith("Give REDISPOOL_LIVE_DIRECTORY the path of a directory, or leave it out.")


def test_the_directory_is_not_private(factory: PoolFactory) -> None:
    """A directory that others may enter is not read, and the note says what to do."""
    assert factory.directory is not None
    factory.directory.mkdir(parents=True)
    factory.directory.chmod(0o755)

    note = stats(factory, factory.aliases).note

    assert f"chmod 700 {factory.directory}" in note


def test_another_user_has_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where another user's processes show theirs, the note names place and user."""
    monkeypatch.delenv("REDISPOOL_LIVE_DIRECTORY")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    user = os.geteuid()
    theirs = tmp_path / f"redispool-{user}"
    theirs.mkdir()
    monkeypatch.setattr("os.geteuid", lambda: user + 1)

    with PoolFactory(NOWHERE) as factory:
        note = stats(factory, factory.aliases).note

    assert f"There are figures of other users: {theirs} (" in note
    assert "as the user of the processes" in note


@pytest.mark.parametrize("name", ["stats", "config"])
def test_what_needs_no_server_asks_none(make_factory: MakeFactory, name: str) -> None:
    """`stats` and `config` work while the server is away, and open no connection."""
    factory = make_factory(NOWHERE)

    report = REPORTS[name](factory, factory.aliases)

    assert report.rows or report.note
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


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ("{url}", "REDISPOOL"),
        ({"default": "{url}"}, 'REDISPOOL["default"]'),
        ({"default": {"URL": "{url}"}}, 'REDISPOOL["default"]["URL"]'),
        ({"default": {"TIMEOUT": 1.0}}, "REDIS_URL in the environment"),
    ],
    ids=str,
)
def test_ping_says_which_setting_names_the_server(
    make_factory: MakeFactory,
    monkeypatch: pytest.MonkeyPatch,
    flushed: Valkey,
    settings: Any,
    setting: str,
) -> None:
    """The setting is told as it was typed, wherever it stands."""
    monkeypatch.setenv("REDIS_URL", flushed.url)
    factory = make_factory(json.loads(json.dumps(settings).replace("{url}", flushed.url)))

    assert rows_of(ping(factory, factory.aliases), "answers", "setting") == [(True, setting)]


def test_ping_says_that_no_setting_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is the default is named by nobody."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    with PoolFactory({"default": {"TIMEOUT": 0.0, "RETRIES": 0}}) as factory:
        assert rows_of(ping(factory, factory.aliases), "setting") == [(None,)]


# config


def test_config_shows_the_options_in_force(make_factory: MakeFactory) -> None:
    """Each option is there as it is spelled in the settings, with the value that holds."""
    factory = make_factory({"default": {"URL": "redis://cache:7/3", "MAX_CONNECTIONS": 7}})

    found = {row["option"]: row["value"] for row in config(factory, factory.aliases).rows}

    assert (found["HOST"], found["PORT"], found["DB"]) == ("cache", 7, 3)
    assert (found["MAX_CONNECTIONS"], found["TIMEOUT"]) == (7, 5.0)


def test_config_tells_where_each_option_comes_from(make_factory: MakeFactory) -> None:
    """An option is a default, a part of a URL, or a setting; the last two are named as typed."""
    url = "rediss://ada:s3cr3t@cache:7/3?timeout=2&ssl_check_hostname=no"
    factory = make_factory({"default": {"URL": url, "MAX_CONNECTIONS": 50, "ssl_min_version": 771}})

    rows = config(factory, factory.aliases).rows

    label = 'REDISPOOL["default"]'
    found = {row["option"]: (row["origin"], row["setting"]) for row in rows}
    of_url = {name for name, (origin, _) in found.items() if origin == "url"}
    assert of_url == {
        *("HOST", "PORT", "DB", "USERNAME", "PASSWORD", "SSL"),
        *("TIMEOUT", "SSL_CHECK_HOSTNAME"),
    }
    assert {found[name] for name in of_url} == {("url", f'{label}["URL"]')}
    assert found["URL"] == ("setting", f'{label}["URL"]')
    assert found["MAX_CONNECTIONS"] == ("setting", f'{label}["MAX_CONNECTIONS"]')
    assert found["SSL_MIN_VERSION"] == ("setting", f'{label}["ssl_min_version"]')
    assert found["RETRIES"] == ("default", None)


def test_config_shows_origins_in_words(factory: PoolFactory, flushed: Valkey) -> None:
    """In a table the last column says it: a setting, the URL of a setting, or default."""
    out = io.StringIO()

    run("config", factory, out)

    text = out.getvalue()
    assert re.search(r"^default +URL +redis://\S+ +REDISPOOL *$", text, re.MULTILINE)
    assert re.search(rf"^default +PORT +{flushed.port} +URL of REDISPOOL *$", text, re.MULTILINE)
    assert re.search(r"^default +RETRIES +3 +default *$", text, re.MULTILINE)


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


def test_clients_shows_the_other_processes(factory: PoolFactory, other: Process) -> None:
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
    assert bool(errors) == (what not in {"stats", "config"})


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        (
            "stats",
            "process program started face "
            + " ".join(field.name for field in dataclasses.fields(PoolStats))
            + " holders",
        ),
        ("ping", "alias server answers milliseconds version role setting"),
        ("config", "alias option value origin setting"),
        (
            "clients",
            "server alias host process this_command connections idle_seconds last_command library",
        ),
        (
            "budget",
            "server maxclients connected others processes connections subscriptions most verdict "
            "shares",
        ),
        ("doctor", "level check about says change"),
    ],
)
def test_the_keys_of_a_row_are_public(
    make_factory: MakeFactory, own_server: Valkey, what: str, keys: str
) -> None:
    """The keys of each report stay what they are: scripts rely on them."""
    out = io.StringIO()

    with Process(own_server.url) as process, own_server.outside() as stranger:
        process.take()
        stranger.ping()
        run(what, make_factory(own_server.url), out, form="json")

    rows = json.loads(out.getvalue())["rows"]
    assert rows
    assert all(list(row) == keys.split() for row in rows)


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


TABLES = [what for what in REPORTS if what not in {"config", "doctor"}]


def drawn(what: str, factory: PoolFactory, monkeypatch: pytest.MonkeyPatch, columns: int) -> str:
    """What a terminal of so many columns shows of a report."""
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    run(what, factory, out)
    return out.text


@pytest.mark.parametrize("what", TABLES)
@pytest.mark.usefixtures("other")
def test_a_terminal_of_80_columns_shows_a_table(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """In an ordinary terminal a report is a table with a line for each row."""
    title, *lines = drawn(what, factory, monkeypatch, 80).splitlines()

    report = REPORTS[what](factory, factory.aliases)
    assert title == report.title
    columns = columns_of(what, report.rows)
    needed = {column.heading.rpartition("\n")[2] for column in columns if not column.spare}
    heading = 1 if what == "stats" else 0  # that of stats has two lines
    assert needed <= set(re.split(" {2,}", lines[heading].strip()))
    table = lines[: heading + 1 + len(report.rows)]
    assert all(str(columns[0].shown(report.rows[0])) in line for line in table[heading + 1 :])
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize("columns", [30, 40])
@pytest.mark.parametrize("what", TABLES)
@pytest.mark.usefixtures("other")
def test_a_narrow_terminal_loses_nothing(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch, what: str, columns: int
) -> None:
    """Where a table would not fit, each value has a line of its own, and none is cut."""
    narrow = drawn(what, factory, monkeypatch, columns)

    rows = REPORTS[what](factory, factory.aliases).rows
    headings = [column.heading.replace("\n", " ") for column in columns_of(what, rows)]
    assert [each for each in headings if f"\n{each}  " not in f"\n{narrow}"] == []
    assert "…" not in narrow
    if "alias" in headings:
        assert re.search("^alias +(default|jobs)", narrow, re.MULTILINE)


@pytest.mark.usefixtures("other")
def test_what_there_is_no_room_for_is_said(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns are left out one by one, the least needed first, and the reader is told which."""
    narrow = drawn("stats", factory, monkeypatch, 80)
    wide = drawn("stats", factory, monkeypatch, 500)

    assert "No room for: server, face, taken at." in narrow
    assert "No room" not in wide
    assert re.search("^process +alias +face +server ", wide, re.MULTILINE)


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


# Watched


class Watched(io.StringIO):
    """An output whose reader presses Ctrl-C at the fourth picture."""

    def __init__(self, terminal: bool, words: str) -> None:
        super().__init__()
        self.left, self.terminal, self.words = 4, terminal, words

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return self.terminal

    def write(self, text: str, /) -> int:
        """Take what is written, as long as somebody reads."""
        if self.words in text:
            self.left -= 1
            if self.left == 0:  # once: the terminal is tidied up then
                raise KeyboardInterrupt
        return super().write(text)


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("form", FORMATS)
def test_it_is_written_again_until_nobody_looks(
    factory: PoolFactory,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    terminal: bool,
) -> None:
    """A report that is watched is written anew each time, and ends well with Ctrl-C."""
    monkeypatch.setattr("redispool.rendering.EVERY", 0.0)
    out = Watched(terminal, "callers wait")

    assert run("stats", factory, out, form=form, watch=True) == []
    pictures = out.getvalue()
    assert pictures.count("callers wait") >= 3
    if form == "json":
        assert {json.loads(line)["title"] for line in pictures.splitlines()} == {
            "Pools of all processes"
        }


def test_a_picture_that_is_watched_shows_what_is_wrong(
    make_factory: MakeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is away is in the picture, and does not end the watching."""
    monkeypatch.setattr("redispool.rendering.EVERY", 0.0)
    factory = make_factory({"default": {"URL": NOWHERE, "RETRIES": 0}})
    out = Watched(True, "no answer from")

    assert run("ping", factory, out, watch=True) == []
    assert out.getvalue().count("no answer from") >= 3
