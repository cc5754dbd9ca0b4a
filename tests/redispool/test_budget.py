from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redispool.reports import REPORTS, Report

from ..conftest import MakeFactory
from ..support import Valkey
from ..support.process import Process

budget = REPORTS["budget"]


@pytest.fixture(autouse=True)
def _figures_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the processes of another one."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", str(tmp_path / "live"))


def settings(server: Valkey, size: int = 5, subscriptions: int = 7) -> dict[str, Any]:
    """One alias with small bounds."""
    options = {"URL": server.url, "MAX_CONNECTIONS": size, "MAX_PUBSUB": subscriptions}
    return {"default": options}


def allow(server: Valkey, maxclients: int) -> None:
    """Set how many clients the server lets in."""
    with server.outside() as client:
        client.config_set("maxclients", maxclients)


def told(report: Report, *keys: str) -> tuple[Any, ...]:
    """The values of `keys` in the only row."""
    (row,) = report.rows
    return tuple(row[key] for key in keys)


def test_every_process_and_face_is_counted(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Threads and asyncio have pools of their own, each with its subscriptions on top."""
    factory = make_factory(settings(own_server))
    with Process(settings(own_server)) as one, Process(settings(own_server)) as two:
        one.do("redis.ping()")
        two.do("redis.ping(); import asyncio; asyncio.run(factory.async_client().ping())")
        report = budget(factory, factory.aliases)

    keys = "processes", "connections", "subscriptions", "others", "most"
    assert told(report, *keys) == (2, 3 * 5, 3 * 7, 0, 3 * 12)
    (row,) = report.rows
    assert [(share["face"], share["processes"]) for share in row["shares"]] == [
        ("asyncio", 1),
        ("threads", 2),
    ]


def test_a_process_that_is_not_seen_here_counts_as_the_others(
    make_factory: MakeFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_server: Valkey
) -> None:
    """CLIENT LIST knows processes of other hosts and users; each may open what the settings say."""
    factory = make_factory(settings(own_server))
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", str(tmp_path / "elsewhere"))
    with Process(settings(own_server)) as process:
        process.do("redis.ping()")
        report = budget(factory, factory.aliases)

    assert told(report, "processes", "connections", "subscriptions") == (1, 5, 7)


def test_strangers_are_counted_as_they_are(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Connections that no pool bounds take from what is left; this command's own do not count."""
    factory = make_factory(settings(own_server))
    factory.client().ping()
    with own_server.outside() as one, own_server.outside() as two:
        one.ping()
        two.ping()
        report = budget(factory, factory.aliases)

    assert told(report, "processes", "others", "most", "connected") == (0, 2, 2, 3)
    assert "no process has used a pool" in report.note


@pytest.mark.parametrize(
    ("maxclients", "verdict"),
    [(12, "fits"), (11, "tight"), (5, "tight"), (4, "too many")],
)
def test_the_verdict(
    make_factory: MakeFactory, own_server: Valkey, maxclients: int, verdict: str
) -> None:
    """It fits, or only without subscriptions, or not; words and exit code tell which."""
    factory = make_factory(settings(own_server))
    with Process(settings(own_server)) as process:
        process.do("redis.ping()")
        allow(own_server, maxclients)
        report = budget(factory, factory.aliases)

    assert told(report, "maxclients", "verdict") == (maxclients, verdict)
    if verdict == "fits":
        assert report.errors == []
        assert "1 process × (5 + 7 for subscriptions) for default (threads)" in report.note
        assert report.note.endswith("12 at the most. That fits.")
    else:
        (sentence,) = report.errors
        for name in ("MAX_CONNECTIONS", "MAX_PUBSUB"):
            assert f'REDISPOOL["default"]["{name}"]' in sentence
        assert sentence.endswith("or raise maxclients.")


def test_where_config_is_forbidden(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Hosting services forbid CONFIG; INFO knows maxclients as well."""
    allow(own_server, 77)
    with own_server.outside() as client:
        client.acl_setuser(
            "app", enabled=True, passwords=["+word"], categories=["+@all"], commands=["-config"]
        )
    url = own_server.url.replace("//", "//app:word@")
    factory = make_factory({"default": url})

    assert told(budget(factory, factory.aliases), "maxclients", "verdict") == (77, "fits")


def test_a_resized_pool_counts_as_it_is(make_factory: MakeFactory, own_server: Valkey) -> None:
    """What counts is the bound in force in each process, not what the settings say."""
    factory = make_factory(settings(own_server))
    with Process(settings(own_server)) as process:
        process.do("redis.ping(); factory.pool().resize(9)")
        report = budget(factory, factory.aliases)

    assert told(report, "connections") == (9,)


def test_an_alias_may_have_letters_that_no_name_has(
    make_factory: MakeFactory, own_server: Valkey
) -> None:
    """A process counts once, also where the names of its connections spell the alias otherwise."""
    options = {"small jobs": {"URL": own_server.url, "MAX_CONNECTIONS": 5, "MAX_PUBSUB": 7}}
    factory = make_factory(options)
    with Process(options | {"default": own_server.url}) as process:
        process.do("factory.client('small jobs').ping()")
        report = budget(factory, factory.aliases)

    assert told(report, "processes", "connections", "others") == (1, 5, 0)
