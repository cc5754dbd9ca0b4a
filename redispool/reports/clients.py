"""The report `clients`: who is connected to each server, processes of all hosts and strangers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..client import Redis
from ..factory import PoolFactory
from ..pool import ConnectionPool
from .asking import by_server, first_answer
from .fleet import Client, Member, fleet
from .report import Report, Row, count


def list_through(pool: ConnectionPool) -> Sequence[Client]:
    """What CLIENT LIST tells, asked over a connection of `pool`."""
    return Redis(connection_pool=pool).client_list()


def clients(
    factory: PoolFactory,
    aliases: Iterable[str],
    listing: Callable[[ConnectionPool], Sequence[Client]] = list_through,
) -> Report:
    """One row for each process and alias, and for each kind of stranger; `listing` asks."""
    rows: list[Row] = []
    errors = []
    for server, pools in by_server(factory, aliases).items():
        listed, complaints = first_answer(pools, listing)
        rows += [_row(server, member) for member in fleet(factory, listed or [])]
        errors += complaints
    note = count(sum(row["connections"] for row in rows), "connection") if rows else ""
    return Report("Connections of all processes", rows, note, errors)


def _row(server: str, member: Member) -> Row:
    return {
        "server": server,
        "alias": member.alias,
        "host": member.host,
        "process": member.process,
        "this_command": member.is_this_command,
        "connections": len(member.clients),
        "idle_seconds": int(member.last["idle"]),
        "last_command": member.last["cmd"],
        "library": member.library,
    }
