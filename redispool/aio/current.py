"""CurrentAsyncRedis: a client for asyncio that looks up at each use which client it stands for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from .client import AsyncRedis

__all__ = ["CurrentAsyncRedis"]


class CurrentAsyncRedis(AsyncRedis):
    """What `redispool.current.CurrentRedis` is for threads, for any event loop.

    The client of the moment is the one of the call, not of the ``await``: a command that a task
    runs later is of the application that asked for it.

    Args:
        find: gives the client of the moment; may raise where there is none.
        name: what it is, for its repr.
    """

    def __init__(self, find: Callable[[], AsyncRedis], name: str) -> None:
        # redis-py's constructor is left out on purpose: see CurrentRedis.
        self._find = find
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"_find", "_name"}:
            raise AttributeError(name)
        return getattr(self._find(), name)

    @contextlib.asynccontextmanager
    async def pinned(self, timeout: float | object | None = ...) -> AsyncIterator[Self]:
        """See `redispool.AsyncRedis.pinned`."""
        async with self._find().pinned(timeout) as pin:
            yield pin  # type: ignore[misc]  # of the class that it stands for

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command on the client of the moment."""
        return self._find().execute_command(*args, **options)

    def client(self) -> AsyncRedis:
        """A client with one connection of its own; `pinned` is the better way."""
        return self._find().client()  # type: ignore[return-value]  # redis-py says: its own class

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Nothing: the pool belongs to the application."""

    close = aclose

    def __del__(self, *_: Any) -> None:
        """Nothing, likewise."""

    def __repr__(self) -> str:
        return f"<{self._name}>"
