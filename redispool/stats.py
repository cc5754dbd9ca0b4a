"""PoolStats: the figures of one pool at one moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class PoolStats:
    """What a pool does now, and what it did since its process began (or was forked).

    Times are seconds. At rest ``idle + in_use + connecting + permits == max_connections``, and
    every request ended in one of acquired, timed out, rejected, cancelled and failed.
    """

    alias: str
    server: str
    """Where it connects to; holds no credentials."""
    max_connections: int
    min_idle: int
    max_waiting: int
    idle: int
    """Open connections that nobody uses."""
    in_use: int
    """Connections that somebody holds."""
    connecting: int
    """Places whose connection is being opened or checked."""
    permits: int
    """Places without a connection."""
    waiting: int
    """Callers who wait for a connection now."""
    oldest_wait_seconds: float
    """For how long the first in the queue has waited."""
    pubsub: int
    """Connections held by subscriptions; bounded apart, by ``max_pubsub``."""
    pubsub_timeouts_total: int
    """Subscriptions that found all ``max_pubsub`` connections in use."""
    acquired_total: int
    """Checkouts that got a connection."""
    acquired_waited_total: int
    """Of these, how many had to wait."""
    commands_total: int
    """Commands that were sent for the application, those of subscriptions among them."""
    timeouts_total: int
    rejected_total: int
    """Turned away at once: too many waiting, or the pool was closed."""
    cancelled_total: int
    """The caller was interrupted while it waited or connected."""
    failed_total: int
    """The server could not be reached, or refused the connection."""
    wait_seconds_sum: float
    """What those who got a connection after waiting in the queue spent there."""
    wait_seconds_p50: float
    wait_seconds_p95: float
    wait_seconds_p99: float
    wait_seconds_max: float
    wait_buckets: tuple[int, ...]
    """How many waited for how long: `redispool.figures.BOUNDS` has the upper bounds."""
    use_seconds_sum: float
    """What connections were in use for, of the uses that ended and took 1 ms or more."""
    use_seconds_p50: float
    use_seconds_p95: float
    use_seconds_p99: float
    use_seconds_max: float
    """Where no use took as long as the first bound: no more than that bound."""
    use_buckets: tuple[int, ...]
    """How many uses took how long, by the same bounds."""
    created_total: int
    create_failed_total: int
    create_seconds_sum: float
    shared_commands_total: int
    """Commands that shared a connection with others (``multiplex``)."""
    shared_in_flight: int
    """Of these, those that wait now: to be written, or for their reply; 0 of another process."""
    away_seconds: float
    """How long the server has been away; 0 while nothing is known against it."""
    away_reason: str
    """What the last dial ended in; empty while nothing is known against the server."""
    closed_total: Mapping[str, int]
    """Connections closed, by reason."""
    reclaimed_total: int
    """Connections that were dropped without being given back."""
    misuse_total: int
    """Connections given back twice, or to a pool that had not lent them."""
    checks_total: Mapping[str, int]
    """Checks before lending an idle connection, by kind: ``look``, ``ping``."""
    leak_suspects: int
    """Leases that are held for longer than ``leak_threshold``."""
    oldest_lease_seconds: float
    closed: bool

    @property
    def requests_total(self) -> int:
        """Checkouts that have ended, one way or another."""
        ended_badly = self.timeouts_total + self.rejected_total + self.cancelled_total
        return self.acquired_total + ended_badly + self.failed_total

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as plain values for JSON."""
        return dataclasses.asdict(self)
