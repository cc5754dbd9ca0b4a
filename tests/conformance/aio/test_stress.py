"""Everything at once: short loops in many threads beside a long one, with cancellations."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import Any

import pytest
import uvloop

from redispool import AsyncRedis
from tests.conftest import MakeAsyncPool
from tests.support import run_threads
from tests.support.loops import LOOPS, outcome_of
from tests.support.scale import scale

KEYS = 20
LOOPS_EACH = scale(200, 25)


@pytest.mark.usefixtures("frequent_switches")
def test_short_loops_in_eight_threads_beside_a_long_one(make_async_pool: MakeAsyncPool) -> None:
    """With a pool of six, and 15 % of all cancelled, nothing is lost, mixed up or left hanging."""
    pool = make_async_pool(max_connections=6, timeout=60.0)
    client = AsyncRedis(connection_pool=pool)
    ended = threading.Event()

    async def prepare() -> None:
        await client.mset({f"key{key}": f"value{key}" for key in range(KEYS)})

    async def ask(key: int) -> bytes:
        if key % 5:
            return await client.get(f"key{key}") or b""
        first, _ = await client.pipeline().get(f"key{key}").get("key0").execute()
        return bytes(first)

    async def several(chance: random.Random, seen: Counter[str]) -> None:
        keys = [chance.randrange(KEYS) for _ in range(5)]
        tasks = [asyncio.ensure_future(ask(key)) for key in keys]
        struck = [chance.random() < 0.15 for _ in keys]
        await asyncio.sleep(0)
        for task, strike in zip(tasks, struck, strict=True):
            if strike:
                task.cancel()
        for key, task, strike in zip(keys, tasks, struck, strict=True):
            found: Any = await outcome_of(task)
            if isinstance(found, asyncio.CancelledError):
                seen["cancelled" if strike else "cancelled by somebody else"] += 1
            elif found == f"value{key}".encode():
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
        for turn in range(LOOPS_EACH):
            LOOPS["uvloop" if (number + turn) % 2 else "asyncio"](several(chance, seen))
        return seen

    asyncio.run(prepare())
    alongside: list[Counter[str]] = []
    thread = threading.Thread(target=lambda: alongside.append(uvloop.run(long())))
    thread.start()
    try:
        found = sum(run_threads(8, short, within=scale(600, 120)), Counter[str]())
    finally:
        ended.set()
        thread.join(60)

    assert alongside
    total = found + alongside[0]
    assert set(total) == {"right", "cancelled"}, total
    assert sum(found.values()) == 8 * LOOPS_EACH * 5
    stats = pool.stats()
    assert (stats.in_use, stats.waiting, stats.connecting) == (0, 0, 0)
    assert stats.idle + stats.permits == 6
