"""The bound, the queue and the deadlines of the pool for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import Any

import pytest
import redis
from redis.asyncio.connection import RedisSSLContext

from redispool import (
    AsyncConnectionPool,
    AsyncRedis,
    PoolTimeout,
    TooManyWaiting,
)
from redispool.aio.transports import AsyncConnection
from tests.conftest import MakeAsyncPool
from tests.support import Valkey, run_threads
from tests.support.loops import LOOPS, Run, outcome_of, until
from tests.support.scripted import BLACK_HOLE, ScriptedServer
from tests.support.valkey import free_port


def test_max_is_hard(make_async_pool: MakeAsyncPool, flushed: Valkey, run: Run) -> None:
    """Two hundred tasks never have more connections than the bound; the server says so too."""
    pool = make_async_pool(max_connections=5)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        await asyncio.gather(*[client.incr("hits") for _ in range(200)])

    run(work())

    assert pool.stats().created_total <= 5
    assert len(flushed.clients(pool.alias)) <= 5
    assert pool.stats().acquired_total == 200


def test_many_more_tasks_than_connections(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """However many wait: who is served without a pause looks at no place but his own."""
    pool = make_async_pool(max_connections=5)
    client = AsyncRedis(connection_pool=pool)
    looks: list[None] = []
    run(client.ping())
    monkeypatch.setattr(pool.capacity, "heal", lambda: looks.append(None))
    monkeypatch.setattr(pool.capacity, "connections", lambda: looks.append(None) or [])

    async def work() -> None:
        await asyncio.gather(*[client.incr("hits") for _ in range(100)])

    run(work())
    monkeypatch.undo()

    assert len(looks) <= 1, "nobody, or the first for all: who holds a connection for too long?"
    assert pool.stats().acquired_total == 101


def test_a_name_that_takes_long_to_look_up(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline covers the look-up of the server's name, however long the resolver takes."""
    pool = make_async_pool(host="slow.example", max_connections=1, timeout=0.1)
    look_up, found = socket.getaddrinfo, threading.Event()

    def slow(host: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("flags") == socket.AI_NUMERICHOST:
            return look_up(host, *args, **kwargs)
        found.wait(60)
        return []

    async def work() -> None:
        try:
            with pytest.raises(redis.TimeoutError):
                await pool.acquire()
            assert not found.is_set()
        finally:
            found.set()  # or the loop would wait for its thread

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", slow)
        asyncio.run(work())

    assert (pool.stats().in_use, pool.stats().connecting, pool.stats().permits) == (0, 0, 1)


def test_certificates_that_take_long_to_read(
    flushed: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline covers the files of TLS, on a disk that hangs, for one."""
    url = f"rediss://{flushed.host}:{flushed.port}"
    pool = AsyncConnectionPool(url=url, max_connections=1, timeout=0.1)
    read = threading.Event()
    monkeypatch.setattr(RedisSSLContext, "get", lambda _: read.wait(60))

    async def work() -> None:
        try:
            with pytest.raises(redis.TimeoutError):
                await pool.acquire()
            assert not read.is_set()
        finally:
            read.set()

    asyncio.run(work())

    assert (pool.stats().in_use, pool.stats().connecting, pool.stats().permits) == (0, 0, 1)
    pool.close()


def test_a_free_connection_is_taken_and_given_back_without_suspending(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """Where a connection is free, taking it is one step of the coroutine, and so is the return."""
    pool = make_async_pool()

    async def work() -> None:
        await pool.warm_up(1)
        with pytest.raises(StopIteration) as taken:
            pool.acquire().send(None)
        with pytest.raises(StopIteration):
            pool.release(taken.value.value).__await__().send(None)

    run(work())

    assert (pool.stats().in_use, pool.stats().idle) == (0, 1)


def test_first_come_first_served(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Tasks that wait for two connections are served in the order in which they came."""
    pool = make_async_pool(max_connections=2, timeout=30.0)
    served: list[int] = []

    async def one(number: int) -> None:
        connection = await pool.acquire()
        served.append(number)
        await asyncio.sleep(0)
        pool.release(connection)

    async def work() -> None:
        await pool.warm_up(2)
        await asyncio.gather(*[one(number) for number in range(200)])

    run(work())

    assert max(abs(place - number) for place, number in enumerate(served)) < 2


def test_no_barging(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A task that comes as a connection is given back does not pass one that waits."""
    pool = make_async_pool(max_connections=1, timeout=30.0)

    async def work() -> None:
        held = await pool.acquire()
        for _ in range(100):
            waiting = asyncio.ensure_future(pool.acquire())
            await until(lambda: pool.stats().waiting == 1)
            pool.release(held)
            late = asyncio.ensure_future(pool.acquire())
            held = await waiting
            assert not late.done()
            pool.release(held)
            held = await late
        pool.release(held)

    run(work())


def test_threads_and_tasks_hand_over_to_each_other(make_async_pool: MakeAsyncPool) -> None:
    """A connection goes from a loop to one in another thread as soon as it is given back."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=1, timeout=30.0))

    async def work() -> list[Any]:
        return [await client.echo("x") for _ in range(100)]

    started = time.monotonic()
    found = run_threads(4, lambda number: LOOPS["uvloop" if number % 2 else "asyncio"](work()))

    assert found == [[b"x"] * 100] * 4
    # Nobody relies on looking again after half a second: that would be one or two hundred of them.
    assert time.monotonic() - started < 30


def test_timeout_bound(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A task that waits in vain is told after its time, and is in the queue no more."""
    pool = make_async_pool(max_connections=1, timeout=0.2)

    async def work() -> PoolTimeout:
        async with pool.connection():
            started = time.monotonic()
            other = asyncio.ensure_future(pool.acquire())
            with pytest.raises(PoolTimeout) as told:
                await other
            assert 0.2 <= time.monotonic() - started < 5.0
            return told.value

    error = run(work())

    assert (error.in_use, error.max_connections, pool.stats().waiting) == (1, 1, 0)
    assert "held for" in str(error)
    assert "test_capacity.py" in str(error)
    assert "MAX_CONNECTIONS" in str(error)
    assert pool.stats().timeouts_total == 1


def test_a_task_that_holds_one_already(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """The error says where the very task that waits holds a connection."""
    pool = make_async_pool(max_connections=1, timeout=0.05)

    async def work() -> None:
        async with pool.connection():
            with pytest.raises(PoolTimeout, match="this very task holds 1 of them"):
                await pool.acquire()

    run(work())


def test_timeout_zero_and_none(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """0 does not wait; None waits until one is given back."""
    pool = make_async_pool(max_connections=1)

    async def work() -> None:
        held = await pool.acquire(0)
        with pytest.raises(PoolTimeout):
            await pool.acquire(0)
        waiting = asyncio.ensure_future(pool.acquire(None))
        await until(lambda: pool.stats().waiting == 1)
        pool.release(held)
        pool.release(await waiting)

    run(work())


def test_max_waiting(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Beyond ``max_waiting`` a task is turned away at once."""
    pool = make_async_pool(max_connections=1, max_waiting=2, timeout=30.0)

    async def work() -> None:
        held = await pool.acquire()
        waiting = [asyncio.ensure_future(pool.acquire()) for _ in range(2)]
        await until(lambda: pool.stats().waiting == 2)
        with pytest.raises(TooManyWaiting):
            await pool.acquire()
        pool.release(held)
        for each in waiting:
            pool.release(await each)

    run(work())

    assert pool.stats().rejected_total == 1


def test_refused_connections_cost_no_place(run: Run) -> None:
    """Twenty dials that are refused leave the only place of the pool free."""
    pool = AsyncConnectionPool(
        host="127.0.0.1", port=free_port(), max_connections=1, retry="never", timeout=0
    )
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        for _ in range(20):
            with pytest.raises(redis.ConnectionError):
                await client.ping()

    run(work())

    stats = pool.stats()
    assert (stats.in_use, stats.connecting, stats.permits) == (0, 0, 1)
    pool.close()


def test_deadline_includes_connecting(scripted: ScriptedServer, run: Run) -> None:
    """A server that accepts and says nothing is given up when the caller's time is over."""
    scripted.always("CLIENT", BLACK_HOLE)
    pool = AsyncConnectionPool(host=scripted.host, port=scripted.port, timeout=0.3, retry="never")

    async def work() -> None:
        started = time.monotonic()
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            await pool.acquire()
        assert time.monotonic() - started < 5.0

    run(work())

    assert (pool.stats().in_use, pool.stats().permits) == (0, 50)
    pool.close()


def test_a_connect_that_takes_too_long_is_a_timeout(run: Run) -> None:
    """A server whose queue of connections is full is told apart from one that refuses."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # the system takes one or two more than it was told
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        pool = AsyncConnectionPool(
            host="127.0.0.1", port=port, timeout=0.3, socket_connect_timeout=0.1, retry="never"
        )

        async def work() -> None:
            with pytest.raises(redis.TimeoutError, match="Timeout connecting to server"):
                await pool.acquire()

        run(work())
        pool.close()


def test_two_dials_at_once(scripted: ScriptedServer, run: Run) -> None:
    """Many tasks that find an empty pool dial two at a time; what comes back serves the others."""
    dialling, highest = 0, 0

    class Counted(AsyncConnection):
        async def open(self, deadline: float) -> None:
            nonlocal dialling, highest
            dialling += 1
            highest = max(highest, dialling)
            try:
                await super().open(deadline)
            finally:
                dialling -= 1

    pool = AsyncConnectionPool(host=scripted.host, port=scripted.port, connection_class=Counted)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        assert set(await asyncio.gather(*[client.get("key") for _ in range(50)])) == {b"value"}
        await pool.aclose()

    run(work())

    assert highest == 2


def test_conservation(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """All places and all requests are accounted for, whatever happened to them."""
    pool = make_async_pool(max_connections=4, timeout=0.01)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        for round_ in range(20):
            tasks = [asyncio.ensure_future(client.blpop(["nothing"], 0.02)) for _ in range(8)]
            # Some may have waited too long already.
            await until(lambda: pool.stats().waiting == 4 or any(task.done() for task in tasks))
            tasks[round_ % 8].cancel()
            for task in tasks:
                await outcome_of(task)
            stats = pool.stats()
            assert stats.idle + stats.in_use + stats.connecting + stats.permits == 4

    run(work())

    assert pool.stats().requests_total >= 160
    assert pool.stats().timeouts_total > 0
