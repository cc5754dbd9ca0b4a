"""What a user of FastAPI or Starlette writes: read by type checkers, never run."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, assert_type

from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.routing import Route

import redispool
from redispool import AsyncRedis, PoolFactory, Redis, asgi

factory = PoolFactory({"default": "redis://localhost:6379/0", "sessions": {"DB": 1}})
Async = Annotated[AsyncRedis, Depends(asgi.async_client(factory))]
Sync = Annotated[Redis, Depends(asgi.client(factory, "sessions"))]

app = FastAPI(lifespan=redispool.asgi.lifespan(factory, warm_up=True, close_within=2.0))
app.add_middleware(asgi.ScopeMiddleware)


@app.get("/visit")
async def visit(aredis: Async, redis: Sync) -> int:
    assert_type(aredis, AsyncRedis)
    assert_type(redis, Redis)
    return int(await aredis.incr("hits"))


@app.websocket("/visit")
async def visit_by_websocket(websocket: WebSocket, aredis: Async) -> None:
    await aredis.incr("hits")


@contextlib.asynccontextmanager
async def own(app: FastAPI) -> AsyncIterator[dict[str, int]]:
    yield {"answer": 42}


@contextlib.asynccontextmanager
async def stateless(app: Starlette) -> AsyncIterator[None]:
    yield


def lifespans_of_their_own() -> tuple[FastAPI, Starlette]:
    return FastAPI(lifespan=asgi.lifespan(factory, own)), Starlette(
        lifespan=asgi.lifespan(factory, stateless)
    )


def probes_are_answered() -> Starlette:
    app.router.routes.append(Route("/ready", asgi.HealthApp(factory)))
    app.mount("/health", asgi.HealthApp(factory, ["default"], within=0.5))
    return Starlette(routes=[Route("/ready", asgi.HealthApp(factory))])


def mistakes_are_seen() -> None:
    asgi.lifespan("redis://localhost")  # type: ignore[call-overload]  # the factory, not its URL
    asgi.async_client(factory, 1)  # type: ignore[arg-type]  # an alias is a name
