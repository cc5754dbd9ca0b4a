"""The report `budget`: what the processes may open against what each server allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..client import Redis
from ..factory import PoolFactory
from ..live import LivePool
from ..origins import to_change
from ..pool import ConnectionPool
from .asking import address_of, ask, by_server, setting
from .fleet import Member, fleet, own_host
from .report import Report, Row, count
from .seen import seen_of_others


@dataclass(frozen=True)
class Share:
    """What the processes may open under one alias and face, each at the most."""

    alias: str
    face: str
    processes: int
    max_connections: int
    max_pubsub: int

    @property
    def connections(self) -> int:
        """All of them together, without subscriptions."""
        return self.processes * self.max_connections

    @property
    def subscriptions(self) -> int:
        """What they may open for subscriptions on top."""
        return self.processes * self.max_pubsub

    def __str__(self) -> str:
        return (
            f"{count(self.processes, 'process', 'processes')} × ({self.max_connections} + "
            f"{self.max_pubsub} for subscriptions) for {self.alias} ({self.face})"
        )


@dataclass(frozen=True)
class Budget:
    """One server, and what may be opened to it."""

    server: str
    maxclients: int | None
    """None where the server does not say."""
    connected: int
    others: int
    """Connections now of whoever is not bounded by a pool of these aliases."""
    processes: int
    shares: Sequence[Share]
    change: Sequence[str] = field(default=())
    """The settings that bound the shares."""

    @property
    def most(self) -> int:
        """The most connections that there can be while no other client comes."""
        return self.least + sum(share.subscriptions for share in self.shares)

    @property
    def least(self) -> int:
        """The same without subscriptions."""
        return self.others + sum(share.connections for share in self.shares)

    @property
    def verdict(self) -> str:
        """``fits``, ``tight`` (not with all subscriptions), ``too many`` or ``unknown``."""
        if self.maxclients is None:
            return "unknown"
        if self.most <= self.maxclients:
            return "fits"
        return "tight" if self.least <= self.maxclients else "too many"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        sums = "; ".join(map(str, self.shares)) or "no process has used a pool"
        others = f"{count(self.others, 'connection')} of others"
        allowed = "an unknown number of" if self.maxclients is None else str(self.maxclients)
        says = f"{self.server} allows {allowed} clients: {sums}; {others}: {self.most} at the most."
        return f"{says} {self._judgement()}"

    def _judgement(self) -> str:
        advice = f"lower {' or '.join(self.change)}, run fewer processes, or raise maxclients"
        return {
            "fits": "That fits.",
            "tight": f"Only without subscriptions ({self.least}) that fits: {advice}.",
            "too many": f"That is too many: {advice}.",
            "unknown": "The server does not tell its maxclients: ask whoever runs it.",
        }[self.verdict]

    def as_row(self) -> Row:
        """All of it as plain values."""
        return {
            "server": self.server,
            "maxclients": self.maxclients,
            "connected": self.connected,
            "others": self.others,
            "processes": self.processes,
            "connections": self.least - self.others,
            "subscriptions": self.most - self.least,
            "most": self.most,
            "verdict": self.verdict,
            "shares": [vars(share) for share in self.shares],
        }


def budget(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """One row for each server that answers, with a verdict."""
    wanted = list(aliases)
    budgets, errors = budgets_of(factory, wanted)
    fitting = [each.sentence for each in budgets if each.verdict == "fits"]
    errors += [each.sentence for each in budgets if each.verdict != "fits"]
    rows = [each.as_row() for each in budgets]
    return Report("Connections that may be opened", rows, "\n".join(fitting), errors)


def budgets_of(factory: PoolFactory, aliases: Sequence[str]) -> tuple[list[Budget], list[str]]:
    """The budget of each server, and what those that gave none were asked and said."""
    live, _ = seen_of_others(factory, aliases)
    found, errors = [], []
    for server, pools in by_server(factory, aliases).items():
        answer, complaints = ask(factory, pools, _question)
        errors += complaints
        if answer is not None:
            here = [pool for pool in live if address_of(pool.stats.server) == server]
            found.append(_budget(factory, server, pools, here, *answer))
    return found, errors


def _question(client: Redis) -> tuple[int | None, list[dict[str, str]]]:
    return setting(client, "maxclients"), client.client_list()


def _budget(
    factory: PoolFactory,
    server: str,
    pools: Sequence[ConnectionPool],
    here: Sequence[LivePool],
    maxclients: int | None,
    listed: Sequence[Any],
) -> Budget:
    members = [each for each in fleet(factory, listed) if not each.is_this_command]
    seen_here = {(pool.stats.alias, pool.process) for pool in here}
    aliases = {pool.alias for pool in pools} | {alias for alias, _ in seen_here}
    ours = [each for each in members if not each.stranger and each.alias in aliases]
    elsewhere = [each for each in ours if each.process and not _is_among(each, seen_here)]
    processes = {(own_host(), pool.process) for pool in here}
    processes |= {(each.host, each.process) for each in elsewhere if each.process is not None}
    shares = _shares(factory, here, elsewhere)
    return Budget(
        server=server,
        maxclients=maxclients,
        connected=len(listed),
        others=sum(len(each.clients) for each in members if each not in ours),
        processes=len(processes),
        shares=shares,
        change=_settings(factory, shares),
    )


def _is_among(member: Member, here: set[tuple[str, int]]) -> bool:
    return member.host == own_host() and (member.alias, member.process or 0) in here


def _shares(
    factory: PoolFactory, here: Sequence[LivePool], elsewhere: Sequence[Member]
) -> list[Share]:
    """Processes that are seen, and those elsewhere, which are taken to be as these."""
    counts: dict[tuple[str, str, int], int] = {}
    faces: dict[str, list[tuple[str, int]]] = {}
    for pool in here:
        kind = (pool.face, pool.stats.max_connections)
        key = (pool.stats.alias, *kind)
        counts[key] = counts.get(key, 0) + 1
        if kind not in faces.setdefault(pool.stats.alias, []):
            faces[pool.stats.alias].append(kind)
    for member in elsewhere:
        known = faces.get(member.alias)
        for face, size in known or [("threads", factory.options[member.alias].max_connections)]:
            key = (member.alias, face, size)
            counts[key] = counts.get(key, 0) + 1
    return [
        Share(alias, face, number, size, _max_pubsub(factory, alias))
        for (alias, face, size), number in sorted(counts.items())
    ]


def _max_pubsub(factory: PoolFactory, alias: str) -> int:
    options = factory.options.get(alias)
    return 0 if options is None else options.max_pubsub


def _settings(factory: PoolFactory, shares: Iterable[Share]) -> list[str]:
    aliases = dict.fromkeys(share.alias for share in shares if share.alias in factory.options)
    return [
        to_change(factory.options[alias], alias, name)
        for alias in aliases
        for name in ("max_connections", "max_pubsub")
    ]
