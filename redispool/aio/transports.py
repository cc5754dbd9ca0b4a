"""Transports for asyncio: the connection class for each way to reach a server."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import redis
from redis.asyncio import connection as base

from ..errors import InvalidOption
from ..options import PoolOptions
from .connection import AsyncPooledConnection


class AsyncConnection(AsyncPooledConnection, base.Connection):
    """A connection over TCP."""


class AsyncSSLConnection(AsyncPooledConnection, base.SSLConnection):
    """A connection over TLS."""


class AsyncUnixDomainSocketConnection(AsyncPooledConnection, base.UnixDomainSocketConnection):
    """A connection over a unix socket."""


class AsyncEmbeddedConnection(AsyncUnixDomainSocketConnection):
    """A connection to the project's private server, which is started where it does not run."""

    def __init__(self, *, directory: Path, **kwargs: Any) -> None:
        self.directory = directory
        super().__init__(**kwargs)


BY_TRANSPORT: dict[str, type[Any]] = {
    "tcp": AsyncConnection,
    "tls": AsyncSSLConnection,
    "unix": AsyncUnixDomainSocketConnection,
    "embedded": AsyncEmbeddedConnection,
}

REFUSED = {
    "cache": "is for the client of threads; give the asyncio client an alias without it",
    "cache_config": "is for the client of threads; give the asyncio client an alias without it",
    "command_packer": "is for the client of threads; the asyncio client packs with hiredis",
    "parser_class": "is for the client of threads; the asyncio client reads with hiredis",
}
"""Options that the asyncio pool cannot follow, and why."""


def pooled(connection_class: type[Any]) -> type[Any]:
    """The class itself, or `connection_class` with what our pools need mixed in."""
    if issubclass(connection_class, AsyncPooledConnection):
        return connection_class
    name = f"Pooled{connection_class.__name__}"
    return type(name, (AsyncPooledConnection, connection_class), {"__module__": __name__})


def refuse_what_asyncio_drops(options: PoolOptions) -> None:
    """Say which option means nothing to asyncio connections, before one is made.

    Raises:
        InvalidOption: there is one.
    """
    for name, complaint in REFUSED.items():
        if getattr(options, name, None) is not None or name in options.connection:
            raise InvalidOption(name, complaint)
    known = taken_by(BY_TRANSPORT[options.transport])  # type: ignore[arg-type]
    for name in options.connection:
        if name not in known:
            complaint = f"is no option of redis-py {redis.__version__} for asyncio; remove it"
            raise InvalidOption(name, complaint)


@functools.cache
def taken_by(connection_class: type[Any]) -> frozenset[str]:
    """The options that a connection class takes."""
    inits = (vars(kind).get("__init__", object.__init__) for kind in connection_class.__mro__)
    return frozenset(name for init in inits for name in inspect.signature(init).parameters)
