"""Interruptions at every line and opcode of what tasks do with a pool."""

from __future__ import annotations

import asyncio
import gc
import logging
import zlib
from time import monotonic
from typing import get_args

import pytest

from redispool import AsyncRedis
from tests.conftest import MakeAsyncPool
from tests.support import eventually
from tests.support.injection import Kind, count_points, every, strike
from tests.support.scale import scale

from .test_cancellation import WORK

SAMPLE = scale(None, 6)
"""How many points of each combination are tried; None for all."""


@pytest.mark.filterwarnings(
    "ignore:.*was never given back",
    "ignore:.*was never awaited",
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("name", sorted(WORK))
def test_interrupted_at_every_point(
    make_async_pool: MakeAsyncPool,
    caplog: pytest.LogCaptureFixture,
    name: str,
    cold: bool,
    kind: Kind,
) -> None:
    """Whatever is raised, wherever: all places are there, and replies are one's own."""
    # The records would keep the frames of what is logged, and those what they hold.
    caplog.set_level(logging.CRITICAL + 1, logger="asyncio")
    # What is raised in a callback of the loop is logged, and costs whoever waits his time.
    pool = make_async_pool(
        max_connections=2, max_pubsub=1, socket_timeout=0.2, retry="never", timeout=5.0
    )
    client = AsyncRedis(connection_pool=pool)

    async def prepare() -> None:
        await client.mset({"key1": "value1", "key2": "value2"})
        await client.delete("lock", "list")
        await client.rpush("list", "value1", "value1")

    def work() -> object:
        if cold:
            pool.recycle()
        return asyncio.run(WORK[name](client))

    asyncio.run(prepare())
    for _ in range(3):
        count_points(work, kind)
        asyncio.run(prepare())
    points = count_points(work, kind)
    for point in every(points, at_most=SAMPLE, offset=zlib.crc32(f"{name}{kind}{cold}".encode())):
        asyncio.run(prepare())

        ended = strike(work, kind, point)
        gc.collect()
        # A dial that was kept waiting for too long tells of an outage: nobody dials for a moment.
        eventually(lambda: not pool.capacity.gate.opens_in(monotonic()))

        assert "it does not end" not in ended.error
        if not ended.interrupted and not ended.error:
            assert ended.value is None or ended.value[0] in (b"value1", None), point
        assert asyncio.run(client.get("key2")) == b"value2"  # type: ignore[arg-type]
        stats = pool.stats()
        assert (stats.in_use, stats.pubsub, stats.idle + stats.permits) == (0, 0, 2), (point, ended)
    # A place whose own finalizer was struck is filled for the next who waits, and nobody does here.
    pool.subscriptions.capacity.heal()
