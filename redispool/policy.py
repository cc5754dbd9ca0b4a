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
            retries=0 if options.retry == "never" else options.retries,
        )

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

    def pause(self, attempt: int) -> float | None:
        """Seconds between attempt number `attempt` (from 0) and the next; None where none follows.

        Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        if attempt >= self.retries:
            return None
        return random.uniform(0, min(self.backoff_most, self.backoff_first * 2**attempt))
