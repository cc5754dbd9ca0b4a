"""What the applications for load have in common: every answer names the key that was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator

from redispool import AsyncRedis, PoolFactory

factory = PoolFactory()


def made() -> int:
    """How many connections this process has made."""
    pools = [*factory.stats().values(), *factory.async_stats().values()]
    return sum(pool.created_total for pool in pools)


async def value_of(redis: AsyncRedis, number: int) -> str:
    """Write and read a key of this request's own, in one of three ways."""
    key, value = f"key {number}", f"value of {number}"
    match number % 3:
        case 0:
            await redis.set(key, value)
            found = await redis.get(key)
        case 1:
            found = (await redis.pipeline().set(key, value).get(key).execute())[1]
        case _:
            async with redis.pinned() as pin:
                await pin.set(key, value)
                found = await pin.get(key)
    assert isinstance(found, bytes)
    return found.decode()


async def alive(redis: AsyncRedis) -> AsyncIterator[str]:
    """Say now and then that the stream is alive; the subscription is left to the scope."""
    pubsub = redis.pubsub()
    await pubsub.subscribe("news")
    while True:
        await pubsub.get_message(timeout=0.05)
        yield "alive\n"
