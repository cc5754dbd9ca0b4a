"""Section I of the conformance list: the end, renewal, size, and what is left of all that."""

from __future__ import annotations

import atexit
import threading
import weakref
from pathlib import Path

import pytest
import redis

from redispool import ConnectionPool, PoolClosed, PoolTimeout, Redis, fork
from tests.conftest import MakePool
from tests.support import Valkey, eventually, run_threads
from tests.support.callers import Waiting, ask, in_background
from tests.support.scale import scale


def ids(server: Valkey, pool: ConnectionPool) -> set[str]:
    """The server's numbers of the pool's connections."""
    return {row["id"] for row in server.clients(pool.alias)}


# The end


@pytest.mark.usefixtures("no_second_look")
def test_close_wakes_waiters(make_pool: MakePool) -> None:
    """Callers in the queue get `PoolClosed` at once: not at their time-outs, nor at a return."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    waiting = [Waiting(pool, None) for _ in range(20)]
    closing = in_background(pool.close)

    for one in waiting:
        eventually(lambda one=one: one.ended)
        assert isinstance(one.error, PoolClosed)
    assert closing == []
    assert pool.stats().rejected_total == 20

    pool.release(connection)
    assert eventually(lambda: closing) == [0]


def test_close_waits_then_cuts(make_pool: MakePool, server: Valkey) -> None:
    """Each holder gets until the deadline to finish; who is not back by then is cut, and told.

    `close` says how many it cut.
    """
    pool = make_pool(max_connections=2)
    soon, never = pool.acquire(), pool.acquire()
    never.send_command("BLPOP", "nothing", 0)
    hanging = in_background(never.read_response)
    closing = in_background(lambda: pool.close(timeout=0.5))
    eventually(lambda: pool.closed)
    assert ask(soon, "ECHO", "in time") == b"in time"
    pool.release(soon)
    assert closing == hanging == []

    assert eventually(lambda: closing) == [1]
    error = eventually(lambda: hanging)[0]
    assert isinstance(error, redis.ConnectionError)
    assert "The pool was closed" in str(error)
    eventually(lambda: not server.clients(pool.alias))
    pool.release(never)
    assert pool.capacity.slots() == []


def test_close_waits_no_longer_than_needed(pool: ConnectionPool) -> None:
    """It returns as soon as the last connection is back."""
    connection = pool.acquire()
    closing = in_background(lambda: pool.close(timeout=60.0))
    eventually(lambda: pool.closed)

    assert ask(connection, "PING") == b"PONG"
    assert closing == []
    pool.release(connection)

    assert eventually(lambda: closing) == [0]


def test_release_after_close(pool: ConnectionPool, server: Valkey) -> None:
    """Who gives back late gets no error, and the connection is closed."""
    connection = pool.acquire()
    pool.close(timeout=0)

    pool.release(connection)

    eventually(lambda: not server.clients(pool.alias))
    assert pool.capacity.slots() == []
    assert pool.stats().misuse_total == 0


# Renewal


def test_drain(make_pool: MakePool, server: Valkey) -> None:
    """`recycle` replaces idle connections now, those in use when they come back; nobody is hurt."""
    pool = make_pool(max_connections=2)
    pool.warm_up(2)
    with pool.connection() as connection:
        before = ask(connection, "CLIENT", "ID")
        pool.recycle()
        assert ask(connection, "CLIENT", "ID") == before
        assert pool.stats().idle == 0

    assert pool.stats().idle == 0
    assert pool.stats().closed_total["drained"] == 2
    with pool.connection() as connection:
        assert ask(connection, "CLIENT", "ID") != before


def test_drain_under_load(make_pool: MakePool, server: Valkey) -> None:
    """While threads work, all connections may be replaced again and again, without an error."""
    pool = make_pool(max_connections=3)
    client = Redis(connection_pool=pool)
    pool.warm_up(3)
    done = threading.Event()

    def work(number: int) -> int:
        turn = 0
        while not done.is_set():
            turn += 1
            assert client.set(f"key{number}", turn)
            assert client.get(f"key{number}") == str(turn).encode()
        return turn

    def renew() -> None:
        try:
            for _ in range(scale(200, 20)):
                before = ids(server, pool)
                pool.recycle()
                eventually(lambda before=before: not before & ids(server, pool))
        finally:
            done.set()

    assert all(run_threads(6, lambda number: work(number) if number else renew())[1:])

    stats = pool.stats()
    assert stats.idle + stats.permits == 3
    assert stats.failed_total == stats.timeouts_total == 0
    assert {reason for reason, count in stats.closed_total.items() if count} == {"drained"}


# Size


@pytest.mark.usefixtures("no_second_look")
def test_resize_up_serves_queue(make_pool: MakePool, server: Valkey) -> None:
    """`resize` to more helps those in the queue at once."""
    pool = make_pool(max_connections=1)
    with pool.connection():
        waiting = [Waiting(pool) for _ in range(3)]

        pool.resize(4)

        eventually(lambda: all(one.ended for one in waiting))
        assert len(server.clients(pool.alias)) == pool.max_connections == 4
        for one in waiting:
            one.give_back()


def test_resize_down_spares_in_use(make_pool: MakePool, server: Valkey) -> None:
    """`resize` to less closes idle connections now, and those in use when they come back."""
    pool = make_pool(max_connections=3)
    pool.warm_up(3)
    first, second = pool.acquire(), pool.acquire()

    pool.resize(1)
    stats = pool.stats()
    assert (stats.idle, stats.in_use, stats.connecting, stats.permits) == (0, 2, 0, 0)
    assert ask(first, "PING") == ask(second, "PING") == b"PONG"
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout=0)

    pool.release(first)
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout=0)
    pool.release(second)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.closed_total["resized"]) == (1, 0, 2)
    eventually(lambda: len(server.clients(pool.alias)) == 1)


# What is left


@pytest.mark.usefixtures("no_gc")
def test_del_pool(server: Valkey) -> None:
    """A pool that nobody closed and nobody holds is gone at once, with all that belonged to it."""
    before = left_behind()
    pool = ConnectionPool(host=server.host, port=server.port, alias="dropped")
    client = Redis(connection_pool=pool)
    pool.warm_up(3)
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    assert len(server.clients("dropped")) == 4
    gone = [weakref.ref(pool), weakref.ref(pool.subscriptions), weakref.ref(pool.capacity)]

    del pool, client, pubsub

    assert [reference() for reference in gone] == [None] * 3
    assert left_behind() == before
    eventually(lambda: not server.clients("dropped"))


def left_behind() -> tuple[int, ...]:
    """What of a pool could outlive it: threads, descriptors, hooks at a fork and at the exit."""
    return (
        threading.active_count(),
        sum(1 for _ in Path("/dev/fd").iterdir()),
        len(fork._references),
        atexit._ncallbacks(),
        len(weakref.finalize._registry),  # type: ignore[attr-defined]
    )


def test_many_pools(make_pool: MakePool, server: Valkey) -> None:
    """However many pools there are in a process: they need no thread, and end one by one."""
    before = threading.active_count()
    pools = [make_pool(max_connections=2, min_idle=1) for _ in range(scale(200, 50))]
    for pool in pools:
        pool.warm_up()
        assert Redis(connection_pool=pool).ping()
        assert pool.stats().idle == 1

    assert threading.active_count() == before
    assert len(server.clients(*(pool.alias for pool in pools))) == len(pools)
    for pool in pools[1:]:
        pool.close()
    eventually(lambda: len(server.clients(*(pool.alias for pool in pools))) == 1)
    assert Redis(connection_pool=pools[0]).ping()
