"""Transports: the connection class for each way to reach a server."""

from __future__ import annotations

import functools
import inspect
from importlib import metadata
from pathlib import Path
from typing import Any

import redis
from redis import connection as base

from . import embedded
from .connection import PooledConnection


class Connection(PooledConnection, base.Connection):
    """A connection over TCP."""


class SSLConnection(PooledConnection, base.SSLConnection):
    """A connection over TLS."""


class UnixDomainSocketConnection(PooledConnection, base.UnixDomainSocketConnection):
    """A connection over a unix socket."""


class EmbeddedConnection(UnixDomainSocketConnection):
    """A connection to the project's private server, which is started where it does not run."""

    def __init__(self, *, directory: Path, **kwargs: Any) -> None:
        self.directory = directory
        super().__init__(**kwargs)

    def _connect(self) -> Any:
        self.path = str(embedded.join(self.directory))
        return super()._connect()


BY_TRANSPORT: dict[str, type[Any]] = {
    "tcp": Connection,
    "tls": SSLConnection,
    "unix": UnixDomainSocketConnection,
    "embedded": EmbeddedConnection,
}


def pooled(connection_class: type[Any]) -> type[Any]:
    """The class itself, or `connection_class` with what our pools need mixed in."""
    if issubclass(connection_class, PooledConnection):
        return connection_class
    name = f"Pooled{connection_class.__name__}"
    return type(name, (PooledConnection, connection_class), {"__module__": __name__})


@functools.cache
def driver() -> dict[str, Any]:
    """Arguments by which each connection says that it is of redispool; built once.

    redis-py 7.2 and later take ``driver_info``; before that there were two names.
    """
    known = inspect.signature(base.AbstractConnection.__init__).parameters
    own = metadata.version("redispool")
    if "driver_info" not in known:
        name = f"redis-py(redispool_v{own})"
        return {"lib_name": name, "lib_version": redis.__version__}
    info = redis.DriverInfo(lib_version=redis.__version__)
    return {"driver_info": info.add_upstream_driver("redispool", own)}
