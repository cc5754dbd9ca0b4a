"""Verdicts: what a health check makes of an answer, an error, and the figures of a pool.

Reasons are fixed words, for whoever may read the page: errors name hosts, users and settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,
    ResponseError,
    TimeoutError,
)

from .errors import PoolClosed, PoolTimeout
from .stats import PoolStats

Status: TypeAlias = Literal["healthy", "degraded", "unhealthy"]

WORST_FIRST: tuple[Status, ...] = ("unhealthy", "degraded", "healthy")

LATE = "the server did not answer in time"
AWAY = "the server cannot be reached"
LOADING = "the server loads its data"
REFUSED = "the server refused"
CLOSED = "the pool is closed"
BUSY = "all connections are in use"
STUCK = "all connections are in use, and none comes back"
SHORT = "callers found no connection in time"
FAILED = "the check failed; the log says more"

RECENTLY = 30.0
"""Seconds for which callers who found no connection are remembered."""


@dataclass(frozen=True)
class AliasHealth:
    """Whether the server of an alias can be used through its pool."""

    alias: str
    status: Status
    reason: str = ""
    """In fixed words; empty where it is healthy."""
    seconds: float | None = None
    """How long the answer took, with the wait for a connection; None where none came."""


def answered(alias: str, seconds: float, *, short: bool) -> AliasHealth:
    """The verdict where the server answered; `short`: callers had to go without a connection."""
    if short:
        return AliasHealth(alias, "degraded", SHORT, seconds)
    return AliasHealth(alias, "healthy", seconds=seconds)


def failed(
    alias: str, error: BaseException, before: PoolStats | None, after: PoolStats | None
) -> AliasHealth:
    """The verdict where no answer came.

    Args:
        alias: whose.
        error: what came instead.
        before: the figures when the check began; None where there is no pool.
        after: the figures now.
    """
    if isinstance(error, PoolTimeout) and before is not None and after is not None:
        return _without_connection(alias, before, after)
    return AliasHealth(alias, "unhealthy", _reason(error))


def late(alias: str) -> AliasHealth:
    """The verdict where nothing came, not even an error."""
    return AliasHealth(alias, "unhealthy", LATE)


def _without_connection(alias: str, before: PoolStats, after: PoolStats) -> AliasHealth:
    """Where others get connections meanwhile the pool is short; else the server may be at fault."""
    if after.away_seconds:
        return AliasHealth(alias, "unhealthy", AWAY)
    if after.acquired_total > before.acquired_total:
        return AliasHealth(alias, "degraded", BUSY)
    return AliasHealth(alias, "unhealthy", STUCK)


def _reason(error: BaseException) -> str:
    for kinds, reason in (
        ((PoolClosed,), CLOSED),
        ((BusyLoadingError,), LOADING),
        ((AuthenticationError, AuthorizationError, ResponseError), REFUSED),
        ((TimeoutError,), LATE),
        ((ConnectionError, OSError), AWAY),
    ):
        if isinstance(error, kinds):
            return reason
    return FAILED


class Shortage:
    """Whether callers of a pool found no connection in time, lately; from one look to the next.

    Two threads that look at once may lose a look of theirs, and no more than that.
    """

    def __init__(self) -> None:
        self._looks: tuple[tuple[float, int], ...] = ()

    def look(self, now: float, pools: Iterable[PoolStats]) -> bool:
        """Whether it was so within the last `RECENTLY` seconds, or since the look before these.

        Args:
            now: the time, on the monotonic clock.
            pools: the figures of those that count together.
        """
        total = sum(stats.timeouts_total + stats.rejected_total for stats in pools)
        # In a forked child counting began anew.
        looks = [look for look in self._looks if look[1] <= total]
        old = [look for look in looks if now - look[0] > RECENTLY]
        looks = old[-1:] + [look for look in looks if now - look[0] <= RECENTLY]
        if not looks or now - looks[-1][0] >= 1.0:
            self._looks = (*looks, (now, total))  # a look a second is enough to remember
        return bool(looks) and total > looks[0][1]
