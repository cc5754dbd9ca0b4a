"""An application for load, with FastAPI."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

from redispool import AsyncRedis, Redis, asgi

from .keyed import alive, factory, made, value_of

Async = Annotated[AsyncRedis, Depends(asgi.async_client(factory))]
Sync = Annotated[Redis, Depends(asgi.client(factory))]

app = FastAPI(lifespan=asgi.lifespan(factory, warm_up=True))
app.add_middleware(asgi.ScopeMiddleware)


@app.get("/keyed-async/{number}", response_class=PlainTextResponse)
async def keyed_async(number: int, redis: Async) -> str:
    """The value of a key, from an async view."""
    return await value_of(redis, number)


@app.get("/keyed/{number}", response_class=PlainTextResponse)
def keyed(number: int, redis: Sync) -> str:
    """The value of a key, from a view in a thread."""
    redis.set(f"key {number}", f"value of {number}")
    found = redis.get(f"key {number}")
    assert isinstance(found, bytes)
    return found.decode()


@app.get("/feed")
async def feed(redis: Async) -> StreamingResponse:
    """A stream."""
    return StreamingResponse(alive(redis))


@app.websocket("/feed")
async def socket(websocket: WebSocket, redis: Async) -> None:
    """The same through a WebSocket."""
    await websocket.accept()
    async for piece in alive(redis):
        await websocket.send_text(piece)


@app.get("/made")
async def made_here() -> int:
    """How many connections were made."""
    return made()
