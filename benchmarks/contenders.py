"""Contenders: redispool and the pools of redis-py, made and used in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

import redispool


@dataclass(frozen=True)
class Contender:
    """A pool, and the client that people use with it.

    Args:
        name: as it stands at the head of a column.
        make_pool: given a URL, the bound, and the seconds to wait for a connection.
        make_client: given the pool.
    """

    name: str
    make_pool: Callable[[str, int, float], Any]
    make_client: Callable[[Any], redis.Redis]


def our_pool(url: str, bound: int, timeout: float) -> redispool.ConnectionPool:
    """A pool of redispool, with its defaults."""
    return redispool.ConnectionPool(url=url, max_connections=bound, timeout=timeout)


def plain_pool(url: str, bound: int, timeout: float) -> redis.ConnectionPool:
    """redis-py's pool, which raises at once where its bound is reached."""
    return redis.ConnectionPool.from_url(url, max_connections=bound)


def blocking_pool(url: str, bound: int, timeout: float) -> redis.ConnectionPool:
    """redis-py's pool that waits for a free connection."""
    return redis.BlockingConnectionPool.from_url(url, max_connections=bound, timeout=timeout)


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("redispool", our_pool, lambda pool: redispool.Redis(connection_pool=pool)),
        Contender("ConnectionPool", plain_pool, lambda pool: redis.Redis(connection_pool=pool)),
        Contender(
            "BlockingConnectionPool", blocking_pool, lambda pool: redis.Redis(connection_pool=pool)
        ),
    )
}
"""By name; the two others are redis-py's, with its defaults."""
