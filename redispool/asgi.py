"""ASGI: what an application of FastAPI, Starlette or another framework needs beside its factory.

`lifespan` opens and drains the pools with the application, `async_client` and `client` are
dependencies, `ScopeMiddleware` gives back what a request forgot, `HealthApp` answers probes. No
framework is imported.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    MutableMapping,
)
from contextlib import AbstractAsyncContextManager
from threading import Lock
from typing import Any, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

from . import health, logs, scopes
from .aio.client import AsyncRedis
from .client import Redis
from .factory import PoolFactory
from .lifecycle import CLOSE_WITHIN
from .settings import DEFAULT

__all__ = ["HealthApp", "ScopeMiddleware", "async_client", "client", "lifespan"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

_State = TypeVar("_State")
Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[_State]]
"""What Starlette calls so: takes the application, and gives the state of its requests."""

NOT_SERVING = (
    "The pools of {factory!r} are not open, because the lifespan of the application did not run. "
    "Write FastAPI(lifespan=redispool.asgi.lifespan(factory)), Starlette(lifespan=…) or "
    "Litestar(lifespan=[…]); where one application is mounted in another, only the outer one's "
    "runs. In a test it runs inside of "
    "`with TestClient(app) as client:`. Daphne, and httpx's ASGITransport, run none: there, and in "
    "scripts, use factory.async_client() as it is."
)

_serving: WeakKeyDictionary[PoolFactory, int] = WeakKeyDictionary()
_counting = Lock()


@overload
def lifespan(
    factory: PoolFactory, *, warm_up: bool = False, close_within: float = CLOSE_WITHIN
) -> Lifespan[None]: ...
@overload
def lifespan(
    factory: PoolFactory,
    inner: Lifespan[_State],
    *,
    warm_up: bool = False,
    close_within: float = CLOSE_WITHIN,
) -> Lifespan[_State]: ...
def lifespan(
    factory: PoolFactory,
    inner: Lifespan[Any] | None = None,
    *,
    warm_up: bool = False,
    close_within: float = CLOSE_WITHIN,
) -> Lifespan[Any]:
    """Make the lifespan of an application whose pools are those of `factory`.

    At its end the pools are drained and closed. Where it begins again in the same process, as in
    tests, the pools begin anew, and the clients that the factory gave go on with them.

    Args:
        factory: the pools.
        inner: the application's own lifespan; the pools are open from before its beginning until
            after its end, and its state is passed on.
        warm_up: open ``min_idle`` connections of each alias for asyncio, one at least, before the
            first request, so that the application does not start where a server is away.
        close_within: seconds that those who hold a connection have at the end; then it is cut.

    Returns:
        What ``FastAPI(lifespan=…)`` and ``Starlette(lifespan=…)`` take.

    Raises:
        TypeError: `factory` is none; an application perhaps, where a framework was given this
            function itself.
    """
    if not isinstance(factory, PoolFactory):
        raise TypeError(
            f"lifespan takes a PoolFactory, not a {type(factory).__name__}: "
            "write lifespan=redispool.asgi.lifespan(factory)"
        )

    @contextlib.asynccontextmanager
    async def around(app: Any) -> AsyncIterator[Any]:
        _begin(factory)
        try:
            if warm_up:
                await _warm_up(factory)
            async with inner(app) if inner else contextlib.nullcontext() as state:
                yield state
        finally:
            draining = _end(factory, close_within)
            if draining is not None:
                _tell(await draining, close_within)

    return around


def async_client(factory: PoolFactory, alias: str = DEFAULT) -> Callable[[], Awaitable[AsyncRedis]]:
    """Make a dependency that gives the client of `alias` for asyncio.

    ``Redis = Annotated[AsyncRedis, Depends(redispool.asgi.async_client(factory))]``.

    Raises:
        InvalidOption: no such alias is defined. The dependency itself raises ``RuntimeError`` where
            the lifespan did not run.
    """
    factory.async_pool(alias)  # says at once what is wrong

    async def redispool_async_client() -> AsyncRedis:
        _must_serve(factory)
        return factory.async_client(alias)

    return redispool_async_client


def client(factory: PoolFactory, alias: str = DEFAULT) -> Callable[[], Awaitable[Redis]]:
    """Make a dependency that gives the client of `alias` for threads, for ``def`` views.

    Errors as of `async_client`.
    """
    factory.pool(alias)

    async def redispool_client() -> Redis:  # async: FastAPI would give a plain one a thread
        _must_serve(factory)
        return factory.client(alias)

    return redispool_client


class ScopeMiddleware:
    """A scope for each request and WebSocket: what was forgotten in it goes back at its end.

    Nothing is read, held up or changed on the way: responses stream through. The scope lasts until
    the application has done all that belongs to the request, background tasks among that.

    Args:
        app: the application to put it round.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request within a scope of its own; a lifespan within none."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            with scopes.scope():
                await self.app(scope, receive, send)


class HealthApp:
    """An application that answers probes: 200 or 503, and what `redispool.health` found, as JSON.

    Route a path to it, by Starlette's ``Route("/ready", HealthApp(factory))``, or mount it.

    Args:
        factory: the pools.
        aliases: those that count; all where they are not given.
        within: seconds that an answer may take.

    Raises:
        InvalidOption: no such alias is defined.
    """

    def __init__(
        self,
        factory: PoolFactory,
        aliases: Iterable[str] | None = None,
        *,
        within: float = health.WITHIN,
    ) -> None:
        self._factory, self._within = factory, within
        self._aliases = health.known(factory, aliases)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request of any path, by GET or HEAD."""
        if scope["type"] != "http":
            raise RuntimeError(f"HealthApp answers requests over HTTP, not {scope['type']}")
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(scope, send, 405, {"status": "GET and HEAD are answered"})
            return
        found = await health.async_check(self._factory, self._aliases, within=self._within)
        await _respond(scope, send, found.http_status, found.as_dict())


async def _respond(scope: Message, send: Send, status: int, content: Any) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    shown = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown})


def _must_serve(factory: PoolFactory) -> None:
    if factory not in _serving:
        raise RuntimeError(NOT_SERVING.format(factory=factory))


def _begin(factory: PoolFactory) -> None:
    with _counting:
        factory.reopen()
        _serving[factory] = _serving.get(factory, 0) + 1


def _end(factory: PoolFactory, within: float) -> Coroutine[Any, Any, int] | None:
    """Count the end of a lifespan; the drain, where no other one of the same factory runs.

    The pools end in the same step: one that begins while they are drained has new ones.
    """
    with _counting:
        _serving[factory] -= 1
        if _serving[factory]:
            return None
        del _serving[factory]
        return factory.aclose(within)


async def _warm_up(factory: PoolFactory) -> None:
    for alias in factory.aliases:
        pool = factory.async_pool(alias)
        await pool.warm_up(max(pool.options.min_idle, 1))


def _tell(cut: int, within: float) -> None:
    if cut:
        logs.warn(
            "connections in use %s s after the shutdown began were cut: %d",
            within,
            cut,
            event="cut_at_shutdown",
            seconds=within,
            connections=cut,
        )
