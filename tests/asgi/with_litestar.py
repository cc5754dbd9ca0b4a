"""An application for load, with Litestar."""

from __future__ import annotations

from litestar import Litestar, get
from litestar.di import Provide
from litestar.response import Stream

from redispool import AsyncRedis, asgi

from .keyed import alive, factory, made, value_of


@get("/keyed-async/{number:int}", media_type="text/plain")
async def keyed(number: int, redis: AsyncRedis) -> str:
    """The value of a key."""
    return await value_of(redis, number)


@get("/feed")
async def feed(redis: AsyncRedis) -> Stream:
    """A stream."""
    return Stream(alive(redis))


@get("/made", media_type="text/plain")
async def made_here() -> str:
    """How many connections were made."""
    return str(made())


app = Litestar(
    [keyed, feed, made_here],
    lifespan=[asgi.lifespan(factory)],
    middleware=[asgi.ScopeMiddleware],
    dependencies={"redis": Provide(asgi.async_client(factory))},
)
