"""The report `stats`: the pools of all running processes of the application on this host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from ..factory import PoolFactory
from ..live import LivePool
from .report import Report, Row, count, seconds
from .seen import seen

TITLE = "Pools of all processes"
LONGEST = 3
"""How many leases the note tells of."""


def stats(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """The figures of each pool of each process. No server is asked, and none of the processes."""
    pools, why_none = seen(factory, aliases)
    if why_none:
        return Report(TITLE, [], why_none)
    lines = [_sum(pools), *_outages(pools), *_leases(pools)]
    return Report(TITLE, [_row(pool) for pool in pools], "\n".join(lines))


def name_of(pool: LivePool) -> str:
    """A pool, for a sentence."""
    return f"{pool.stats.alias} ({pool.face}) of process {pool.process} ({pool.program})"


def _row(pool: LivePool) -> Row:
    return {
        "process": pool.process,
        "program": pool.program,
        "started": pool.started,
        "face": pool.face,
        **pool.stats.as_dict(),
        "holders": [asdict(holder) for holder in pool.holders],
    }


def _sum(pools: Sequence[LivePool]) -> str:
    processes = len({pool.process for pool in pools})
    figures = [pool.stats for pool in pools]
    in_use = sum(each.in_use for each in figures)
    waiting = sum(each.waiting for each in figures)
    return (
        f"{count(processes, 'process', 'processes')}: "
        f"{count(in_use + sum(each.idle for each in figures), 'connection')}, {in_use} in use; "
        f"{count(waiting, 'caller waits', 'callers wait')}; "
        f"{count(sum(each.acquired_total for each in figures), 'checkout')}, "
        f"{sum(each.timeouts_total for each in figures)} timed out."
    )


def _outages(pools: Iterable[LivePool]) -> list[str]:
    return [
        f"{name_of(pool)}: {pool.stats.server} has been away for "
        f"{seconds(pool.stats.away_seconds)}: {pool.stats.away_reason}"
        for pool in pools
        if pool.stats.away_seconds
    ]


def _leases(pools: Iterable[LivePool]) -> list[str]:
    held = [(holder, pool) for pool in pools for holder in pool.holders]
    held.sort(key=lambda pair: -pair[0].seconds)
    return [
        f"{name_of(pool)}: {holder.name} holds a connection for {seconds(holder.seconds)}, "
        f"taken at {holder.place}"
        for holder, pool in held[:LONGEST]
    ]
