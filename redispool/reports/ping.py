"""The report `ping`: whether each server answers, how fast, what it is, and who names it."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from redis.exceptions import RedisError

from ..factory import PoolFactory
from ..origins import origin_of_server
from .asking import complaint
from .report import Report, Row

AWAY: Row = {"answers": False, "milliseconds": None, "version": None, "role": None}


def ping(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """One row for each alias, also for one whose server is away."""
    rows, errors = [], []
    for alias in aliases:
        pool = factory.pool(alias)
        answer: Row = AWAY
        try:
            answer = {"answers": True, **_ping(factory, alias)}
        except (RedisError, OSError) as error:
            errors.append(complaint(pool, error))
        setting = origin_of_server(factory.options[alias]).key
        server = pool.options.server
        rows.append({"alias": alias, "server": server, **answer, "setting": setting})
    return Report("Servers", rows, errors=errors)


def _ping(factory: PoolFactory, alias: str) -> Row:
    client = factory.client(alias)
    client.ping()  # the first one also connects
    started = perf_counter()
    client.ping()
    took = perf_counter() - started
    server, replication = client.info("server"), client.info("replication")
    name = "valkey" if "valkey_version" in server else "redis"
    return {
        "milliseconds": round(took * 1000, 3),
        "version": f"{name} {server[f'{name}_version']}",
        "role": replication["role"],
    }
