"""What redis-py and its friends expect of a pool, said in the words of ours."""

from __future__ import annotations

import os
import re
import socket
import threading
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from redis import connection as base
from redis.backoff import NoBackoff
from redis.event import EventDispatcher
from redis.retry import AbstractRetry, Retry

from . import caching, credentials
from .capacity import Capacity
from .connection import PooledConnection
from .dialect import translated
from .express import Express
from .options import PASSED_ON, PoolOptions, kind_of
from .shared_cache import shared_cache
from .transports import driver

EMBEDDED_DIRECTORY = ".redispool"


class RedisPyPool:
    """The names of ``redis.ConnectionPool``, for redis-py's client, Sentinel and third parties.

    It shares the type and the names with redis-py's pool, and none of its state.
    """

    capacity: Capacity
    express: Express | None
    connection_class: Any
    retry_class: type[Any] = Retry
    _event_dispatcher: Any

    def __init__(
        self,
        options: PoolOptions,
        alias: str,
        connection_class: type[Any] | None,
        base_path: Path | None,
    ) -> None:
        self.options = options
        self.alias = alias
        self.retry_mode = options.retry if isinstance(options.retry, str) else ""
        """The option ``retry``; empty where a ``Retry`` of redis-py's decides."""
        self.connection_class = self._class_for(options, connection_class)
        self._connection_kwargs = connection_kwargs(options, base_path, self._retry_like)
        self._shared_cache = shared_cache(options)
        self.cache = None if self._shared_cache is None else self._shared_cache.cache
        self._event_dispatcher = EventDispatcher()
        self._pool_id = alias  # redis-py's metrics call the pool <host>:<port>_<alias>
        credentials.follow(self._connection_kwargs.get("credential_provider"), self)
        if hasattr(base, "HImportRegistry"):  # redis-py 8.1 and later
            self.himport_registry = base.HImportRegistry()
            self._connection_kwargs["himport_registry"] = self.himport_registry
        self._lock = threading.RLock()  # part of redis-py's interface; the pool takes no lock

    @abstractmethod
    def _class_for(self, options: PoolOptions, wanted: type[Any] | None) -> type[Any]:
        """The class of the connections; made of `wanted`, where it is given."""

    @abstractmethod
    def recycle(self) -> None:
        """Replace all connections."""

    @abstractmethod
    def re_auth_callback(self, token: Any) -> Any:
        """Credentials have changed."""

    @abstractmethod
    def close(self) -> int:
        """End the pool."""

    @classmethod
    def _retry_like(cls, retry: AbstractRetry[Any]) -> Any:
        """The same `retry` for our kind of connections: one of the other kind would try nothing."""
        if isinstance(retry, cls.retry_class):
            return retry
        return cls.retry_class(retry._backoff, retry._retries, retry._supported_errors)

    @property
    def max_connections(self) -> int:
        """The bound of now; changed by `ConnectionPool.resize`."""
        return self.capacity.size

    def make_connection(self) -> PooledConnection:
        """A connection object, not yet open and in no place of the pool."""
        # Not once for all: after a fork it is another process.
        kwargs = {"client_name": client_name(self.alias), **self._connection_kwargs}
        if self._shared_cache is None:
            made: PooledConnection = self.connection_class(**kwargs)
        else:
            made = caching.caching(self.connection_class)(**kwargs)
            made.shared = self._shared_cache  # type: ignore[attr-defined]
        made.name_is_ours = self.options.client_name is None
        return made

    def owns_connection(self, connection: Any) -> bool:
        """Whether this pool, in this process, lent `connection`."""
        slot = getattr(connection, "slot", None)
        return slot is not None and slot.capacity is self.capacity.reference

    def set_retry(self, retry: AbstractRetry[Any]) -> None:
        """Let redis-py's `retry` decide what is tried again, on all connections from now on."""
        self.retry_mode, self.express = "", None
        self._connection_kwargs["retry"] = own = self._retry_like(retry)
        for connection in self.capacity.connections():
            connection.retry = own  # type: ignore[attr-defined]

    def maint_notifications_enabled(self) -> bool:
        """Never: they would switch off the check for unread replies."""
        return False

    def _get_free_connections(self) -> list[Any]:
        return list(self.capacity.queue.idle)

    def _get_in_use_connections(self) -> set[Any]:
        everything = self.capacity.connections()
        return {connection for connection in everything if connection.lease}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        bound = "closed" if self.capacity.shut.is_set() else f"{self.max_connections} connections"
        return f"<{type(self).__name__} {self.alias!r}: {self.options.server}, {bound}>"

    def __del__(self) -> None:
        """Nothing: redis-py's would look for state that is not here."""


def options_from(settings: dict[str, Any]) -> PoolOptions:
    """Options given as keyword arguments, in redis-py's words or in ours."""
    settings = translated(settings)
    for name in settings:
        kind_of(name, str.lower)  # refuses what is unknown, with the nearest that is known
    own = {name: value for name, value in settings.items() if name not in PASSED_ON}
    further = {name: value for name, value in settings.items() if name in PASSED_ON}
    return PoolOptions(**own, connection=further)


def connection_kwargs(
    options: PoolOptions, base_path: Path | None, retry_like: Callable[[AbstractRetry[Any]], Any]
) -> dict[str, Any]:
    """The arguments of redis-py's connection class; `retry_like` adapts its ``retry``."""
    kwargs: dict[str, Any] = {
        "db": options.db,
        "decode_responses": options.decode_responses,
        "health_check_interval": 0,  # the pool checks before it lends
        "protocol": options.protocol,
        "retry": retry_like(retry_of_connections(options)),
        "socket_connect_timeout": options.socket_connect_timeout,
        "socket_timeout": options.socket_timeout,
        **driver(),
        **credentials.kwargs(options),
        **options.connection,
    }
    if options.client_name:
        kwargs["client_name"] = options.client_name
    match options.transport:
        case "unix":
            kwargs["path"] = options.path
        case "embedded":
            kwargs["directory"] = embedded_directory(options, base_path or Path.cwd())
        case _:
            kwargs |= {"host": options.host, "port": options.port}
    return kwargs


def retry_of_connections(options: PoolOptions) -> AbstractRetry[Any]:
    """The user's own; else one that does nothing: pool and client decide what is tried again."""
    return Retry(NoBackoff(), 0) if isinstance(options.retry, str) else options.retry


def embedded_directory(options: PoolOptions, base_path: Path) -> Path:
    """Where the server of an ``embedded://`` URL keeps its data and its socket."""
    return base_path / Path(options.path or EMBEDDED_DIRECTORY).expanduser()


def client_name(alias: str) -> str:
    """``redispool:<alias>:<host>:<pid>``, in letters that ``CLIENT SETNAME`` takes."""
    host = socket.gethostname().partition(".")[0]
    return re.sub(r"[^!-~]", "_", f"redispool:{alias}:{host}:{os.getpid()}")
