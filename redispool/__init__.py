"""redispool: one Redis connection pool per application and process, that loses nothing.

A pool lives as long as the process, a scope as long as one request. The client is a
``redis.Redis``.
"""

from . import asgi
from .aio.client import AsyncRedis
from .aio.pool import AsyncConnectionPool
from .client import Redis
from .errors import (
    EmbeddedServerError,
    ForkedLease,
    InvalidOption,
    NotOwned,
    PoolClosed,
    PoolTimeout,
    ServerUnavailable,
    TooManyWaiting,
)
from .factory import PoolFactory
from .options import PoolOptions
from .pool import ConnectionPool
from .scopes import Scope, scope
from .stats import PoolStats

__all__ = [
    "AsyncConnectionPool",
    "AsyncRedis",
    "ConnectionPool",
    "EmbeddedServerError",
    "ForkedLease",
    "InvalidOption",
    "NotOwned",
    "PoolClosed",
    "PoolFactory",
    "PoolOptions",
    "PoolStats",
    "PoolTimeout",
    "Redis",
    "Scope",
    "ServerUnavailable",
    "TooManyWaiting",
    "asgi",
    "scope",
]
