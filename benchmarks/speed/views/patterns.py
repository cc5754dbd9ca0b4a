"""Patterns: three ways in which a view comes by its client, and none."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import redis

URL, PATTERN = "BENCHMARK_URL", "BENCHMARK_PATTERN"
"""The environment variables that tell the application what to be."""

NONE = "no Redis"
GLOBAL = "redis-py, one global client"
ANEW = "redis-py, new client a request"
OURS = "redispool"
PATTERNS = (NONE, GLOBAL, ANEW, OURS)
"""In the order of the tables: the last two of redis-py are what its users write."""


def body(framework: str) -> Callable[[], str]:
    """What the view of this process does, by the environment; `framework` has the adapter."""
    pattern = os.environ[PATTERN]
    if pattern == NONE:
        return lambda: "0"
    find = client_by(pattern, framework)
    return lambda: five_commands(find())


def client_by(pattern: str, framework: str) -> Callable[[], redis.Redis]:
    """How a view comes by its client."""
    url = os.environ[URL]
    if pattern == GLOBAL:
        client = redis.Redis.from_url(url)
        return lambda: client
    if pattern == ANEW:
        pool = redis.ConnectionPool.from_url(url)
        return lambda: redis.Redis(connection_pool=pool)
    ours = importlib.import_module(f"{framework}_redispool").redis
    return lambda: ours


def five_commands(client: Any) -> str:
    """What a request with a session, a profile, a counter and a cached list does."""
    hits = client.incr("benchmark:hits")
    client.get("benchmark:session")
    client.hgetall("benchmark:profile")
    client.mget([f"benchmark:item:{number}" for number in range(10)])
    client.set("benchmark:last", "now", ex=60)
    return str(hits)


def fill(client: Any) -> None:
    """What the commands find."""
    client.set("benchmark:session", "s" * 500)
    client.hset("benchmark:profile", mapping={f"field:{number}": "value" for number in range(10)})
    client.mset({f"benchmark:item:{number}": "i" * 50 for number in range(10)})
