"""What a user of the core writes: read by type checkers, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

import redis
import redis.asyncio
import redis.client
from opentelemetry.metrics import get_meter_provider
from prometheus_client import CollectorRegistry

from redispool import (
    AsyncConnectionPool,
    AsyncRedis,
    ConnectionPool,
    PoolFactory,
    PoolStats,
    Redis,
    events,
    scope,
)
from redispool.health import Health, async_check, check
from redispool.otel import instrument
from redispool.prometheus import HostCollector, PoolCollector


def factory_and_clients() -> None:
    with PoolFactory({"default": "redis://localhost:6379/0", "queue": {"DB": 1}}) as factory:
        assert_type(factory, PoolFactory)
        assert_type(factory.client(), Redis)
        assert_type(factory.client("queue"), Redis)
        assert_type(factory.stats(), dict[str, PoolStats])
        factory.close(timeout=2.0)


def a_client_goes_where_one_of_redis_py_goes(client: Redis) -> redis.Redis:
    pipeline: redis.client.Pipeline = client.pipeline()
    pipeline.incr("hits")
    pipeline.execute()
    client.set("key", "value", ex=60)
    return client


def a_pool_goes_where_one_of_redis_py_goes(factory: PoolFactory) -> redis.Redis:
    return redis.Redis(connection_pool=factory.pool("queue"))


async def asyncio_has_the_same(factory: PoolFactory) -> redis.asyncio.Redis:
    client = factory.async_client("queue")
    assert_type(client, AsyncRedis)
    assert_type(factory.async_pool(), AsyncConnectionPool)
    assert_type(factory.async_stats(), dict[str, PoolStats])
    await client.get("key")
    pipeline: redis.asyncio.client.Pipeline = client.pipeline()
    await pipeline.execute()
    async with client.pinned() as held:
        assert_type(held, AsyncRedis)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("news")
    await factory.aclose(timeout=2.0)
    return redis.asyncio.Redis(connection_pool=factory.async_pool())


def one_connection_for_a_while(client: Redis) -> None:
    with scope(), client.pinned() as held:
        same: redis.Redis = held
        same.watch("votes")


def mistakes_are_seen(factory: PoolFactory) -> None:
    factory.client(1)  # type: ignore[arg-type]  # an alias is a name
    factory.client().no_such_command()  # type: ignore[attr-defined]  # Redis is not Any


async def health_is_told_in_words(factory: PoolFactory) -> bool:
    found = check(factory, ["default"], within=0.5)
    assert_type(found, Health)
    assert_type(await async_check(factory), Health)
    return found.status == "healthy" and found.aliases[0].reason == ""


def metrics_go_where_they_belong(factory: PoolFactory, registry: CollectorRegistry) -> None:
    registry.register(HostCollector(factory))
    registry.register(PoolCollector(factory))
    instrument(factory)
    instrument(factory, get_meter_provider())


def listeners_know_their_events(factory: PoolFactory, pool: ConnectionPool) -> None:
    @factory.on_outage
    def tell(event: events.OutageBegan) -> int:
        return len(event.reason)

    assert_type(tell, Callable[[events.OutageBegan], int])
    pool.on_timeout(lambda event: assert_type(event.seconds, float))
    pool.on_leak(tell)  # type: ignore[arg-type]  # of another event
    factory.forget_listener(tell)
