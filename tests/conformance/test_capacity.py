"""Section A of the conformance list: how many connections there are, and how long one waits."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redispool import PoolClosed, PoolTimeout, TooManyWaiting
from redispool.connection import PooledConnection
from redispool.transports import Connection
from tests.conftest import MakeFactory, MakePool
from tests.support import (
    HANG,
    Clock,
    ScriptedServer,
    Valkey,
    eventually,
    in_time,
    run_threads,
)
from tests.support.callers import Waiting, ask, in_background
from tests.support.scale import scale


def test_max_is_hard(make_pool: MakePool, server: Valkey) -> None:
    """Many threads on five connections: never more than five, in the process and on the server."""
    pool = make_pool(max_connections=5)
    end = time.monotonic() + scale(10.0, 0.5)
    in_use: set[PooledConnection] = set()
    most_here, most_there = [], []

    def work(number: int) -> None:
        turn = 0
        while time.monotonic() < end or not turn:
            turn += 1
            with pool.connection(timeout=60.0) as connection:
                in_use.add(connection)
                most_here.append(len(in_use))
                key = f"key{number}"
                assert ask(connection, "SET", key, f"{number}.{turn}") == b"OK"
                assert ask(connection, "GET", key) == f"{number}.{turn}".encode()
                in_use.discard(connection)
            if number == 0:
                most_there.append(len(server.clients(pool.alias)))

    run_threads(scale(200, 40), work)

    assert max(most_here) == 5
    assert max(most_there) == 5
    assert pool.stats().created_total == 5


def test_lazy_growth(make_pool: MakePool) -> None:
    """However many commands one caller runs, one after the other, they take one connection."""
    pool = make_pool(max_connections=5)
    client = redis.Redis(connection_pool=pool)
    for _ in range(scale(10_000, 1000)):
        client.ping()

    assert pool.stats().created_total == 1


def test_lifo_reuse(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several idle connections the one used last is kept busy, so that the others age out."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=3, max_idle=10.0)
    held = [pool.acquire() for _ in range(3)]
    for connection in held:
        pool.release(connection)

    for _ in range(6):
        with pool.connection() as connection:
            assert connection is held[-1]
        clock.advance(2.0)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.closed_total["idle"]) == (1, 2, 2)


def test_timeout_bound(make_pool: MakePool) -> None:
    """A caller is told in time that nothing came free, however much comes free for others."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    others = [Waiting(pool, None) for _ in range(51)]
    started = time.monotonic()
    ours = [in_background(lambda: pool.acquire(timeout=0.2)) for _ in range(3)]
    eventually(lambda: pool.stats().waiting == 54)

    pool.release(connection)
    for other in others[:50]:
        other.give_back()
    errors = [eventually(lambda one=one: one)[0] for one in ours]

    assert time.monotonic() - started < 0.7
    assert all(isinstance(error, PoolTimeout) for error in errors)
    waited = [error.waited for error in errors]
    assert min(waited) >= 0.2
    assert min(waited) < 0.25  # the others have to wait for a core, perhaps
    others[50].give_back()


def test_deadline_includes_connect(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """A server that accepts and never answers costs the caller's time-out, and no place."""
    scripted.always("CLIENT", HANG)

    def give_up() -> None:
        # A new one each time, which knows of no outage.
        pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1, timeout=0.2)
        with pytest.raises(redis.TimeoutError):
            pool.acquire()
        assert pool.stats().permits == 1

    assert in_time(give_up, within=0.2 + 0.1)


def test_deadline_includes_connect_to_every_address(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with several addresses, all of them dead, costs no more time than one of them."""
    with an_address_that_swallows() as address, monkeypatch.context() as names:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        names.setattr(socket, "getaddrinfo", lambda *_, **__: found * 4)
        pool = make_pool(host="redis.example", port=address[1], max_connections=1, timeout=0.3)
        started = time.monotonic()

        with pytest.raises(redis.TimeoutError):
            pool.acquire()

        assert time.monotonic() - started < 0.3 + 0.5
        assert pool.stats().permits == 1


@contextlib.contextmanager
def an_address_that_swallows() -> Iterator[tuple[str, int]]:
    """A port whose queue of new connections is full: who dials hears nothing, as behind a firewall.

    ``FaultProxy`` cannot do this: with it connecting succeeds, and nothing comes after it.
    """
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            dialling = opened.enter_context(socket.socket())
            dialling.setblocking(False)
            dialling.connect_ex(listener.getsockname())
        yield listener.getsockname()


def test_deadline_includes_connect_after_a_wait(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """Who got a place late has only the rest of the time to connect."""
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)
    connection = pool.acquire()
    scripted.always("CLIENT", HANG)
    started = time.monotonic()
    waiting = Waiting(pool, timeout=0.4)
    eventually(lambda: time.monotonic() > started + 0.3)
    connection.disconnect()
    pool.release(connection)

    eventually(lambda: waiting.ended)

    assert isinstance(waiting.error, redis.TimeoutError)
    assert time.monotonic() - started < 0.8


def test_timeout_error_content(make_pool: MakePool) -> None:
    """The error says which pool, how long, how many, and who holds the oldest since when."""
    pool = make_pool(max_connections=2, timeout=0.1)
    with pool.connection():
        other = Waiting(pool)
        eventually(lambda: other.ended)
        waiting = Waiting(pool, timeout=5.0)
        with pytest.raises(PoolTimeout) as caught:
            pool.acquire()
        other.give_back()
        waiting.give_back()

    error = caught.value
    assert (error.alias, error.in_use, error.max_connections) == (pool.alias, 2, 2)
    assert error.waiting == 1
    assert error.__cause__ is None
    assert 0.1 <= error.waited < 0.6
    assert re.search(
        rf"held for 0\.\d s by thread MainThread, taken at {re.escape(__file__)}:\d+ "
        "in test_timeout_error_content",
        error.oldest,
    )
    assert error.oldest in str(error)
    assert f"pool {pool.alias!r}: no connection came free within 0.1" in str(error)
    assert "2 of 2 are in use and 1 others wait" in str(error)
    assert f'raise REDISPOOL["{pool.alias}"]["MAX_CONNECTIONS"]' in str(error)


def test_timeout_error_content_in_an_outage(make_pool: MakePool) -> None:
    """Whether all are in use or the server is away: the last connect error is the cause."""
    with ScriptedServer() as server:
        pool = make_pool(host=server.host, port=server.port, max_connections=2)
        connection = pool.acquire()

    with pytest.raises(redis.ConnectionError) as away:
        pool.acquire(timeout=0.3)
    assert "refused" in str(away.value)
    eventually(lambda: pool.stats().connecting == 0)
    pool.resize(1)  # so that the server's return would not help: the only place is in use
    with pytest.raises(PoolTimeout, match="1 of 1 are in use") as in_use:
        pool.acquire(timeout=0.05)

    assert isinstance(in_use.value.__cause__, redis.ConnectionError)
    assert "refused" in str(in_use.value.__cause__)
    pool.release(connection)


def test_same_thread_twice(make_pool: MakePool) -> None:
    """A thread that waits for itself is told so; one that waits for others is not."""
    pool = make_pool(max_connections=2)
    with pool.connection(), pool.connection():
        with pytest.raises(PoolTimeout, match="this very thread holds 2 of them"):
            pool.acquire(timeout=0.01)
        stranger = Waiting(pool, timeout=0.01)
        eventually(lambda: stranger.ended)
        assert "this very thread" not in str(stranger.error)


def test_timeout_zero_and_none(make_pool: MakePool) -> None:
    """0 takes what is free or may be opened and never waits; None waits for a return or the end."""
    pool = make_pool(max_connections=1, timeout=0.0)
    for _ in range(2):  # once opened, once found idle
        with pool.connection() as connection:
            assert ask(connection, "PING") == b"PONG"
            with pytest.raises(PoolTimeout) as caught:
                pool.acquire()
            assert caught.value.waited < 0.1

    connection = pool.acquire()
    served, hopeless = Waiting(pool, None), Waiting(pool, None)
    pool.release(connection)
    eventually(lambda: served.ended)
    closing = in_background(pool.close)
    eventually(lambda: hopeless.ended)

    assert isinstance(hopeless.error, PoolClosed)
    served.give_back()
    assert eventually(lambda: closing) == [0]


def test_max_waiting(make_pool: MakePool) -> None:
    """Who finds ``max_waiting`` callers in the queue does not join them: told at once, and why."""
    pool = make_pool(max_connections=1, max_waiting=3)
    connection = pool.acquire()
    waiting = [Waiting(pool) for _ in range(3)]
    took = []
    for _ in range(20):
        started = time.perf_counter()
        with pytest.raises(TooManyWaiting, match="MAX_WAITING is 3") as caught:
            pool.acquire()
        took.append(time.perf_counter() - started)

    assert min(took) < 0.001
    assert isinstance(caught.value, PoolTimeout)
    assert caught.value.waiting == 3
    pool.release(connection)
    for one in waiting:
        one.give_back()
    assert pool.stats().rejected_total == 20


def test_per_call_timeout(make_pool: MakePool) -> None:
    """The argument goes before the option, be it shorter or longer."""
    patient = make_pool(max_connections=1, timeout=60.0)
    with patient.connection(), pytest.raises(PoolTimeout) as caught:
        patient.acquire(timeout=0.05)
    assert 0.05 <= caught.value.waited < 10.0

    impatient = make_pool(max_connections=1, timeout=0.01)
    impatient.warm_up(1)  # connecting may take longer than that
    with impatient.connection(), pytest.raises(PoolTimeout) as caught:
        impatient.acquire(timeout=0.2)
    assert caught.value.waited >= 0.2


def test_constructor_fails_1000(make_pool: MakePool) -> None:
    """A connection class that cannot even be made fails each caller and none of the places."""

    class Broken(Connection):
        broken = True

        def __init__(self, **kwargs: Any) -> None:
            if self.broken:
                raise ZeroDivisionError
            super().__init__(**kwargs)

    pool = make_pool(connection_class=Broken, max_connections=2)
    for _ in range(1000):
        with pytest.raises(ZeroDivisionError):
            pool.acquire()
    assert pool.stats().permits == 2

    Broken.broken = False
    with pool.connection(timeout=1.0) as first, pool.connection(timeout=1.0) as second:
        assert ask(first, "PING") == ask(second, "PING") == b"PONG"
    assert pool.stats().failed_total == pool.stats().create_failed_total == 1000


def test_connect_fails_1000_with_waiters(make_pool: MakePool) -> None:
    """While a server refuses, each of many callers is told in time; who has time is served later.

    No place is lost by it, and nobody is forgotten.
    """
    with ScriptedServer() as server:
        port = server.port
        pool = make_pool(host=server.host, port=port, max_connections=2, timeout=60.0)
        with pool.connection():
            pass
    pool.recycle()

    def work(_: int) -> None:
        for _ in range(scale(50, 5)):
            with pytest.raises((redis.ConnectionError, redis.TimeoutError)) as caught:
                pool.acquire(timeout=0.05)
            assert not isinstance(caught.value, PoolTimeout), "a place is lost"

    run_threads(20, work)
    stats = pool.stats()
    assert (stats.permits, stats.in_use, stats.connecting, stats.waiting) == (2, 0, 0, 0)
    assert stats.failed_total == 20 * scale(50, 5)

    patient = [in_background(lambda: pool.release(pool.acquire())) for _ in range(20)]
    eventually(lambda: pool.stats().waiting >= 19)  # one of them may be dialling
    with ScriptedServer(port):
        for one in patient:
            assert eventually(lambda one=one: one) == [None]
        assert pool.stats().idle + pool.stats().permits == 2


def test_refused_at_first(make_pool: MakePool) -> None:
    """A server that never was there: each of many callers gets the reason, and no place is lost."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pool = make_pool(host="127.0.0.1", port=port, max_connections=3, retries=0)

    def work(_: int) -> None:
        for _ in range(scale(100, 20)):
            with pytest.raises(redis.ConnectionError, match="refused"):
                pool.acquire()

    run_threads(10, work)

    stats = pool.stats()
    assert (stats.permits, stats.waiting) == (3, 0)
    assert stats.failed_total == 10 * scale(100, 20)


@pytest.mark.usefixtures("frequent_switches")
def test_first_use_race(make_factory: MakeFactory, server: Valkey) -> None:
    """Fifty threads that are the first to want a pool get the same one, and no more than it has."""
    for _ in range(scale(20, 3)):
        factory = make_factory({"default": {"URL": server.url, "MAX_CONNECTIONS": 5}})
        barrier = threading.Barrier(50)

        def work(
            _: int, factory: Any = factory, barrier: threading.Barrier = barrier
        ) -> tuple[int, int, int]:
            client = factory.client()
            barrier.wait(10)
            subscriptions = factory.pool().subscriptions
            assert client.ping()
            return id(client), id(client.connection_pool), id(subscriptions)

        seen = run_threads(50, work)

        assert len(set(seen)) == 1
        assert factory.pool().stats().created_total <= 5
        factory.close()
