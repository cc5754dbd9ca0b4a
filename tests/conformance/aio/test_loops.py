"""One pool for all event loops of the process, one after the other and at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Coroutine
from time import monotonic
from typing import Any

import pytest
import uvloop
from asgiref.sync import async_to_sync

from redispool import AsyncConnectionPool, AsyncRedis, PoolTimeout
from redispool.gate import DIALS_AT_ONCE
from redispool.testing import FaultProxy
from tests.conftest import MakeAsyncPool, MakeFactory
from tests.support import Valkey, eventually, run_threads
from tests.support.loops import LOOPS, Run, closed_quietly, until
from tests.support.scale import scale


@pytest.mark.usefixtures("no_gc")
def test_a_thousand_loops_share_one_connection(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Loops that come and go open one connection, and leave no file open until a collection."""
    client = AsyncRedis(connection_pool=make_async_pool())

    async def work() -> Any:
        return await client.set("key", "value"), await client.get("key")

    run(work())  # which opens what is there once
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(scale(1000, 100)):
        assert run(work()) == (True, b"value")

    stats = client.connection_pool.stats()
    assert (stats.created_total, stats.idle, stats.in_use) == (1, 1, 0)
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_loops_of_both_kinds_share_a_connection(make_async_pool: MakeAsyncPool) -> None:
    """A connection that an asyncio loop opened serves an uvloop one, and the other way round."""
    client = AsyncRedis(connection_pool=make_async_pool())

    for number in range(20):
        runner = LOOPS["asyncio" if number % 2 else "uvloop"]
        assert runner(client.incr("hits")) == number + 1  # type: ignore[arg-type]

    assert client.connection_pool.stats().created_total == 1


def test_views_under_wsgi_stay_within_the_bound(make_async_pool: MakeAsyncPool) -> None:
    """Eight threads that each run a thousand calls in new loops make at most eight connections."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=8))
    calls = scale(1000, 100)

    async def view(key: str) -> Any:
        return await client.get(key)

    async def prepare() -> None:
        await client.mset({f"key{number}": f"value{number}" for number in range(8)})

    async_to_sync(prepare)()

    def serve(number: int) -> list[Any]:
        return [async_to_sync(view)(f"key{number}") for _ in range(calls)]

    found = run_threads(8, serve, within=120)

    assert found == [[f"value{number}".encode()] * calls for number in range(8)]
    assert client.connection_pool.stats().created_total <= 8


def test_threads_wait_for_few_connections(make_async_pool: MakeAsyncPool) -> None:
    """With fewer connections than threads all are served, by no more than the bound allows."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=4))

    def serve(number: int) -> None:
        for _ in range(25):
            assert asyncio.run(client.echo(f"{number}")) == f"{number}".encode()  # type: ignore[arg-type]

    run_threads(8, serve)

    assert client.connection_pool.stats().created_total <= 4


def test_one_client_of_a_factory_serves_every_loop(make_factory: MakeFactory, run: Run) -> None:
    """`async_client` gives the same client each time, and it is a ``redis.asyncio.Redis``."""
    factory = make_factory()
    client = factory.async_client()

    assert run(client.set("key", 1))
    assert run(client.get("key")) == b"1"  # type: ignore[arg-type]
    assert factory.async_client() is client
    assert factory.async_stats()["default"].created_total == 1


def test_what_a_loop_leaves_in_flight_costs_one_connection(
    make_async_pool: MakeAsyncPool, flushed: Valkey
) -> None:
    """A loop that is closed with a command in flight gives its place back, and its line ends."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=1, timeout=2.0))

    async def block() -> None:
        await client.blpop(["nothing"], timeout=60)

    for end in (closed_quietly, lambda loop: None):
        loop = asyncio.new_event_loop()
        task = loop.create_task(block())
        loop.set_exception_handler(lambda *_: None)
        loop.run_until_complete(until(lambda: is_blocked(flushed)))
        end(loop)
        del task, loop
        gc.collect()
        with contextlib.suppress(ResourceWarning):
            gc.collect()

        assert asyncio.run(client.set("key", "value"))  # type: ignore[arg-type]

    assert client.connection_pool.stats().in_use == 0


test_what_a_loop_leaves_in_flight_costs_one_connection = pytest.mark.filterwarnings(
    "ignore:unclosed event loop:ResourceWarning",
    "ignore:.*was destroyed but it is pending",
    "ignore:.*never given back",
)(test_what_a_loop_leaves_in_flight_costs_one_connection)


def test_an_interrupted_loop_leaves_nothing(
    make_async_pool: MakeAsyncPool, flushed: Valkey
) -> None:
    """KeyboardInterrupt in a loop gives the connection back; the next loop goes on."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=1))

    async def interrupted() -> None:
        task = asyncio.ensure_future(client.blpop(["nothing"], timeout=60))
        await until(lambda: is_blocked(flushed))
        asyncio.get_running_loop().call_soon(_raise)
        await task

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())

    assert asyncio.run(client.ping())  # type: ignore[arg-type]
    assert client.connection_pool.stats().in_use == 0


def test_a_waiter_whose_loop_stands_still_holds_nobody_up(make_async_pool: MakeAsyncPool) -> None:
    """A task that waits in a loop that stopped is passed over, and served when its loop goes on."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)
    stopped = asyncio.new_event_loop()
    held = stopped.run_until_complete(pool.acquire())
    task = stopped.create_task(client.ping())  # type: ignore[arg-type]
    stopped.run_until_complete(until(lambda: pool.stats().waiting == 1))

    pool.release(held)
    assert asyncio.run(client.echo("other")) == b"other"  # type: ignore[arg-type]

    assert stopped.run_until_complete(task) is True
    stopped.close()


@pytest.mark.filterwarnings("ignore:.*was destroyed but it is pending")
@pytest.mark.parametrize("multiplex", [False, True])
def test_a_waiter_whose_loop_is_closed_waits_no_more(
    make_async_pool: MakeAsyncPool, multiplex: bool
) -> None:
    """A loop that is closed while its tasks wait for a place leaves nobody in the queue."""
    pool = make_async_pool(max_connections=1, max_waiting=1, multiplex=multiplex)
    client = AsyncRedis(connection_pool=pool)
    held = asyncio.run(pool.acquire())
    loop = asyncio.new_event_loop()
    task = loop.create_task(client.ping())  # type: ignore[arg-type]
    loop.run_until_complete(until(lambda: pool.stats().waiting == 1))
    closed_quietly(loop)

    assert (pool.stats().waiting, pool.stats().shared_in_flight) == (0, 0)

    async def work() -> bytes:
        waiting = asyncio.ensure_future(client.echo("x"))
        await until(lambda: waiting.done() or pool.stats().waiting == 1)
        pool.release(held)
        return await waiting

    assert asyncio.run(work()) == b"x"
    del task


@pytest.mark.filterwarnings("ignore:.*was destroyed but it is pending")
def test_a_loop_is_not_kept_by_those_who_wait_in_it(make_async_pool: MakeAsyncPool) -> None:
    """A loop that everybody drops goes, though its tasks wait for a place, and leaves no waiter."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)
    held = asyncio.run(pool.acquire())
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    gone = weakref.ref(loop)
    task = loop.create_task(client.ping())  # type: ignore[arg-type]
    loop.run_until_complete(until(lambda: pool.stats().waiting == 1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop, task
        gc.collect()

    assert gone() is None
    assert not pool.capacity.queue.waiters
    pool.release(held)


@pytest.mark.parametrize("multiplex", [False, True])
def test_a_loop_keeps_those_who_wait_in_it(
    make_async_pool: MakeAsyncPool, run: Run, multiplex: bool
) -> None:
    """A task that nobody else holds outlives a collection while it waits for a place."""
    pool = make_async_pool(max_connections=1, multiplex=multiplex)
    client = AsyncRedis(connection_pool=pool)
    replies: list[Any] = []

    async def ask() -> None:
        replies.append(await client.echo("x"))

    async def work() -> None:
        held = await pool.acquire()
        asyncio.get_running_loop().create_task(ask())
        await until(lambda: pool.stats().waiting == 1)
        gc.collect()
        assert pool.stats().waiting == 1
        pool.release(held)
        await until(lambda: replies)

    run(work())
    assert replies == [b"x"]


def test_dials_of_a_loop_that_stands_still_hold_nobody_up(
    make_async_pool: MakeAsyncPool, flushed: Valkey
) -> None:
    """A loop that stops while it dials takes nobody's turn; its own tasks go on with it."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_async_pool(url=proxy.url, max_connections=4, timeout=5.0)
        client = AsyncRedis(connection_pool=pool)
        stopped = asyncio.new_event_loop()
        proxy.hold()
        tasks = [stopped.create_task(client.echo("slow")) for _ in range(4)]  # two have to wait
        stopped.run_until_complete(until(lambda: proxy.held == DIALS_AT_ONCE))
        proxy.let_go()

        assert asyncio.run(client.echo("other")) == b"other"  # type: ignore[arg-type]

        assert stopped.run_until_complete(asyncio.gather(*tasks)) == [b"slow"] * len(tasks)
        stopped.close()


def test_dials_of_a_loop_that_goes_on_are_counted_again(
    make_async_pool: MakeAsyncPool, flushed: Valkey, run: Run
) -> None:
    """A loop that stood still does not dial more at once, whoever looked at the gate meanwhile."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_async_pool(url=proxy.url, max_connections=4, timeout=5.0)
        client = AsyncRedis(connection_pool=pool)
        stopped = asyncio.new_event_loop()
        proxy.hold()
        tasks = [stopped.create_task(client.echo("slow")) for _ in range(DIALS_AT_ONCE)]
        stopped.run_until_complete(until(lambda: proxy.held == DIALS_AT_ONCE))

        async def may_dial() -> bool:
            return pool.capacity.gate.has_room(monotonic())

        assert run(may_dial())
        assert not stopped.run_until_complete(may_dial())

        proxy.let_go()
        assert stopped.run_until_complete(asyncio.gather(*tasks)) == [b"slow"] * len(tasks)
        stopped.close()


def test_permits_of_a_loop_that_stands_still_hold_nobody_up(
    make_async_pool: MakeAsyncPool,
) -> None:
    """A loop that stops when its tasks have just been let dial takes nobody's turn, either."""
    pool = make_async_pool(max_connections=DIALS_AT_ONCE + 1, timeout=5.0)
    client = AsyncRedis(connection_pool=pool)

    async def hold_all() -> list[Any]:
        return [await pool.acquire() for _ in range(pool.options.max_connections)]

    def give_place_of(connection: Any) -> None:
        connection.disconnect()
        pool.release(connection)

    def give_others_and_stop() -> None:
        stopped.stop()  # at the end of this turn
        for connection in others:
            give_place_of(connection)

    last, *others = asyncio.run(hold_all())
    stopped = asyncio.new_event_loop()
    tasks = [stopped.create_task(client.echo("slow")) for _ in others]
    stopped.run_until_complete(until(lambda: pool.stats().waiting == len(others)))
    stopped.call_soon(give_others_and_stop)
    stopped.run_forever()
    assert pool.stats().waiting == 0

    give_place_of(last)
    assert asyncio.run(client.echo("other")) == b"other"  # type: ignore[arg-type]

    assert stopped.run_until_complete(asyncio.gather(*tasks)) == [b"slow"] * len(tasks)
    stopped.close()


@pytest.mark.filterwarnings("ignore:.*was destroyed but it is pending")
@pytest.mark.parametrize("what", ["connection", "permit"])
def test_what_was_handed_to_a_loop_that_is_dropped_counts_once(
    make_async_pool: MakeAsyncPool, what: str
) -> None:
    """A collection that takes a waiter with what he was handed leaves as many places as before."""
    pool = make_async_pool(max_connections=1)
    held = [asyncio.run(pool.acquire())]
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(pool.acquire())
    loop.run_until_complete(until(lambda: pool.stats().waiting == 1))

    def give() -> None:
        if what == "permit":
            held[0].disconnect()
        pool.release(held.pop())

    loop.call_soon(loop.stop)  # at the end of this turn
    loop.call_soon(give)
    loop.run_forever()
    del loop, task
    collect_quietly()

    assert places_of(pool) == 1


@pytest.mark.filterwarnings("ignore:.*was destroyed but it is pending")
@pytest.mark.parametrize("older", ["task", "slot"])
def test_a_place_whose_check_is_dropped_counts_once(
    make_async_pool: MakeAsyncPool, flushed: Valkey, older: str
) -> None:
    """So it is with a loop that asks whether a connection is alive, in whatever order they go."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_async_pool(url=proxy.url, max_connections=1, health_check_interval=1e-6)
        client = AsyncRedis(connection_pool=pool)
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        begin = loop.create_future()
        task = loop.create_task(acquire_after(begin, pool))
        loop.run_until_complete(asyncio.sleep(0))
        if older == "task":
            pool.capacity.queue.permits.clear()  # another follows
        asyncio.run(client.ping())  # type: ignore[arg-type]
        proxy.hold()
        begin.set_result(None)
        loop.run_until_complete(until(lambda: proxy.held == 1))
        del loop, task, begin
        collect_quietly()
        proxy.let_go()

        assert places_of(pool) == 1


@pytest.mark.filterwarnings("ignore:.*was destroyed but it is pending")
def test_a_pin_ends_quietly_with_its_loop(
    make_async_pool: MakeAsyncPool, flushed: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that has a pin, and was cancelled just before its loop was closed, ends in order."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)

    async def pinned() -> None:
        async with client.pinned() as pin:
            await pin.blpop(["nothing"], 60)

    loop = asyncio.new_event_loop()
    task = loop.create_task(_awaited(pinned()))
    loop.run_until_complete(until(lambda: is_blocked(flushed)))
    task.cancel()
    closed_quietly(loop)
    del task
    gc.collect()

    assert not found
    assert asyncio.run(client.echo("x")) == b"x"  # type: ignore[arg-type]


async def _awaited(work: Coroutine[Any, Any, None]) -> None:
    await work


def test_debug_mode_and_eager_tasks(make_async_pool: MakeAsyncPool) -> None:
    """A loop in debug mode, and one whose tasks begin at once, are loops like others."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=2))

    async def many() -> list[Any]:
        factory = getattr(asyncio, "eager_task_factory", None)
        if factory is not None:
            asyncio.get_running_loop().set_task_factory(factory)
        return await asyncio.gather(*[client.echo(str(number)) for number in range(20)])

    assert asyncio.run(many(), debug=True) == [str(number).encode() for number in range(20)]


def test_a_long_loop_and_short_ones_at_the_same_time(make_async_pool: MakeAsyncPool) -> None:
    """A loop that lives long and short ones in other threads take turns at the same connection."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=1))
    ended = threading.Event()

    async def live() -> int:
        count = 0
        while not ended.is_set():
            assert await client.echo("long") == b"long"
            count += 1
        return count

    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(uvloop.run(live())))
    thread.start()
    try:
        for _ in range(50):
            assert asyncio.run(client.echo("short")) == b"short"  # type: ignore[arg-type]
    finally:
        ended.set()
        thread.join(10)

    assert eventually(lambda: counts and counts[0] > 0)
    assert client.connection_pool.stats().created_total == 1


def collect_quietly() -> None:
    """Collect loops that were dropped and not closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def acquire_after(begin: asyncio.Future[None], pool: AsyncConnectionPool) -> Any:
    """Take a connection when the time has come."""
    await begin
    return await pool.acquire()


def places_of(pool: AsyncConnectionPool) -> int:
    """How many connections can be had at the same time."""

    async def take_all() -> list[Any]:
        taken: list[Any] = []
        with contextlib.suppress(PoolTimeout):
            while True:
                taken.append(await pool.acquire(timeout=0.01))
        return taken

    taken = asyncio.run(take_all())
    for connection in taken:
        pool.release(connection)
    return len(taken)


def is_blocked(server: Valkey) -> bool:
    """Whether the server holds back the reply to a command of ours."""
    with server.outside() as client:
        return bool(client.info("clients")["blocked_clients"])


def _raise() -> None:
    raise KeyboardInterrupt
