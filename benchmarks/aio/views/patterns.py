"""Patterns: the ways in which an async view comes by its client, and none."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio

from ...speed.views.patterns import PATTERN, URL

NONE = "no Redis"
GLOBAL = "redis.asyncio, one global client"
PER_LOOP = "redis.asyncio, a pool per loop"
OURS = "redispool"
SHARED = "redispool, multiplex"

WSGI = (NONE, PER_LOOP, OURS)
"""Where each request has a loop; a global client fails there."""

BURST = (GLOBAL, PER_LOOP, OURS)
"""Where failures are counted."""

ASGI = (NONE, GLOBAL, OURS, SHARED)
"""Where all requests share a loop."""

View = Callable[[], Awaitable[str]]


def pattern() -> str:
    """That of this process."""
    return os.environ[PATTERN]


def is_ours() -> bool:
    """Whether an adapter has to be set up."""
    return pattern() in (OURS, SHARED)


def definition() -> dict[str, Any]:
    """The pool of ours, as it stands in the settings."""
    multiplex = {"MULTIPLEX": True} if pattern() == SHARED else {}
    return {"default": {"URL": os.environ[URL], **multiplex}}


def one_get(ours: Any) -> View:
    """What a view of one GET does, by the environment; `ours` is the adapter's client."""
    if pattern() == NONE:
        return nothing
    if pattern() == PER_LOOP:
        return one_get_by_a_pool_of_its_own
    client = ours if is_ours() else redis.asyncio.Redis.from_url(os.environ[URL])
    return lambda: read(client)


def five(ours: Any) -> View:
    """What a view with five commands does, likewise."""
    if pattern() == NONE:
        return nothing
    client = ours if is_ours() else redis.asyncio.Redis.from_url(os.environ[URL])
    return lambda: five_commands(client)


async def nothing() -> str:
    """What the framework and the server can reach at all."""
    return "0"


async def one_get_by_a_pool_of_its_own() -> str:
    """What works with redis.asyncio on a loop that ends with the request."""
    async with redis.asyncio.Redis.from_url(os.environ[URL]) as client:
        return await read(client)


async def read(client: Any) -> str:
    """One GET."""
    return str(len(await client.get("benchmark:session")))


async def five_commands(client: Any) -> str:
    """What a request with a session, a profile, a counter and a cached list does."""
    hits = await client.incr("benchmark:hits")
    await client.get("benchmark:session")
    await client.hgetall("benchmark:profile")
    await client.mget([f"benchmark:item:{number}" for number in range(10)])
    await client.set("benchmark:last", "now", ex=60)
    return str(hits)
