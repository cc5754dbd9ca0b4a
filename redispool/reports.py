"""Reports: what the commands tell of pools and servers, as rows of plain values."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)

from .dropin import client_name
from .factory import PoolFactory
from .pool import ConnectionPool

__all__ = ["HELP", "REPORTS", "Report"]

HELP = (
    "Show the Redis pools: stats (of this command's own process), ping (each server), config (the "
    "options in force, secrets masked) or clients (the connections of all processes, from CLIENT "
    "LIST). Ends with 1 where a server is away."
)

Row = dict[str, Any]

OWN_NAME = re.compile("redispool:(?P<alias>.+):(?P<host>[^:]*):(?P<process>[0-9]+)")
"""The name of a connection, as `client_name` makes it."""


@dataclass(frozen=True)
class Report:
    """One answer: rows of the same columns, a note in words, and what went wrong."""

    title: str
    rows: list[Row]
    note: str = ""
    errors: list[str] = field(default_factory=list)


def stats(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """The figures of the pools of this process."""
    rows = [factory.pool(alias).stats().as_dict() for alias in aliases]
    note = (
        f"These are the pools of this command's own process ({os.getpid()}), which is not one of "
        "those that serve requests. For the connections of all processes see: redispool clients"
    )
    return Report("Pools of this process", rows, note)


def ping(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """Whether each server answers, how fast, and what it is."""
    rows, errors = [], []
    for alias in aliases:
        row: Row = {"alias": alias, "server": factory.pool(alias).options.server}
        try:
            row |= {"answers": True, **_ping(factory, alias)}
        except (RedisError, OSError) as error:
            row |= {"answers": False, "milliseconds": None, "version": None, "role": None}
            errors.append(_complaint(factory.pool(alias), error))
        rows.append(row)
    return Report("Servers", rows, errors=errors)


def config(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """The options in force, secrets masked."""
    rows = [
        {"alias": alias, "option": name.upper(), "value": value}
        for alias in aliases
        for name, value in factory.options[alias].masked().items()
    ]
    return Report("Options in force", rows)


def clients(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """Who is connected to each server: the processes of this application, and the strangers."""
    rows: list[Row] = []
    errors = []
    named = {o.client_name: alias for alias, o in factory.options.items() if o.client_name}
    for server, pools in _by_server(factory, aliases).items():
        listed, complaints = _client_list(factory, pools)
        rows += _processes(server, listed, named)
        errors += complaints
    count = sum(row["connections"] for row in rows)
    note = f"{count} connection{'' if count == 1 else 's'}" if rows else ""
    return Report("Connections of all processes", rows, note, errors)


REPORTS: Mapping[str, Callable[[PoolFactory, Iterable[str]], Report]] = {
    "stats": stats,
    "ping": ping,
    "config": config,
    "clients": clients,
}


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


def _complaint(pool: ConnectionPool, error: Exception) -> str:
    """One line on a server that is away, or that refuses what was asked."""
    refusals = AuthenticationError, AuthorizationError, ResponseError
    refused = isinstance(error, refusals)
    what = f"{pool.options.server} refused" if refused else f"no answer from {pool.options.server}"
    return f"{pool.alias}: {what}: {error}"


def _address(pool: ConnectionPool) -> str:
    return pool.options.server.rpartition("/")[0]


def _by_server(
    factory: PoolFactory, aliases: Iterable[str]
) -> Mapping[str, Sequence[ConnectionPool]]:
    """CLIENT LIST tells of a whole server, so of the aliases of one server the first may ask."""
    pools: dict[str, list[ConnectionPool]] = defaultdict(list)
    for pool in map(factory.pool, aliases):
        pools[_address(pool)].append(pool)
    return pools


def _client_list(
    factory: PoolFactory, pools: Sequence[ConnectionPool]
) -> tuple[list[dict[str, str]], list[str]]:
    """The clients of a server, from the first alias that is let in; else what each was told."""
    complaints = []
    for pool in pools:
        try:
            return factory.client(pool.alias).client_list(), []
        except (RedisError, OSError) as error:
            complaints.append(_complaint(pool, error))
    return [], complaints


def _processes(
    server: str, listed: Iterable[Mapping[str, str]], named: Mapping[str, str]
) -> list[Row]:
    """One row for each process and alias, and for each kind of stranger."""
    groups: dict[tuple[str, str, int], list[Mapping[str, str]]] = defaultdict(list)
    for client in listed:
        groups[_who(client, named)].append(client)
    return [
        {
            "server": server,
            "alias": alias,
            "host": host,
            "process": process or None,
            "this_command": group[0]["name"] == client_name(alias),
            "connections": len(group),
            "idle_seconds": min(int(client["idle"]) for client in group),
            "last_command": min(group, key=lambda client: int(client["idle"]))["cmd"],
        }
        for (alias, host, process), group in sorted(groups.items())
    ]


def _who(client: Mapping[str, str], named: Mapping[str, str]) -> tuple[str, str, int]:
    """Alias, host and process, as the connection's name tells; for others what is known of them.

    Args:
        client: an entry of CLIENT LIST.
        named: the aliases whose connections have names of the user's choice.
    """
    name = client["name"]
    if own := OWN_NAME.fullmatch(name):
        return own["alias"], own["host"], int(own["process"])
    address = client["addr"].rpartition(":")[0]
    return named.get(name, f"not redispool: {name or 'unnamed'}"), address, 0
