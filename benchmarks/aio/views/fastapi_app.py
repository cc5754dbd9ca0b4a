"""A FastAPI application with one async view."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from redispool import PoolFactory, asgi

from . import patterns

factory = PoolFactory(patterns.definition())
lifespan = asgi.lifespan(factory) if patterns.is_ours() else None
body = patterns.five(factory.async_client())
app = FastAPI(lifespan=lifespan)

if patterns.is_ours():
    app.add_middleware(asgi.ScopeMiddleware)


@app.get("/", response_class=PlainTextResponse)
async def view() -> str:
    """Five commands."""
    return await body()
