from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
import redis
from redis.exceptions import MaxConnectionsError

from redispool import (
    ConnectionPool,
    PoolOptions,
    PoolTimeout,
    policy,
    queueing,
)
from redispool.connection import PooledConnection
from tests.conftest import MakePool
from tests.support import HANG, Clock, ScriptedServer, Valkey, eventually, run_threads
from tests.support.callers import Waiting, ask

# Making one


def test_a_pool_takes_options_one_by_one_as_a_whole_or_in_a_url() -> None:
    """All ways to make a pool lead to the same options, and none opens a socket."""
    nobody = "redis://nobody.invalid:1/2?max_connections=3"
    pools = [
        ConnectionPool(host="nobody.invalid", port=1, db=2, max_connections=3),
        ConnectionPool(PoolOptions(host="nobody.invalid", port=1, db=2, max_connections=3)),
        ConnectionPool(url=nobody),
        ConnectionPool.from_url(nobody),
        ConnectionPool.from_url("redis://nobody.invalid:1/2", max_connections=3),
    ]

    assert {pool.options.server for pool in pools} == {"nobody.invalid:1/2"}
    assert {pool.max_connections for pool in pools} == {3}


def test_options_are_given_in_one_way_only() -> None:
    """Options as a whole and beside it would contradict each other."""
    with pytest.raises(TypeError, match="not both"):
        ConnectionPool(PoolOptions(), max_connections=3)


# Capacity


def test_slow_connects_count(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """Connections that are still being opened are within the bound."""
    gate = threading.Event()
    scripted.always("CLIENT", lambda: gate.wait(10) and b"+OK\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=2)
    waiting = [Waiting(pool) for _ in range(3)]
    eventually(lambda: scripted.received["CLIENT"] == 2)

    stats = pool.stats()
    assert (stats.connecting, stats.permits, stats.waiting) == (2, 0, 1)
    assert scripted.connections == 2

    gate.set()
    for one in waiting:
        one.give_back()


# Errors that teach


def test_a_time_out_tells_where_an_unnamed_holder_is(make_pool: MakePool) -> None:
    """Of a connection taken for one command, the error says where the code of its thread is now."""
    pool = make_pool(max_connections=1)
    client = redis.Redis(connection_pool=pool)
    thread = threading.Thread(target=lambda: client.blpop("list", timeout=0), name="reader")
    thread.start()
    eventually(lambda: pool.stats().in_use)

    with pytest.raises(PoolTimeout, match=r"by thread reader, which is now at .*test_pool\.py:"):
        pool.acquire(timeout=0.01)

    (connection,) = pool.capacity.connections()
    with redis.Redis(host=pool.options.host, port=pool.options.port) as other:
        other.rpush("list", "x")
    thread.join()
    assert connection.is_open


def test_old_except_clauses_go_on_working(make_pool: MakePool) -> None:
    """The errors of waiting are redis-py's MaxConnectionsError, and so ConnectionErrors."""
    pool = make_pool(max_connections=1)
    with pool.connection():
        with pytest.raises(MaxConnectionsError):
            pool.acquire(timeout=0)
        with pytest.raises(redis.ConnectionError):
            pool.acquire(timeout=0)


# Connecting


def test_a_refused_connection_is_tried_again_within_the_deadline(make_pool: MakePool) -> None:
    """A server that comes up while the caller has time is found."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pool = make_pool(host="127.0.0.1", port=port, retries=50, timeout=10.0)
    waiting = threading.Thread(target=redis.Redis(connection_pool=pool).ping)
    waiting.start()
    eventually(lambda: pool.stats().create_failed_total >= 2)
    with ScriptedServer(port) as late:
        waiting.join()
        assert late.received["PING"] == 1


def test_a_dial_that_failed_half_way_is_over_before_the_next(
    make_pool: MakePool, server: Valkey
) -> None:
    """What a failed try has opened is closed before another is made, whatever the error."""
    open_lines = []

    def set_up(connection: PooledConnection) -> None:
        connection.on_connect()
        open_lines.append(len(server.clients(pool.alias)))
        if len(open_lines) == 1:
            raise OSError("half-way")

    pool = make_pool(redis_connect_func=set_up, max_connections=1)
    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"

    assert open_lines == [1, 1]


def test_an_error_that_is_kept_keeps_no_place(make_pool: MakePool, server: Valkey) -> None:
    """The traceback of a failed dial may live long; what is lent meanwhile is still reclaimed."""
    pool = make_pool(max_connections=1, retries=0)
    pool._connection_kwargs["port"] = 1
    with pytest.raises(redis.ConnectionError) as kept:
        pool.acquire()
    pool._connection_kwargs["port"] = server.port
    eventually(lambda: pool.capacity.gate.has_room(time.monotonic()))

    with pytest.warns(ResourceWarning):
        pool.acquire()

    assert kept.value.__traceback__ is not None
    assert pool.stats().permits == 1


def test_an_interrupt_after_connecting_leaves_no_connection_behind(
    make_pool: MakePool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened in vain is closed before its place is free, while the interrupt lives on."""
    pool = make_pool(max_connections=1)
    monkeypatch.setattr(policy.Policy, "expires_at", interrupt)
    with pytest.raises(KeyboardInterrupt) as kept:
        pool.acquire()
    monkeypatch.undo()

    assert kept.value.__traceback__ is not None
    with pool.connection():
        assert eventually(lambda: len(server.clients(pool.alias)) == 1)
    assert pool.stats().cancelled_total == 1


def interrupt(*_: Any) -> None:
    """Be a signal handler."""
    raise KeyboardInterrupt


# Checking before lending


def test_what_was_idle_for_long_is_pinged(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ``health_check_interval`` the server is asked, and who does not answer is replaced."""
    clock = Clock(monkeypatch)
    pool = make_pool(host=scripted.host, port=scripted.port, health_check_interval=30.0)
    client = redis.Redis(connection_pool=pool)
    client.get("a")

    clock.advance(29.0)
    client.get("a")
    assert scripted.received["PING"] == 0

    clock.advance(31.0)
    client.get("a")
    assert (scripted.received["PING"], scripted.connections) == (1, 1)

    scripted.answer("PING", HANG)
    clock.advance(31.0)
    started = time.monotonic()
    client.get("a")
    assert (scripted.received["PING"], scripted.connections) == (2, 2)
    assert time.monotonic() - started < policy.PING_WITHIN + 0.5


def test_a_ping_stays_within_the_deadline(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who has little time waits no longer than that for the health check."""
    clock = Clock(monkeypatch)
    pool = make_pool(host=scripted.host, port=scripted.port, timeout=0.1)
    with pool.connection():
        pass
    scripted.always("PING", HANG)
    clock.advance(31.0)
    started = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        pool.acquire()

    assert time.monotonic() - started < 0.5


def test_a_connection_being_checked_has_no_old_holder(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is pinged, statistics and errors of others do not call it held since long ago."""
    clock = Clock(monkeypatch)
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)
    with pool.connection():
        pass
    gate = threading.Event()
    scripted.answer("PING", lambda: gate.wait(10) and b"+PONG\r\n")
    clock.advance(31.0)
    waiting = Waiting(pool)
    eventually(lambda: scripted.received["PING"])

    assert pool.stats().oldest_lease_seconds < 10.0

    gate.set()
    waiting.give_back()


def test_stray_bytes_are_noticed(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that nobody asked for, on an idle connection, is nobody's."""
    clock = Clock(monkeypatch)
    scripted.answer("GET", b"$5\r\nvalue\r\n$5\r\nstray\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port)
    client = redis.Redis(connection_pool=pool)
    client.get("a")
    clock.advance(1.0)

    assert client.get("a") == b"value"
    assert scripted.connections == 2


# Age


def test_old_connections_are_renewed(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``max_lifetime`` a connection is replaced, at a checkout or a return, never in use."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, max_lifetime=100.0, max_idle=None)
    with pool.connection() as connection:
        clock.advance(120.0)
        assert ask(connection, "PING") == b"PONG"
    assert pool.stats().closed_total["lifetime"] == 1

    with pool.connection():
        pass
    clock.advance(120.0)
    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"
    assert pool.stats().closed_total["lifetime"] == 2
    assert pool.stats().created_total == 3


def test_a_lifetime_is_observed_even_just_after_use(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was used a moment ago is renewed all the same when its time is over."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, max_lifetime=100.0)
    with pool.connection() as connection:
        clock.advance(connection.expires_at - clock.now() - 0.1)
    assert pool.stats().idle == 1

    clock.advance(0.2)
    with pool.connection():
        assert pool.stats().closed_total["lifetime"] == 1


@pytest.mark.parametrize("max_idle", [200.0, 0.1])
def test_what_was_idle_for_too_long_is_not_lent(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, max_idle: float
) -> None:
    """After ``max_idle`` a load balancer may have dropped the flow: the connection is replaced."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, max_idle=max_idle)
    for _ in range(2):
        with pool.connection():
            pass
        clock.advance(max_idle + 0.05)

    assert pool.stats().closed_total["idle"] == 1


def test_who_comes_during_a_sweep_is_served_after_it(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who finds nothing because a sweep looks at the only connection gets it then."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 30.0)
    pool = make_pool(max_connections=1)
    waiting: list[Waiting] = []
    connection = pool.acquire()

    def not_idle_too_long(*_: Any) -> bool:
        waiting.append(Waiting(pool))
        return False

    monkeypatch.setattr(policy.Policy, "idle_too_long", not_idle_too_long)
    pool.release(connection)
    monkeypatch.undo()

    waiting[0].give_back()


def test_sweeping_under_load_loses_nobody(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sweeping all the time, among threads that wait, costs no place and nobody's turn."""
    pool = make_pool(max_connections=3, max_idle=0.02)
    monkeypatch.setattr(policy.Policy, "sweep_interval", lambda self: 0.0)

    def work(number: int) -> None:
        for turn in range(40):
            with pool.connection() as connection:
                assert ask(connection, "ECHO", f"{number}") == f"{number}".encode()
            if turn % 10 == number % 10:
                time.sleep(0.02)

    run_threads(8, work)

    stats = pool.stats()
    assert stats.idle + stats.permits == 3
    assert stats.acquired_total == 320


# Misuse


def test_whose_a_connection_is(make_pool: MakePool) -> None:
    """`owns_connection` tells own from foreign, lent from ended."""
    ours, theirs = make_pool(), make_pool()
    with ours.connection() as connection:
        assert ours.owns_connection(connection)
        assert not theirs.owns_connection(connection)
    assert not ours.owns_connection(redis.Connection())
