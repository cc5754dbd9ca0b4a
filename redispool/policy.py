"""When a connection is checked, retired or dialled again: decisions without I/O, locks or clocks.

Every function is given the time; the pools for threads and for asyncio share them.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from .options import PoolOptions

TRUSTED_FOR = 0.5
"""Seconds after its last use in which a connection is lent without a look (HikariCP's figure)."""
PING_WITHIN = 1.0
"""Seconds that the answer to a health check may take."""
DIAL_FIRST, DIAL_MOST = 0.05, 0.9
"""Seconds of the first and of the longest pause between two dials of a server that is away. So one
that is back is found within a second."""
FAIR_TRY = 0.5
"""Seconds that a dial must have had before its time-out says something about the server."""
RENEWED_FOR = 1.0
"""Seconds in which a new connection that meets a read-only server is no news of a failover."""
LIFETIME_JITTER = 0.1
"""Connections that were born together must not be renewed together."""


class Check(enum.Enum):
    """What is done before an idle connection is lent again."""

    NONE = "none"
    LOOK = "look"
    PING = "ping"


@dataclass(frozen=True, slots=True)
class Policy:
    """The time limits of a pool, in seconds."""

    health_check_interval: float
    max_idle: float
    max_lifetime: float
    retries: int
    patience: float = 5.0
    backoff_first: float = 0.02
    backoff_most: float = 1.0

    @classmethod
    def of(cls, options: PoolOptions) -> Policy:
        """The limits that `options` set."""
        forever = float("inf")
        return cls(
            health_check_interval=options.health_check_interval or forever,
            max_idle=options.max_idle or forever,
            max_lifetime=options.max_lifetime or forever,
            # A Retry of redis-py's counts its own tries, on the connection.
            retries=options.retries if options.retry in ("safe", "always") else 0,
            patience=forever if options.timeout is None else options.timeout,
        )

    @property
    def trusted_for(self) -> float:
        """Seconds after its last use in which a connection is lent as it is."""
        return min(TRUSTED_FOR, self.max_idle, self.health_check_interval)

    def expires_at(self, born: float) -> float:
        """When a connection born at `born` is to be renewed, with jitter."""
        return born + self.max_lifetime * random.uniform(1 - LIFETIME_JITTER, 1 + LIFETIME_JITTER)

    def check(self, last_used: float, now: float, suspect_since: float) -> Check:
        """What to do before lending a connection last used at `last_used`.

        After one connection was found dead at `suspect_since`, all idle then are looked at.
        """
        idle_for = now - last_used
        if idle_for >= self.health_check_interval:
            return Check.PING
        if idle_for < TRUSTED_FOR and last_used > suspect_since:
            return Check.NONE
        return Check.LOOK

    def idle_too_long(self, last_used: float, now: float) -> bool:
        """Whether a load balancer on the way may have dropped the flow."""
        return now - last_used >= self.max_idle

    def sweep_interval(self) -> float:
        """How often a return looks for connections that are idle for too long."""
        return min(max(self.max_idle / 10, 0.05), 30.0)

    def pause(self, attempt: int, *, loading: bool = False) -> float | None:
        """Seconds between attempt number `attempt` (from 0) and the next; None where none follows.

        A server that is `loading` its data is waited for like one that is away.

        Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        if loading and self.retries:
            return self.pause_before_dial(attempt)
        if attempt >= self.retries:
            return None
        return random.uniform(0, min(self.backoff_most, self.backoff_first * 2**attempt))

    def pause_before_dial(self, failures: int) -> float:
        """Seconds before a server is dialled again that failed `failures` times before this one.

        Full jitter, as in `pause`: the processes of a fleet do not come at the same moment.
        """
        return random.uniform(0, min(DIAL_MOST, DIAL_FIRST * 2 ** min(failures, 10)))

    def gives_up(self, failures: int, quiet_for: float, *, known: bool) -> bool:
        """Whether a server that is away is waited for no longer.

        One that was there is waited for as long as for a free connection (``timeout``), which
        outlasts a restart. One that never was gets its tries alone: a wrong address shall be told
        at once.
        """
        if not known or not self.retries:
            return failures > self.retries
        return quiet_for > self.patience
