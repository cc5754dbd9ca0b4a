"""Lines that break, servers that go away, and leases that are forgotten."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from typing import Any

import pytest
import redis

from redispool import AsyncConnectionPool, AsyncRedis, ForkedLease, NotOwned, PoolClosed
from tests.conftest import MakeAsyncPool
from tests.support import Valkey, eventually
from tests.support.clock import Clock
from tests.support.forks import in_child
from tests.support.loops import Run, outcome_of, until
from tests.support.scripted import DROP, HANG, ScriptedServer


def test_killed_idle_connections_are_replaced(
    make_async_pool: MakeAsyncPool, flushed: Valkey, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """After the server has closed ten idle connections, the next commands succeed all the same."""
    pool = make_async_pool(max_connections=10, retry="never")
    client = AsyncRedis(connection_pool=pool)
    clock = Clock(monkeypatch)

    async def work() -> None:
        await pool.warm_up(10)
        with flushed.outside() as outside:
            outside.client_kill_filter(_type="normal", skipme=True)
        clock.advance(1.0)
        assert await asyncio.gather(*[client.echo("x") for _ in range(20)]) == [b"x"] * 20

    run(work())

    assert pool.stats().closed_total["dead_at_checkout"] == 10


def test_an_old_idle_connection_is_pinged(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """A line that was idle for long is asked, and replaced where no answer comes in time."""
    client = AsyncRedis(host=scripted.host, port=scripted.port)
    clock = Clock(monkeypatch)

    async def work() -> None:
        await client.get("key")
        clock.advance(60.0)
        assert await client.get("key") == b"value"
        scripted.answer("PING", HANG)
        clock.advance(60.0)
        assert await client.get("key") == b"value"
        stats = client.connection_pool.stats()
        assert stats.closed_total["dead_at_checkout"] == 1
        assert stats.checks_total["ping"] == 2
        await client.aclose()

    run(work())


def test_a_read_is_sent_again_and_a_write_is_not(scripted: ScriptedServer, run: Run) -> None:
    """A line that breaks in a command costs a read nothing, and a write one error."""
    client = AsyncRedis(host=scripted.host, port=scripted.port)

    async def work() -> None:
        scripted.answer("GET", DROP)
        assert await client.get("key") == b"value"
        scripted.answer("INCRBY", DROP)
        with pytest.raises(redis.ConnectionError, match="may have executed INCRBY"):
            await client.incr("hits")
        await client.aclose()

    run(work())

    assert (scripted.received["GET"], scripted.received["INCRBY"]) == (2, 1)


def test_a_late_reply_is_nobody_elses(scripted: ScriptedServer, run: Run) -> None:
    """A command that timed out takes its connection with it."""
    client = AsyncRedis(
        host=scripted.host, port=scripted.port, socket_timeout=0.1, retry="never", timeout=5
    )

    async def work() -> None:
        scripted.answer("GET", (lambda: time.sleep(0.3) or b"", b"$4\r\nlate\r\n"))
        with pytest.raises(redis.TimeoutError):
            await client.get("key")
        assert await client.get("key") == b"value"
        await client.aclose()

    run(work())


def test_a_server_that_restarts_is_waited_for(own_server: Valkey, run: Run) -> None:
    """A restart of the server is a wait, not an error, for all who come meanwhile."""
    client = AsyncRedis(host=own_server.host, port=own_server.port, timeout=10.0)

    async def work() -> list[Any]:
        await client.ping()
        own_server.stop()
        tasks = [asyncio.ensure_future(client.echo("x")) for _ in range(10)]
        await until(lambda: client.connection_pool.stats().away_seconds)
        await asyncio.to_thread(own_server.start)
        found = await asyncio.gather(*tasks)
        await client.aclose()
        return found

    assert run(work()) == [b"x"] * 10


def test_state_that_was_left_behind_ends_with_its_session(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """A transaction, a database or an unread reply of one holder does not meet the next one."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        await client.set("key", "value")
        for command in (("MULTI",), ("WATCH", "key"), ("SELECT", 3), ("GET", "key")):
            async with pool.connection() as connection:
                await connection.send_command(*command)
                if command[0] != "GET":
                    await connection.read_response()
            assert await client.get("key") == b"value"

    run(work())

    assert pool.stats().closed_total["dirty_pending"] == 1
    assert pool.stats().closed_total["dirty_tainted"] == 3


def test_a_forgotten_lease_comes_back_at_once(
    make_async_pool: MakeAsyncPool, no_gc: None, run: Run
) -> None:
    """A connection that is dropped gives its place back without a collection, to who waits."""
    pool = make_async_pool(max_connections=1, timeout=30.0)

    async def work() -> None:
        held = [await pool.acquire()]
        waiting = asyncio.ensure_future(pool.acquire())
        await until(lambda: pool.stats().waiting == 1)
        with pytest.warns(ResourceWarning, match="never given back"):
            held.clear()
        pool.release(await waiting)

    run(work())

    assert (pool.stats().reclaimed_total, pool.stats().in_use) == (1, 0)


def test_an_abandoned_coroutine_in_the_checkout(
    make_async_pool: MakeAsyncPool, no_gc: None, run: Run
) -> None:
    """A coroutine that is dropped in the middle of a command gives its place back, anywhere."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        await client.set("key", "value")
        for _ in range(3):
            abandoned = client.blpop(["nothing"], 60)
            abandoned.send(None)
            del abandoned
            assert await client.get("key") == b"value"

    run(work())

    assert pool.stats().in_use == 0


async def hold_a_lease(client: AsyncRedis) -> None:
    """Hold a raw connection."""
    async with client.connection_pool.connection():
        await asyncio.get_running_loop().create_future()


async def hold_a_pin(client: AsyncRedis) -> None:
    """Hold a pin."""
    async with client.pinned() as pin:
        await pin.blpop(["nothing"], 60)


async def hold_a_watch(client: AsyncRedis) -> None:
    """Hold a pipeline that watches."""
    async with client.pipeline() as pipe:
        await pipe.watch("key")
        await asyncio.get_running_loop().create_future()


async def hold_a_subscription(client: AsyncRedis) -> None:
    """Hold a subscription."""
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        async for _ in pubsub.listen():
            pass


@pytest.mark.filterwarnings("ignore:.*never given back")
@pytest.mark.parametrize(
    "hold",
    [hold_a_lease, hold_a_pin, hold_a_watch, hold_a_subscription],
    ids=lambda hold: hold.__name__,
)
def test_a_task_destroyed_with_a_lease(make_async_pool: MakeAsyncPool, hold: Any) -> None:
    """What a task holds that never ends comes back with its task, without a word of it."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(hold(client))
    loop.run_until_complete(until(lambda: pool.stats().in_use or pool.stats().pubsub))
    for _ in range(20):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del task, loop
    gc.collect()

    stats = eventually(lambda: (found := pool.stats()).in_use + found.pubsub == 0 and found)
    assert stats.idle + stats.permits == 1


def test_misuse(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A second return, one to another pool, and use after the return, are refused by name."""
    pool, other = make_async_pool(), make_async_pool()

    async def work() -> None:
        connection = await pool.acquire()
        with pytest.raises(NotOwned, match="another pool"):
            other.release(connection)
        await pool.release(connection)
        with pytest.raises(NotOwned, match="second time"):
            pool.release(connection)
        with pytest.raises(NotOwned):
            await connection.send_command("PING")

    run(work())

    assert (pool.stats().idle, pool.stats().misuse_total) == (1, 1)


def test_a_connection_is_given_back_from_anywhere(make_async_pool: MakeAsyncPool) -> None:
    """Giving back and closing need no loop, and no certain thread."""
    pool = make_async_pool()
    connection = asyncio.run(pool.acquire())
    thread = threading.Thread(target=pool.release, args=(connection,))
    thread.start()
    thread.join()

    assert (pool.stats().idle, pool.stats().in_use) == (1, 0)
    assert pool.close() == 0


def test_closing_wakes_those_who_wait(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """`aclose` gives those who hold a connection their time; who waits is told at once."""
    pool = make_async_pool(max_connections=1, timeout=30.0)

    async def work() -> None:
        held = await pool.acquire()
        waiting = asyncio.ensure_future(pool.acquire())
        await until(lambda: pool.stats().waiting == 1)
        closing = asyncio.ensure_future(pool.aclose(30.0))
        assert isinstance(await outcome_of(waiting), PoolClosed)
        assert not closing.done()
        pool.release(held)
        assert await closing == 0
        with pytest.raises(PoolClosed):
            await pool.acquire()

    run(work())


def test_closing_cuts_what_is_not_given_back(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """At its deadline `aclose` cuts the lines of those who go on, and they are told."""
    pool = make_async_pool()
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        task = asyncio.ensure_future(client.blpop(["nothing"], 60))
        await until(lambda: pool.stats().in_use)
        await asyncio.sleep(0)
        assert await pool.aclose(0.05) == 1
        error = await outcome_of(task)
        assert isinstance(error, redis.ConnectionError)
        assert "The pool was closed" in str(error)

    run(work())


def test_who_waits_on_a_line_that_this_process_closes_is_told_so(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """It is not the server that is to be looked at then."""
    pool = make_async_pool()

    async def work() -> None:
        async with pool.connection() as connection:
            await connection.send_command("BLPOP", "nothing", 0)
            reading = asyncio.ensure_future(connection.read_response())
            await asyncio.sleep(0)  # now it waits
            await asyncio.to_thread(connection.disconnect)
            error = await outcome_of(reading)
            assert isinstance(error, redis.ConnectionError)
            assert "This process closed the connection" in str(error)

    run(work())


def test_closing_gives_subscriptions_their_time(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Who listens may end it until the deadline, like all who hold a connection; no one begins."""
    pool = make_async_pool()
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("news")
            closing = asyncio.ensure_future(pool.aclose(30.0))
            await until(lambda: pool.closed)
            with pytest.raises(PoolClosed):
                await client.pubsub().subscribe("news")
            assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
            assert not closing.done()
        assert await closing == 0

    run(work())


def test_closing_cuts_subscriptions(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Who still listens at the deadline is cut, and counted once."""
    pool = make_async_pool()
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        async with client.pubsub() as pubsub, pool.connection():
            await pubsub.subscribe("news")
            assert await pool.aclose(0.05) == 2

    run(work())


def test_recycle_and_resize(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """All connections are renewed, and the bound is changed, without an error for anybody."""
    pool = make_async_pool(max_connections=2)

    async def work() -> None:
        held = await pool.acquire()
        await pool.disconnect()
        pool.release(held)
        assert pool.stats().closed_total["drained"] == 1
        pool.resize(3)
        three = [await pool.acquire() for _ in range(3)]
        pool.resize(1)
        for each in three:
            pool.release(each)
        assert (pool.stats().idle, pool.max_connections) == (1, 1)

    run(work())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_a_forked_child_has_lines_of_its_own(
    make_async_pool: MakeAsyncPool, inside: bool, run: Run
) -> None:
    """Parent and child go on, each on lines of its own; what the parent had in flight ends well."""
    pool = make_async_pool(max_connections=3)
    client = AsyncRedis(connection_pool=pool)

    def child() -> Any:
        assert pool.stats().in_use == 0
        assert pool.stats().acquired_total == 0
        return asyncio.run(client.client_id())  # type: ignore[arg-type]

    async def prepare() -> Any:
        await client.set("key", "value")
        return await client.client_id()

    async def fork_inside() -> Any:
        task = asyncio.ensure_future(client.blpop(["list"], 10))
        parents = await prepare()
        await until(lambda: owed_by(pool) == 1)
        childs = in_child(child)
        await client.rpush("list", "x")
        assert await task == (b"list", b"x")
        return parents, childs

    if inside:
        parents, childs = run(fork_inside())
    else:
        parents, childs = run(prepare()), in_child(child)

    assert parents != childs
    assert run(client.get("key")) == b"value"  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_ends_an_inherited_coroutine(make_async_pool: MakeAsyncPool) -> None:
    """A child that destroys a coroutine of its parent takes nothing from the parent's loop."""
    pool = make_async_pool(max_connections=2)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> Any:
        waiting = client.blpop(["list"], 10)

        class Waiting:
            def __await__(self) -> Any:
                return waiting.__await__()

        async def wait() -> Any:
            return await Waiting()

        task = asyncio.ensure_future(wait())
        await until(lambda: owed_by(pool) == 1)

        def child() -> str:
            waiting.close()
            return "ended"

        assert in_child(child) == "ended"
        await client.rpush("list", "x")
        return await asyncio.wait_for(task, 5)

    assert asyncio.run(work()) == (b"list", b"x")


def test_a_child_is_refused_its_parents_lease(make_async_pool: MakeAsyncPool) -> None:
    """A lease that was inherited is neither used nor given back in the child."""
    pool = make_async_pool(max_connections=1)
    connection = asyncio.run(pool.acquire())

    def child() -> list[str]:
        errors = []
        for attempt in (
            lambda: pool.release(connection),
            lambda: asyncio.run(connection.send_command("PING")),
        ):
            with pytest.raises(ForkedLease):
                attempt()
            errors.append("refused")
        return errors

    assert in_child(child) == ["refused", "refused"]
    pool.release(connection)
    assert pool.stats().idle == 1


def test_a_pool_in_a_cycle_ends_without_a_word(flushed: Valkey) -> None:
    """A pool that is dropped unclosed, in a reference cycle too, closes its lines quietly."""
    pool = AsyncConnectionPool(host=flushed.host, port=flushed.port, alias="dropped")
    asyncio.run(AsyncRedis(connection_pool=pool).ping())  # type: ignore[arg-type]
    pool.itself = pool  # type: ignore[attr-defined]
    del pool
    gc.collect()

    assert eventually(lambda: not flushed.clients("dropped"))


def test_a_place_that_a_collection_took_is_not_given_back_again(
    make_async_pool: MakeAsyncPool,
) -> None:
    """A collection ends a cycle in any order: a slot, too, before who holds its connection."""
    pool = make_async_pool(max_connections=2)
    connection = asyncio.run(pool.acquire())
    assert connection.slot is not None

    connection.slot.__del__()
    pool.release(connection)

    stats = pool.stats()
    assert (stats.idle, stats.in_use, stats.permits) == (0, 0, 2)
    assert not connection.is_open


def owed_by(pool: AsyncConnectionPool) -> int:
    """How many replies the server owes: of commands that were sent."""
    return sum(connection.ledger.owed for connection in pool.capacity.connections())
