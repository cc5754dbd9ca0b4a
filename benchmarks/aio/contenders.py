"""Contenders: each client for asyncio as its users make it."""

from __future__ import annotations

from functools import partial
from typing import Any

import redis.asyncio

import redispool

from ..speed.suite import Contender
from . import clients, floor

FLOOR = "Protocol"
SHARED_FLOOR = "Protocol, multiplexed by hand"
REDIS_PY = "redis.asyncio"
OURS = "redispool"
SHARED = "redispool, multiplex"
NONE = "no Redis"

ON_LOOPS = ("asyncio-", "uvloop-")
"""How the names of the measures on a loop that lives long begin."""

MANY = tuple(f"{loop}-500-" for loop in ("asyncio", "uvloop"))
"""Likewise, with more tasks than a pool has connections."""


def plain(url: str) -> redis.asyncio.Redis:
    """redis.asyncio's client, with a pool that lets each task have a connection."""
    return redis.asyncio.Redis.from_url(url, max_connections=1000)


def unlimited(url: str) -> redis.asyncio.Redis:
    """The same without a time limit for replies."""
    return redis.asyncio.Redis.from_url(url, max_connections=1000, socket_timeout=None)


def blocking(url: str) -> redis.asyncio.Redis:
    """On the pool that waits for a free connection: 50 of them, as ours has."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=50)
    return redis.asyncio.Redis.from_pool(pool)


def coredis(url: str) -> Any:
    """coredis, as it comes."""
    from coredis import Redis

    return Redis.from_url(url)


def ours(url: str) -> redispool.AsyncRedis:
    """The client of a factory, as in an application."""
    return redispool.PoolFactory({"default": {"url": url}}).async_client()


def sharing(url: str) -> redispool.AsyncRedis:
    """The same, whose tasks share a connection."""
    return redispool.PoolFactory({"default": {"url": url, "multiplex": True}}).async_client()


CONTENDERS = {
    NONE: Contender(clients.Nothing, only=("short-",)),
    FLOOR: Contender(floor.Protocol, only=ON_LOOPS),
    SHARED_FLOOR: Contender(floor.Multiplexed, only=ON_LOOPS),
    REDIS_PY: Contender(partial(clients.RedisLike, make=plain)),
    "redis.asyncio, socket_timeout=None": Contender(partial(clients.RedisLike, make=unlimited)),
    "redis.asyncio, blocking pool": Contender(partial(clients.RedisLike, make=blocking), only=MANY),
    "coredis": Contender(partial(clients.Coredis, make=coredis), needs="coredis"),
    "valkey-glide": Contender(clients.Glide, needs="glide"),
    OURS: Contender(partial(clients.Ours, make=ours)),
    SHARED: Contender(partial(clients.Ours, make=sharing)),
}
"""By name, in the order of the tables and of each round."""
