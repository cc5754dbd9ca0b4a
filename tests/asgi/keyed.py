"""Applications for load, of each framework: every answer names the key that was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import litestar
import quart
from fastapi import Depends, FastAPI, WebSocket
from litestar.di import Provide
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from redispool import AsyncRedis, PoolFactory, Redis, asgi

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


# FastAPI

Async = Annotated[AsyncRedis, Depends(asgi.async_client(factory))]
Sync = Annotated[Redis, Depends(asgi.client(factory))]

fastapi = FastAPI(lifespan=asgi.lifespan(factory, warm_up=True))
fastapi.add_middleware(asgi.ScopeMiddleware)


@fastapi.get("/keyed-async/{number}", response_class=PlainTextResponse)
async def fastapi_keyed_async(number: int, redis: Async) -> str:
    """The value of a key, from an async view."""
    return await value_of(redis, number)


@fastapi.get("/keyed/{number}", response_class=PlainTextResponse)
def fastapi_keyed(number: int, redis: Sync) -> str:
    """The value of a key, from a view in a thread."""
    redis.set(f"key {number}", f"value of {number}")
    found = redis.get(f"key {number}")
    assert isinstance(found, bytes)
    return found.decode()


@fastapi.get("/feed")
async def fastapi_feed(redis: Async) -> StreamingResponse:
    """A stream."""
    return StreamingResponse(alive(redis))


@fastapi.websocket("/feed")
async def fastapi_socket(websocket: WebSocket, redis: Async) -> None:
    """The same through a WebSocket."""
    await websocket.accept()
    async for piece in alive(redis):
        await websocket.send_text(piece)


@fastapi.get("/made")
async def fastapi_made() -> int:
    """How many connections were made."""
    return made()


# Starlette


async def starlette_keyed(request: Request) -> PlainTextResponse:
    """The value of a key; the client is a global, which works as well."""
    text = await value_of(factory.async_client(), request.path_params["number"])
    return PlainTextResponse(text)


async def starlette_feed(request: Request) -> StreamingResponse:
    """A stream."""
    return StreamingResponse(alive(factory.async_client()))


async def starlette_made(request: Request) -> PlainTextResponse:
    """How many connections were made."""
    return PlainTextResponse(str(made()))


starlette = Starlette(
    routes=[
        Route("/keyed-async/{number:int}", starlette_keyed),
        Route("/feed", starlette_feed),
        Route("/made", starlette_made),
    ],
    lifespan=asgi.lifespan(factory),
)
starlette.add_middleware(asgi.ScopeMiddleware)


# Quart

quart_app = quart.Quart(__name__)
quart_app.asgi_app = asgi.ScopeMiddleware(quart_app.asgi_app)  # type: ignore[method-assign,assignment]


@quart_app.while_serving
async def quart_lifespan() -> AsyncIterator[None]:
    """The pools, as long as the application serves."""
    async with asgi.lifespan(factory)(quart_app):
        yield


@quart_app.get("/keyed-async/<int:number>")
async def quart_keyed(number: int) -> str:
    """The value of a key."""
    return await value_of(factory.async_client(), number)


@quart_app.get("/feed")
async def quart_feed() -> Any:
    """A stream."""
    return alive(factory.async_client()), 200, {"Content-Type": "text/plain"}


@quart_app.get("/made")
async def quart_made() -> str:
    """How many connections were made."""
    return str(made())


# Litestar


@litestar.get("/keyed-async/{number:int}", media_type="text/plain")
async def litestar_keyed(number: int, redis: AsyncRedis) -> str:
    """The value of a key."""
    return await value_of(redis, number)


@litestar.get("/feed")
async def litestar_feed(redis: AsyncRedis) -> litestar.response.Stream:
    """A stream."""
    return litestar.response.Stream(alive(redis))


@litestar.get("/made", media_type="text/plain")
async def litestar_made() -> str:
    """How many connections were made."""
    return str(made())


litestar_app = litestar.Litestar(
    [litestar_keyed, litestar_feed, litestar_made],
    lifespan=[asgi.lifespan(factory)],
    middleware=[asgi.ScopeMiddleware],
    dependencies={"redis": Provide(asgi.async_client(factory))},
)
