"""What a careless view does: it takes a connection, keeps it, and walks away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from redispool import AsyncRedis, Redis
from redispool.aio.pins import AsyncPin

Careless: TypeAlias = Callable[[Redis], None]
CarelessTask: TypeAlias = Callable[[AsyncRedis], Awaitable[None]]

kept: list[Any] = []
"""What was taken, so that no finalizer gives it back; tests clear it at their end."""


def keep_a_pin(redis: Redis) -> None:
    """Pin a connection and walk away."""
    holding = redis.pinned()
    kept.append(holding)
    holding.__enter__().ping()


def keep_a_subscription(redis: Redis) -> None:
    """Subscribe and walk away."""
    pubsub = redis.pubsub()
    kept.append(pubsub)
    pubsub.subscribe("news")


def keep_a_watch(redis: Redis) -> None:
    """Watch a key and walk away."""
    pipeline = redis.pipeline()
    kept.append(pipeline)
    pipeline.watch("key")


KINDS: dict[Careless, str] = {
    keep_a_pin: "Pin",
    keep_a_subscription: "PubSub",
    keep_a_watch: "Pipeline",
}
"""The ways to be careless, and what the log calls the thing that was kept."""


async def keep_an_async_pin(aredis: AsyncRedis) -> None:
    """Pin a connection and walk away; the loop does not know of it, so it cannot end it."""
    pool = aredis.connection_pool
    kept.append(AsyncPin(pool, await pool.acquire()))


async def keep_an_async_subscription(aredis: AsyncRedis) -> None:
    """Subscribe and walk away."""
    kept.append(aredis.pubsub())
    await kept[-1].subscribe("news")


async def keep_an_async_watch(aredis: AsyncRedis) -> None:
    """Watch a key and walk away."""
    kept.append(aredis.pipeline())
    await kept[-1].watch("key")


ASYNC_KINDS: dict[CarelessTask, str] = {
    keep_an_async_pin: "AsyncPin",
    keep_an_async_subscription: "AsyncPubSub",
    keep_an_async_watch: "AsyncPipeline",
}
"""The same for asyncio."""
