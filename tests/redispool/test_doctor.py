from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from redispool import PoolFactory
from redispool.reports import REPORTS, Report

from ..conftest import MakeFactory
from ..support import Valkey, eventually
from ..support.process import Process
from ..support.valkey import free_port

doctor, stats = REPORTS["doctor"], REPORTS["stats"]


@pytest.fixture(autouse=True)
def _figures_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the processes of another one."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", str(tmp_path / "live"))


def found(report: Report, check: str) -> list[tuple[str, str, str]]:
    """Level, sentence and advice of the findings of one check."""
    rows = [row for row in report.rows if row["check"] == check]
    return [(row["level"], row["says"], row["change"]) for row in rows]


def only(report: Report, check: str) -> tuple[str, str, str]:
    """The only finding of a check."""
    (finding,) = found(report, check)
    return finding


def settings(server: Valkey, **options: Any) -> dict[str, Any]:
    """One alias, two connections."""
    return {"default": {"URL": server.url, "MAX_CONNECTIONS": 2, **options}}


def test_all_well(make_factory: MakeFactory, own_server: Valkey) -> None:
    """A fleet in good health has no finding, one sentence and exit code 0."""
    factory = make_factory(settings(own_server))
    with Process(settings(own_server)) as process:
        process.do("redis.ping()")
        report = doctor(factory, factory.aliases)

    assert (report.rows, report.note, report.errors) == ([], "All well.", [])


def test_a_server_that_is_away(make_factory: MakeFactory) -> None:
    """It is wrong, with the server, the reason, and the setting that names it."""
    place = f"127.0.0.1:{free_port()}/0"
    factory = make_factory({"default": {"URL": f"redis://{place}", "RETRIES": 0}})

    report = doctor(factory, factory.aliases)

    level, says, change = only(report, "server")
    assert level == "wrong"
    assert says.startswith(f"default: no answer from {place}: ")
    assert 'The server is named by REDISPOOL["default"]["URL"]' in change
    assert (report.note, report.errors) == ("", ["1 thing is wrong"])


def test_callers_wait(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Who waits now, where, for how long and how full the pool is; and which setting to raise.

    It is wrong from half a second on.
    """
    options = settings(own_server, TIMEOUT=60)
    factory = make_factory(options)
    with Process(options) as process:
        process.take(2)
        process.do("thread = Thread(target=redis.ping); thread.start()")
        eventually(lambda: stats(factory, ["default"]).rows[0]["waiting"] == 1)
        eventually(lambda: stats(factory, ["default"]).rows[0]["oldest_wait_seconds"] >= 0.5)
        level, says, change = only(doctor(factory, factory.aliases), "waiting")
        process.give_back()
        process.do("thread.join()")

    assert level == "wrong"
    assert re.search(rf"^1 caller of default \(threads\) .* of 1 \({process.pid}\)", says)
    assert f"in process {process.pid}, where 2 of 2 are in use." in says
    assert 'raise REDISPOOL["default"]["MAX_CONNECTIONS"]' in change


@pytest.mark.parametrize(("others", "expected"), [(97, "wrong"), (98, "wrong"), (99, "notice")])
def test_callers_timed_out(
    make_factory: MakeFactory, own_server: Valkey, others: int, expected: str
) -> None:
    """How many of how many got no connection in time, and what to change.

    One of a hundred is wrong; fewer may be an outage of long ago.
    """
    options = settings(own_server, TIMEOUT=0.0, MAX_CONNECTIONS=1)
    factory = make_factory(options)
    with Process(options) as process:
        process.take()
        process.do("import contextlib, redis as r")
        process.do("with contextlib.suppress(r.RedisError): redis.ping()")
        process.give_back()
        process.do(f"for _ in range({others}): redis.ping()")
        level, says, change = only(doctor(factory, factory.aliases), "timeouts")

    assert level == expected
    assert says.startswith(f"1 of {others + 2} checkouts of default (threads) timed out")
    assert 'REDISPOOL["default"]["MAX_CONNECTIONS"]' in change
    assert 'REDISPOOL["default"]["TIMEOUT"]' in change


def test_a_lease_is_held_for_long(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Who holds it, for how long, and the line of code that took it."""
    options = settings(own_server, LEAK_THRESHOLD=0.001)
    factory = make_factory(options)
    with Process(options) as process:
        process.take()
        report = eventually(
            lambda: (found(r := doctor(factory, factory.aliases), "leases") and r) or None
        )
        process.give_back()

    level, says, change = only(report, "leases")
    assert level == "wrong"
    assert "by thread MainThread for" in says
    assert "taken at <string>:1 in <module>" in says
    assert 'REDISPOOL["default"]["LEAK_THRESHOLD"]' in change


def test_connections_that_were_dropped(make_factory: MakeFactory, own_server: Valkey) -> None:
    """What the pool had to reclaim is a mistake of the application."""
    factory = make_factory(settings(own_server))
    with Process(settings(own_server)) as process:
        process.do("import warnings; warnings.simplefilter('ignore')")
        process.do("factory.pool().get_connection(); import gc; gc.collect(); redis.ping()")
        level, says, _ = only(doctor(factory, factory.aliases), "dropped")

    assert level == "wrong"
    assert says.startswith("1 connection of default (threads) dropped")


@pytest.mark.parametrize(("maxclients", "check"), [(1, "budget"), (2, "maxclients")])
def test_the_fleet_is_near_maxclients(
    make_factory: MakeFactory, own_server: Valkey, maxclients: int, check: str
) -> None:
    """What the processes may open, and what is open now, is held against maxclients."""
    factory = make_factory(settings(own_server, MAX_PUBSUB=1))
    factory.client().ping()
    with Process(settings(own_server, MAX_PUBSUB=1)) as process:
        process.do("redis.ping()")
        factory.client().config_set("maxclients", maxclients)
        report = doctor(factory, factory.aliases)

    assert only(report, check)[0] == "wrong"


def test_processes_with_other_options(make_factory: MakeFactory, own_server: Valkey) -> None:
    """A process that was started with other settings is told from those of now."""
    factory = make_factory(settings(own_server))
    with Process(settings(own_server, MAX_CONNECTIONS=9)) as process:
        process.do("redis.ping()")
        level, says, change = only(doctor(factory, factory.aliases), "options")

    assert level == "notice"
    assert "have MAX_CONNECTIONS 9, the settings say 2." in says
    assert change.startswith("Restart them")


def test_processes_with_another_version(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Connections tell the library and its version; two of them are a deployment half done."""
    factory = make_factory(settings(own_server))
    with Process(settings(own_server)) as process:
        process.do("redis.ping()")
        process.do("pin = held.enter_context(redis.pinned())")
        process.do("pin.execute_command('CLIENT', 'SETINFO', 'lib-ver', '0.1')")
        level, says, _ = only(doctor(factory, factory.aliases), "versions")
        process.give_back()

    assert level == "notice"
    assert f" 0.1 (process {process.pid})" in says


def test_strangers_and_the_servers_timeout(make_factory: MakeFactory, own_server: Valkey) -> None:
    """Who else is connected, and a server that closes idle clients before the pool does."""
    factory = make_factory(settings(own_server))
    with own_server.outside(client_name="backup") as stranger:
        stranger.config_set("timeout", 100)
        report = doctor(factory, factory.aliases)

    assert only(report, "strangers")[1].endswith(": backup (1).")
    assert only(report, "idle")[2] == 'Set REDISPOOL["default"]["MAX_IDLE"] below 100.'
    assert report.note == "All well."


def test_a_replica_is_no_primary(make_factory: MakeFactory, own_server: Valkey) -> None:
    """A server that refuses writes is wrong, and the setting that names it is told."""
    factory = make_factory(settings(own_server))
    with own_server.outside() as client:
        client.replicaof("127.0.0.1", 1)
        level, says, change = only(doctor(factory, factory.aliases), "role")
        client.replicaof("no", "one")

    assert (level, "is a replica" in says) == ("wrong", True)
    assert 'REDISPOOL["default"]["URL"]' in change


def test_where_nothing_is_seen_the_doctor_says_why(factory: PoolFactory) -> None:
    """That no process is seen is good to know, and no fault."""
    level, says, _ = only(doctor(factory, factory.aliases), "seen")

    assert (level, says[:16]) == ("notice", "Nothing is seen:")


def test_an_outage_that_is_over(make_factory: MakeFactory, own_server: Valkey) -> None:
    """A process that has not tried since the server came back is no fault any more."""
    options = settings(own_server, TIMEOUT=2.0, RETRIES=0)
    factory = make_factory(settings(own_server))
    with Process(options) as process:
        process.do("redis.ping(); import contextlib, redis as r")
        own_server.stop()
        for _ in "ab":
            process.do("with contextlib.suppress(r.RedisError): redis.ping()")
        during = doctor(make_factory(options), ["default"])
        own_server.start()
        after = doctor(factory, factory.aliases)

    assert {row[0] for row in found(during, "outage")} == {"wrong"}
    assert {row[0] for row in found(after, "outage")} == {"notice"}
    assert found(after, "server") == []
