"""Symptoms: what the figures of the pools of all processes tell of callers, leases and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from ..factory import PoolFactory
from ..live import LivePool
from ..origins import to_change
from ..stats import PoolStats
from .finding import NOTICE, WRONG, Finding
from .report import count, seconds
from .stats import name_of

MANY = 0.01
"""The share of checkouts that may end badly, as in a short outage, before something is wrong."""
LONG = 0.5
"""Seconds from which on it is wrong that somebody waits; a busy pool has short queues."""
FEW_CLOSED = 10
"""Fewer connections than this, found dead when they were to be lent, are nothing to speak of."""


def symptoms(factory: PoolFactory, pools: Iterable[LivePool]) -> Iterator[Finding]:
    """What is found, for the pools of an alias and face together."""
    by_kind = sorted(pools, key=lambda pool: (pool.stats.alias, pool.face))
    for (alias, face), group in groupby(by_kind, lambda pool: (pool.stats.alias, pool.face)):
        yield from Patient(factory, alias, face, list(group)).findings()


class Patient:
    """The pools of one alias and face, in all processes.

    Args:
        factory: knows the settings of the alias.
        alias: theirs.
        face: theirs.
        pools: one of each process.
    """

    def __init__(
        self, factory: PoolFactory, alias: str, face: str, pools: Sequence[LivePool]
    ) -> None:
        self.alias, self.pools = alias, pools
        self.options = factory.options.get(alias)
        self.name = f"{alias} ({face})"

    def findings(self) -> Iterator[Finding]:
        """All that is found."""
        yield from self._waiting()
        yield from self._turned_away()
        yield from self._leases()
        yield from self._carelessness()
        yield from self._closed_by_others()
        yield from self._other_options()

    def _waiting(self) -> Iterator[Finding]:
        waiting = self._those(lambda stats: stats.waiting)
        if not waiting:
            return
        first = max(waiting, key=lambda pool: pool.stats.oldest_wait_seconds)
        callers = count(self._total(lambda stats: stats.waiting), "caller")
        says = (
            f"{callers} of {self.name} wait for a connection now in {self._share(waiting)}; the "
            f"longest for {seconds(first.stats.oldest_wait_seconds)} in process {first.process}, "
            f"where {first.stats.in_use} of {first.stats.max_connections} are in use"
        )
        change = f"Hold connections for shorter, or raise {self._key('max_connections')}."
        if first.stats.away_seconds:
            change = "They wait for the server, which that process finds away."
        level = WRONG if first.stats.oldest_wait_seconds >= LONG else NOTICE
        yield self._finding(level, "waiting", says, change)

    def _turned_away(self) -> Iterator[Finding]:
        timeouts = self._those(lambda stats: stats.timeouts_total)
        if timeouts:
            worst = max(timeouts, key=lambda pool: pool.stats.timeouts_total).stats
            yield self._finding(
                self._level(lambda stats: stats.timeouts_total),
                "timeouts",
                f"{self._of_all(lambda stats: stats.timeouts_total)} of {self.name} timed out "
                f"waiting for a connection, in {self._share(timeouts)}; of those that waited and "
                f"got one 95 % had it within {seconds(worst.wait_seconds_p95)}",
                f"Hold connections for shorter, or raise {self._key('max_connections')} (or "
                f"{self._key('timeout')}).",
            )
        if rejected := self._those(lambda stats: stats.rejected_total):
            yield self._finding(
                self._level(lambda stats: stats.rejected_total),
                "rejected",
                f"{self._of_all(lambda stats: stats.rejected_total)} of {self.name} were turned "
                f"away at once, in {self._share(rejected)}",
                f"Raise {self._key('max_waiting')} or {self._key('max_connections')}.",
            )
        if subscriptions := self._those(lambda stats: stats.pubsub_timeouts_total):
            number = self._total(lambda stats: stats.pubsub_timeouts_total)
            yield self._wrong(
                "subscriptions",
                f"{count(number, 'subscription')} of {self.name} found no connection, in "
                f"{self._share(subscriptions)}",
                f"End subscriptions, or raise {self._key('max_pubsub')}.",
            )
        if failed := self._those(lambda stats: stats.failed_total):
            yield self._notice(
                "failed",
                f"{self._of_all(lambda stats: stats.failed_total)} of {self.name} failed because "
                f"the server could not be reached or refused, in {self._share(failed)}",
            )

    def _leases(self) -> Iterator[Finding]:
        for pool in self._those(lambda stats: stats.leak_suspects):
            held = "; ".join(
                f"by {holder.name} for {seconds(holder.seconds)}, taken at {holder.place}"
                for holder in pool.holders[: min(pool.stats.leak_suspects, 3)]
            )
            number = count(pool.stats.leak_suspects, "connection")
            yield self._wrong(
                "leases",
                f"{number} of {name_of(pool)} held for long: {held}",
                "Give back what is taken there, best with a with block; where it has to take so "
                f"long, raise {self._key('leak_threshold')}.",
            )

    def _carelessness(self) -> Iterator[Finding]:
        if dropped := self._those(lambda stats: stats.reclaimed_total):
            number = self._total(lambda stats: stats.reclaimed_total)
            yield self._wrong(
                "dropped",
                f"{count(number, 'connection')} of {self.name} dropped without being given back, "
                f"in {self._share(dropped)}",
                "The log's ResourceWarning names the place; use a with block there.",
            )
        if misused := self._those(lambda stats: stats.misuse_total):
            number = self._total(lambda stats: stats.misuse_total)
            yield self._wrong(
                "misuse",
                f"{count(number, 'connection')} given back to {self.name} twice, or not lent by "
                f"it, in {self._share(misused)}",
                "Release a connection once, to the pool that lent it.",
            )

    def _closed_by_others(self) -> Iterator[Finding]:
        dead = self._total(lambda stats: stats.closed_total.get("dead_at_checkout", 0))
        made = self._total(lambda stats: stats.created_total)
        is_away = any(pool.stats.away_seconds for pool in self.pools)
        if dead >= FEW_CLOSED and dead * 10 > made and not is_away:
            yield self._notice(
                "idle",
                f"{dead} of {count(made, 'connection')} of {self.name} were closed by somebody "
                "else while they were idle",
                f"Set {self._key('max_idle')} below the time after which the server (its timeout) "
                "or a load balancer closes them.",
            )

    def _other_options(self) -> Iterator[Finding]:
        if self.options is None:
            yield self._notice(
                "options",
                f"{self._share(self.pools)} use {self.name}, which the settings do not define now",
                "Restart them.",
            )
            return
        for name in ("server", "max_connections", "min_idle", "max_waiting"):
            wanted = getattr(self.options, name)
            others = [pool for pool in self.pools if getattr(pool.stats, name) != wanted]
            if others:
                found = ", ".join(sorted({str(getattr(pool.stats, name)) for pool in others}))
                yield self._finding(
                    WRONG if name == "server" else NOTICE,
                    "options",
                    f"{self._share(others)} of {self.name} have {name.upper()} {found}, the "
                    f"settings say {wanted}",
                    "Restart them, unless the pool was resized on purpose.",
                )

    def _those(self, figure: Callable[[PoolStats], float]) -> list[LivePool]:
        return [pool for pool in self.pools if figure(pool.stats)]

    def _total(self, figure: Callable[[PoolStats], int]) -> int:
        return sum(figure(pool.stats) for pool in self.pools)

    def _of_all(self, figure: Callable[[PoolStats], int]) -> str:
        return f"{self._total(figure)} of {self._total(lambda s: s.requests_total)} checkouts"

    def _level(self, figure: Callable[[PoolStats], int]) -> str:
        """These are counted since a process began: a few are no reason to complain for ever."""
        of_all = self._total(lambda stats: stats.requests_total)
        return WRONG if self._total(figure) >= MANY * of_all else NOTICE

    def _share(self, pools: Sequence[LivePool]) -> str:
        """In how many processes, and which."""
        named = ", ".join(str(pool.process) for pool in pools[:3])
        more = ", …" if len(pools) > 3 else ""
        return f"{count(len(pools), 'process', 'processes')} of {len(self.pools)} ({named}{more})"

    def _key(self, name: str) -> str:
        if self.options is None:
            return name.upper()
        return to_change(self.options, self.alias, name)

    def _wrong(self, check: str, says: str, change: str) -> Finding:
        return self._finding(WRONG, check, says, change)

    def _notice(self, check: str, says: str, change: str = "") -> Finding:
        return self._finding(NOTICE, check, says, change)

    def _finding(self, level: str, check: str, says: str, change: str) -> Finding:
        return Finding(level, check, self.alias, f"{says}.", change)
