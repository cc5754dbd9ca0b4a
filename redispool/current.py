"""CurrentRedis: a client that looks up at each use which client it stands for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from .client import Redis

__all__ = ["CurrentRedis"]


class CurrentRedis(Redis):
    """A ``redis.Redis`` that can be imported before there are settings, an application or a server.

    Args:
        find: gives the client of the moment; may raise where there is none.
        name: what it is, for its repr.
    """

    def __init__(self, find: Callable[[], Redis], name: str) -> None:
        # redis-py's constructor is left out on purpose: the attributes that it would set are
        # missing here, so that __getattr__ finds those of the client of the moment.
        self._find = find
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in {"_find", "_name"}:
            raise AttributeError(name)
        return getattr(self._find(), name)

    @contextlib.contextmanager
    def pinned(self, timeout: float | object | None = ...) -> Iterator[Redis]:
        """See `redispool.Redis.pinned`."""
        with self._find().pinned(timeout) as pin:
            yield pin

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command on the client of the moment."""
        return self._find().execute_command(*args, **options)

    def client(self) -> Redis:
        """A client with one connection of its own; `redispool.Redis.pinned` is the better way."""
        client: Redis = self._find().client()
        return client

    def close(self) -> None:
        """Nothing: the pool belongs to the application."""

    def __del__(self) -> None:
        """Nothing, likewise."""

    def __repr__(self) -> str:
        return f"<{self._name}>"
