from __future__ import annotations

import dataclasses
import json
import re
import sys
import threading
from pathlib import Path

import pytest
import redis

from redispool import ConnectionPool, NotOwned, PoolStats, Redis
from redispool.capacity import Capacity
from redispool.cells import CLOSE_REASONS
from tests.conftest import MakePool
from tests.support import Clock, eventually, run_threads


def places(stats: PoolStats) -> tuple[int, int, int, int]:
    """Where the places are."""
    return stats.idle, stats.in_use, stats.connecting, stats.permits


def test_a_new_pool_has_nothing_to_tell(pool: ConnectionPool) -> None:
    """Before the first checkout all places are permits, and all counters are 0."""
    stats = pool.stats()

    assert places(stats) == (0, 0, 0, 2)
    assert stats.requests_total == stats.created_total == stats.misuse_total == 0
    assert (stats.waiting, stats.pubsub, stats.oldest_lease_seconds, stats.closed) == (
        0,
        0,
        0.0,
        False,
    )


def test_every_figure_is_always_there(pool: ConnectionPool) -> None:
    """Reasons and kinds that have not come up are there with 0; everything is plain JSON."""
    stats = pool.stats()

    assert set(stats.closed_total) == set(CLOSE_REASONS)
    assert set(stats.checks_total) == {"look", "ping"}
    assert json.loads(json.dumps(stats.as_dict()))["max_connections"] == 2


def test_the_configuration_is_there(make_pool: MakePool) -> None:
    """Alias, server and bounds stand beside the figures, without a password."""
    pool = make_pool(max_connections=7, min_idle=3, max_waiting=9, db=2)
    stats = pool.stats()

    assert (stats.alias, stats.server) == (pool.alias, pool.options.server)
    assert (stats.max_connections, stats.min_idle, stats.max_waiting) == (7, 3, 9)


def test_the_places_add_up_at_every_step(pool: ConnectionPool) -> None:
    """Idle, in use, connecting and permits are always as many as ``max_connections``."""
    seen = [places(pool.stats())]
    first = pool.acquire()
    seen.append(places(pool.stats()))
    second = pool.acquire()
    seen.append(places(pool.stats()))
    pool.release(first)
    seen.append(places(pool.stats()))
    second.send_command("PING")
    pool.release(second)
    seen.append(places(pool.stats()))

    assert seen == [(0, 0, 0, 2), (0, 1, 0, 1), (0, 2, 0, 0), (1, 1, 0, 0), (1, 0, 0, 1)]


def test_a_lost_place_would_be_seen(pool: ConnectionPool) -> None:
    """The sum is counted place by place, not filled up to what it ought to be."""
    pool.capacity._places.popitem()

    stats = pool.stats()

    assert sum(places(stats)) <= 2
    assert stats.connecting == 0


def test_a_place_that_was_lost_is_back_when_one_looks(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an interrupted finalizer lost is made good before it is counted."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Capacity, "reclaim", interrupt)
        pool.capacity.queue.take()

    assert places(pool.stats()) == (0, 0, 0, 2)


def test_waiting_is_measured(make_pool: MakePool) -> None:
    """Who waited, how many, for how long: together, and the longest of all."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    threads = [threading.Thread(target=lambda: pool.release(pool.acquire())) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: pool.stats().waiting == 2)
    threading.Event().wait(0.05)
    pool.release(connection)
    for thread in threads:
        thread.join()

    stats = pool.stats()
    assert (stats.waiting, stats.acquired_waited_total, stats.acquired_total) == (0, 2, 3)
    assert 0.05 <= stats.wait_seconds_max <= stats.wait_seconds_sum < 5.0


def test_connecting_is_measured(pool: ConnectionPool) -> None:
    """Connections made, and the time that it took."""
    pool.warm_up(2)

    stats = pool.stats()
    assert stats.created_total == 2
    assert 0.0 < stats.create_seconds_sum < 5.0
    assert stats.create_failed_total == 0


def test_each_close_has_its_reason(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection that was closed is counted once, under the reason why."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, max_idle=100.0, max_lifetime=1000.0)

    def closed_for(reason: str) -> None:
        stats = pool.stats()
        assert stats.closed_total[reason] == 1
        assert sum(stats.closed_total.values()) + stats.idle == stats.created_total

    with pool.connection() as connection:
        connection.send_command("PING")
    closed_for("dirty_pending")
    with pool.connection() as connection:
        connection.send_command("SELECT", 1)
        connection.read_response()
    closed_for("dirty_tainted")
    with pool.connection() as connection:
        connection.disconnect()
    closed_for("dead_in_use")
    with pool.connection():
        pass
    pool.recycle()
    closed_for("drained")
    with pool.connection():
        pass
    clock.advance(101.0)
    with pool.connection():
        pass
    closed_for("idle")
    with pool.connection():
        clock.advance(1101.0)
    closed_for("lifetime")
    with pool.connection():
        pass
    pool.close()
    closed_for("pool_closed")


def test_checks_are_counted(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check before lending is counted by its kind; what was just used is not checked."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, health_check_interval=30.0)
    seen = []
    for idle_for in (0.0, 0.0, 1.0, 31.0):
        clock.advance(idle_for)
        with pool.connection():
            seen.append(tuple(pool.stats().checks_total.values()))

    assert seen == [(0, 0), (0, 0), (1, 0), (1, 1)]
    assert [*pool.stats().checks_total] == ["look", "ping"]


def test_misuse_is_counted(pool: ConnectionPool) -> None:
    """Each wrong return counts, and nothing else does."""
    connection = pool.acquire()
    pool.release(connection)
    for wrong in (connection, redis.Connection(), None):
        with pytest.raises(NotOwned):
            pool.release(wrong)

    assert pool.stats().misuse_total == 3


def test_interrupts_are_counted(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who was interrupted while connecting is neither served nor failed."""
    pool = make_pool()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "make_connection", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.acquire()

    stats = pool.stats()
    assert (stats.cancelled_total, stats.failed_total, stats.requests_total) == (1, 0, 1)


def test_figures_survive_a_smaller_size(make_pool: MakePool) -> None:
    """What was counted in places that are gone is still counted."""
    pool = make_pool(max_connections=4)
    pool.warm_up(4)
    pool.resize(1)

    stats = pool.stats()
    assert (stats.acquired_total, stats.created_total) == (4, 4)
    assert stats.closed_total["resized"] == 3
    assert places(stats) == (1, 0, 0, 0)


def test_subscriptions_are_counted_apart(pool: ConnectionPool) -> None:
    """Connections held by subscriptions are no part of the places."""
    pubsub = Redis(connection_pool=pool).pubsub()
    pubsub.subscribe("news")
    stats = pool.stats()
    pubsub.close()

    assert stats.pubsub == 1
    assert places(stats) == (0, 0, 0, 2)
    assert pool.stats().pubsub == 0


def test_stats_can_be_asked_at_any_time(make_pool: MakePool) -> None:
    """While threads work and the size changes, asking raises nothing, and no figure is below 0."""
    pool = make_pool(max_connections=3)
    client = Redis(connection_pool=pool)
    done = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            for turn in range(300):
                stats = pool.stats()
                assert min(places(stats)) >= 0
                assert stats.waiting >= 0
                pool.resize(2 + turn % 3)
            done.set()
        while not done.is_set():
            client.ping()

    run_threads(6, work)


def test_the_documentation_names_every_figure() -> None:
    """One table holds all fields of `PoolStats`, and no others."""
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z_0-9]+)", row)}
    ends = {name for name in named if name.startswith("_")}
    named |= {f"{what}_seconds{end}" for what in ("wait", "use") for end in ends}

    assert named - ends - {"requests_total"} == {
        field.name for field in dataclasses.fields(PoolStats)
    }
