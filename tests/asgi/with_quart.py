"""An application for load, with Quart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quart import Quart

from redispool import asgi

from .keyed import alive, factory, made, value_of

app = Quart(__name__)
app.asgi_app = asgi.ScopeMiddleware(app.asgi_app)  # type: ignore[method-assign,assignment]


@app.while_serving
async def pools() -> AsyncIterator[None]:
    """The pools, as long as the application serves."""
    async with asgi.lifespan(factory)(app):
        yield


@app.get("/keyed-async/<int:number>")
async def keyed(number: int) -> str:
    """The value of a key."""
    return await value_of(factory.async_client(), number)


@app.get("/feed")
async def feed() -> Any:
    """A stream."""
    return alive(factory.async_client()), 200, {"Content-Type": "text/plain"}


@app.get("/made")
async def made_here() -> str:
    """How many connections were made."""
    return str(made())
