"""Contenders: each client for asyncio as its users make it."""

from __future__ import annotations

from functools import partial

from ..speed.suite import Contender
from . import clients

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

CONTENDERS = {
    NONE: Contender(clients.Nothing, only=("short-",)),
    FLOOR: Contender(clients.Protocol, only=ON_LOOPS),
    SHARED_FLOOR: Contender(clients.Multiplexed, only=ON_LOOPS),
    REDIS_PY: Contender(partial(clients.RedisLike, make=clients.plain)),
    "redis.asyncio, socket_timeout=None": Contender(
        partial(clients.RedisLike, make=clients.unlimited)
    ),
    "redis.asyncio, blocking pool": Contender(
        partial(clients.RedisLike, make=clients.blocking), only=MANY
    ),
    "coredis": Contender(partial(clients.Coredis, make=clients.coredis), needs="coredis"),
    "valkey-glide": Contender(clients.Glide, needs="glide"),
    OURS: Contender(partial(clients.Ours, make=clients.ours)),
    SHARED: Contender(partial(clients.Ours, make=clients.sharing)),
}
"""By name, in the order of the tables and of each round."""
