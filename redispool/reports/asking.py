"""Asking servers: one question to each, through the first of its aliases that is let in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)

from ..client import Redis
from ..factory import PoolFactory
from ..pool import ConnectionPool

_T = TypeVar("_T")

REFUSALS = AuthenticationError, AuthorizationError, ResponseError


def address_of(server: str) -> str:
    """The server without the database, as all aliases on it have it."""
    return server.rpartition("/")[0]


def by_server(
    factory: PoolFactory, aliases: Iterable[str]
) -> Mapping[str, Sequence[ConnectionPool]]:
    """The pools of each server: what is asked of a whole server, one of them may ask."""
    pools: dict[str, list[ConnectionPool]] = defaultdict(list)
    for pool in map(factory.pool, aliases):
        pools[address_of(pool.options.server)].append(pool)
    return pools


def ask(
    factory: PoolFactory, pools: Sequence[ConnectionPool], question: Callable[[Redis], _T]
) -> tuple[_T | None, list[str]]:
    """The answer to `question`, which a client of the pool asks; see `first_answer`."""
    return first_answer(pools, lambda pool: question(factory.client(pool.alias)))


def first_answer(
    pools: Sequence[ConnectionPool], question: Callable[[ConnectionPool], _T]
) -> tuple[_T | None, list[str]]:
    """The answer of a server, from the first alias that is let in; else what each was told."""
    complaints = []
    for pool in pools:
        try:
            return question(pool), []
        except (RedisError, OSError) as error:
            complaints.append(complaint(pool, error))
    return None, complaints


def complaint(pool: ConnectionPool, error: Exception) -> str:
    """One line on a server that is away, or that refuses what was asked."""
    refused = isinstance(error, REFUSALS)
    what = f"{pool.options.server} refused" if refused else f"no answer from {pool.options.server}"
    return f"{pool.alias}: {what}: {error}"


def setting(client: Redis, name: str) -> int | None:
    """A number of the server's configuration; None where it may not be asked for.

    Hosting services forbid CONFIG, and INFO tells some of it.
    """
    try:
        found = client.config_get(name).get(name)
    except ResponseError:
        found = client.info("clients").get(name)
    return None if found is None else int(found)
