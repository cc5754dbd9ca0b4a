"""Shared connections under fire: cancellations, kills, interruptions, many loops and threads."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import zlib
from collections import Counter
from typing import Any, get_args

import pytest
import redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA

from redispool import AsyncRedis
from redispool.aio.line import Line
from redispool.aio.trunk import Trunk
from redispool.testing import FaultProxy
from tests.conftest import MakeAsyncPool
from tests.support import Valkey, run_threads
from tests.support.injection import Kind, count_points, every, strike
from tests.support.loops import LOOPS, Run, all_tasks, cancel_at, outcome_of
from tests.support.scale import scale

from .test_cancellation import CANCELLED, WORK, Fuzz

KEYS = 20
SAMPLE = scale(None, 6)
"""How many points of each combination are tried; None for all."""


def test_no_wrong_reply_and_the_line_stays(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Half of all commands are cancelled: no reply is another's, and no connection is lost."""
    pool = make_async_pool(multiplex=True, max_connections=10)
    fuzz = Fuzz(AsyncRedis(connection_pool=pool))

    run(fuzz.run(CANCELLED))

    stats = pool.stats()
    assert (fuzz.wrong, fuzz.swallowed, stats.in_use, stats.waiting) == (0, 0, 0, 0)
    assert fuzz.cancelled >= CANCELLED
    assert fuzz.right > 100
    assert stats.created_total <= 3  # one, where no reply is late


def test_the_fuzz_finds_places_that_are_left(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a cancelled command leaves the order, the fuzz sees the replies of others."""

    def hand_out(self: Trunk, line: Line) -> None:
        while self.places and (reply := line.gets()) is not NOT_ENOUGH_DATA:
            while self.places and self.places[0].done():
                self.places.popleft()
            if self.places:
                self.places.popleft().set_result(reply)

    monkeypatch.setattr(Trunk, "_hand_out", hand_out)
    pool = make_async_pool(
        multiplex=True, max_connections=10, socket_timeout=0.1, timeout=0.1, retry="never"
    )
    fuzz = Fuzz(AsyncRedis(connection_pool=pool))

    asyncio.run(fuzz.run(200))

    assert fuzz.wrong > 0


@pytest.mark.filterwarnings("ignore:.*was never given back")
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("how", ["early", "late", "twice"])
@pytest.mark.parametrize("name", sorted(WORK))
def test_cancelled_at_every_suspension(
    make_async_pool: MakeAsyncPool, run: Run, name: str, how: str, cold: bool
) -> None:
    """Wherever a task waits when it is cancelled, its neighbours on the line get their replies."""
    pool = make_async_pool(multiplex=True, max_connections=3, max_pubsub=1, timeout=2.0)
    client = AsyncRedis(connection_pool=pool)

    async def neighbour(number: int) -> None:
        for _ in range(4):
            assert await client.echo(f"echo{number}") == f"echo{number}".encode()

    async def at_every_suspension() -> int:
        await client.mset({"key1": "value1", "key2": "value2"})
        suspension = 1
        while True:
            if cold:
                pool.recycle()
            await client.delete("lock", "list")
            await client.rpush("list", "value1")
            others = [asyncio.ensure_future(neighbour(number)) for number in range(3)]
            ended = await cancel_at(
                suspension, WORK[name](client), late=how == "late", times=1 + (how == "twice")
            )
            await asyncio.gather(*others)
            assert await client.get("key2") == b"value2"
            if not ended.struck:
                assert ended.outcome[0] == b"value1"
                return suspension
            assert isinstance(ended.outcome, asyncio.CancelledError)
            suspension += 1

    assert run(at_every_suspension()) > 1
    assert (pool.stats().in_use, pool.stats().pubsub) == (0, 0)


@pytest.mark.parametrize("seed", range(scale(200, 3)))
def test_every_write_runs_at_most_once(
    make_async_pool: MakeAsyncPool, flushed: Valkey, run: Run, seed: int
) -> None:
    """While lines are cut, in replies too, and 15 % are cancelled: a write runs once or is told.

    Whatever succeeded has run once; what was cancelled or failed has run once or not at all.
    """
    with FaultProxy(flushed.url) as proxy:
        pool = make_async_pool(url=proxy.url, multiplex=True, max_connections=4, timeout=5.0)
        client = AsyncRedis(connection_pool=pool)
        chance = random.Random(seed)
        counts: dict[str, Counter[str]] = {f"count{key}": Counter() for key in range(KEYS)}

        async def write(key: str) -> None:
            task = asyncio.ensure_future(client.incr(key))
            if chance.random() < 0.15:
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                task.cancel()
            found = await outcome_of(task)
            if isinstance(found, int):
                counts[key]["ran"] += 1
            else:
                assert isinstance(found, redis.ConnectionError | asyncio.CancelledError), found
                counts[key]["unknown"] += 1

        async def read(key: int) -> None:
            assert await client.echo(f"echo{key}") == f"echo{key}".encode()

        async def work() -> None:
            for _ in range(40):
                match chance.randrange(6):
                    case 0:
                        proxy.cut_reply(chance.randrange(1, 40))
                    case 1:
                        proxy.close_all()
                    case 2:
                        proxy.reset_all()
                tasks: list[Any] = [write(f"count{chance.randrange(KEYS)}") for _ in range(20)]
                tasks += [read(number) for number in range(10)]
                await asyncio.gather(*tasks)
            proxy.heal()

        run(work())
        with flushed.outside() as outside:
            for key, seen in counts.items():
                ran = int(outside.get(key) or 0)
                assert seen["ran"] <= ran <= seen["ran"] + seen["unknown"], (key, ran, seen)
        stats = pool.stats()
        assert (stats.in_use, stats.waiting, stats.connecting) == (0, 0, 0)
        assert stats.created_total > 3
        pool.close()


@pytest.mark.usefixtures("frequent_switches")
def test_short_loops_in_many_threads_beside_a_long_one(make_async_pool: MakeAsyncPool) -> None:
    """With a pool of three, and 15 % cancelled, nothing is lost, mixed up or left hanging."""
    pool = make_async_pool(multiplex=True, max_connections=3, timeout=60.0)
    client = AsyncRedis(connection_pool=pool)
    ended = threading.Event()

    async def several(chance: random.Random, seen: Counter[str]) -> None:
        keys = [chance.randrange(KEYS) for _ in range(8)]
        tasks = [asyncio.ensure_future(client.get(f"key{key}")) for key in keys]
        struck = [chance.random() < 0.15 for _ in keys]
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        struck = [hit and task.cancel() for task, hit in zip(tasks, struck, strict=True)]
        for key, task, hit in zip(keys, tasks, struck, strict=True):
            found: Any = await outcome_of(task)
            if isinstance(found, asyncio.CancelledError):
                seen["cancelled" if hit else "cancelled by somebody else"] += 1
            elif found == f"value{key}".encode() and not hit:
                seen["right"] += 1
            else:
                seen[f"wrong: {found!r}"] += 1

    async def long() -> Counter[str]:
        chance, seen = random.Random(99), Counter[str]()
        while not ended.is_set():
            await several(chance, seen)
        return seen

    def short(number: int) -> Counter[str]:
        chance, seen = random.Random(number), Counter[str]()
        for turn in range(scale(200, 15)):
            LOOPS["uvloop" if (number + turn) % 2 else "asyncio"](several(chance, seen))
        return seen

    asyncio.run(client.mset({f"key{key}": f"value{key}" for key in range(KEYS)}))  # type: ignore[arg-type]
    alongside: list[Counter[str]] = []
    thread = threading.Thread(target=lambda: alongside.append(asyncio.run(long())))
    thread.start()
    try:
        found = sum(run_threads(6, short, within=scale(600, 120)), Counter[str]())
    except AssertionError as error:
        error.add_note(f"{pool.stats()}\n{[task.get_stack() for task in all_tasks()]}")
        raise
    finally:
        ended.set()
        thread.join(60)

    assert set(found + alongside[0]) == {"right", "cancelled"}, found + alongside[0]
    stats = pool.stats()
    assert (stats.in_use, stats.waiting, stats.connecting, stats.shared_in_flight) == (0, 0, 0, 0)
    assert stats.idle + stats.permits == 3


@pytest.mark.filterwarnings(
    "ignore:.*was never given back",
    "ignore:.*was never awaited",
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_interrupted_at_every_point(
    make_async_pool: MakeAsyncPool,
    caplog: pytest.LogCaptureFixture,
    cold: bool,
    kind: Kind,
) -> None:
    """Whatever is raised, wherever: nobody hangs, all places are there, replies are one's own."""
    # What is raised in a callback of the loop is logged, and costs whoever waits his time.
    pool = make_async_pool(
        multiplex=True, max_connections=2, socket_timeout=0.1, retry="never", timeout=2.0
    )
    client = AsyncRedis(connection_pool=pool)

    async def several() -> list[Any]:
        found = await asyncio.gather(
            *[client.get(f"key{number}") for number in range(3)], return_exceptions=True
        )
        for number, value in enumerate(found):
            assert value == f"value{number}".encode() or isinstance(value, BaseException)
        return found

    def work() -> object:
        if cold:
            pool.recycle()
        return asyncio.run(several())

    asyncio.run(client.mset({f"key{number}": f"value{number}" for number in range(3)}))  # type: ignore[arg-type]
    for _ in range(3):
        count_points(work, kind)
    points = count_points(work, kind)
    sample = SAMPLE and 5 * SAMPLE
    for point in every(points, at_most=sample, offset=zlib.crc32(f"{kind}{cold}".encode())):
        ended = strike(work, kind, point)
        gc.collect()

        assert "it does not end" not in ended.error, (point, ended.error)
        assert "AssertionError" not in ended.error, (point, ended.error)
        assert asyncio.run(client.get("key2")) == b"value2"  # type: ignore[arg-type]
        stats = pool.stats()
        assert (stats.in_use, stats.idle + stats.permits) == (0, 2), (point, ended)
