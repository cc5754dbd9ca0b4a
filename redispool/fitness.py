"""Fitness: whether a connection may be lent, and whether it may be kept when it comes back."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Literal

from .capacity import Capacity
from .ledger import READ_ONLY
from .policy import PING_WITHIN, RENEWED_FOR, Check, Policy

if TYPE_CHECKING:
    from .connection import PooledConnection
    from .holding import Holding


class Fitness:
    """Judges the connections of one pool; looks at a line, or asks the server, where it must.

    Args:
        policy: the time limits.
        capacity: tells whether the pool was closed or made smaller.
    """

    def __init__(self, policy: Policy, capacity: Capacity) -> None:
        self._policy = policy
        self.trusted_for = policy.trusted_for
        """Seconds after its last use for which a connection is lent as it is."""
        self._capacity = capacity
        self.batch: object = object()
        """What a connection has to carry to be kept; replaced when all are to be renewed."""
        self.suspect_since = 0.0
        """When a connection was last found dead; all that were idle then are looked at."""

    def renew_all(self) -> None:
        """From now on no connection opened until now is kept."""
        self.batch = object()

    def fresh(self, connection: Holding, now: float) -> bool:
        """Whether an idle connection may be lent as it is: what `reason_not_to_lend` says, fast."""
        last_used = connection.last_used
        return (
            now - last_used < self.trusted_for
            and last_used > self.suspect_since
            and now < connection.expires_at
        )

    def reason_not_to_lend(
        self, connection: PooledConnection, now: float, deadline: float
    ) -> str | None:
        """Why an idle connection is to be closed; None where it is well. May ask the server."""
        reason = self.reason_at_first_sight(connection, now)
        if reason is Check.PING:
            answered = connection.answers(self.ping_within(deadline - now))
            return None if answered else self.note_dead()
        return reason

    def reason_at_first_sight(
        self, connection: Holding, now: float
    ) -> str | Literal[Check.PING] | None:
        """The same without asking the server; ``Check.PING`` where only that can tell."""
        if self._capacity.shut.is_set():
            return "pool_closed"
        if now >= connection.expires_at:
            return "lifetime"
        if self._policy.idle_too_long(connection.last_used, now):
            return "idle"
        wanted = self._policy.check(connection.last_used, now, self.suspect_since)
        if wanted is Check.NONE:
            return None
        self._capacity.counts.add(f"checked {wanted.value}")
        if not connection.alive():
            return self.note_dead()
        return Check.PING if wanted is Check.PING else None

    def ping_within(self, left: float) -> float:
        """Seconds that the answer to a health check may take, where `left` are left."""
        return min(PING_WITHIN, max(left, 0.0))

    def note_dead(self) -> str:
        """A line was found dead: all that were idle then are looked at. Gives the reason."""
        self.suspect_since = monotonic()
        return "dead_at_checkout"

    def reason_not_to_keep(self, connection: Holding, now: float) -> str | None:
        """Why a connection that was given back is to be closed; None where it may be kept."""
        ledger = connection.ledger
        if ledger.owed or ledger.left:  # so it is with a line that was closed
            return self._what_is_wrong(connection, now)
        return self.due(connection, now)

    def due(self, connection: Holding, now: float) -> str | None:
        """Why a connection in use is to be replaced as soon as it can be; None where it is not."""
        if connection.batch is not self.batch:
            return "pool_closed" if self._capacity.shut.is_set() else "drained"
        if now >= connection.expires_at:
            return "lifetime"
        return "resized" if self._capacity.surplus else None

    def _what_is_wrong(self, connection: Holding, now: float) -> str:
        if not connection.is_open:
            self.suspect_since = now
            return "dead_in_use"
        if connection.ledger.owed:
            return "dirty_pending"
        return "read_only" if connection.ledger.left == READ_ONLY else "dirty_tainted"

    def tells_of_a_failover(self, connection: Holding, now: float) -> bool:
        """Whether all connections are to be renewed, because a replica answered this one.

        One that was dialled a moment ago says only that the name still leads to a replica.
        """
        demoted = connection.ledger.left & READ_ONLY and connection.batch is self.batch
        return bool(demoted) and now - connection.born >= RENEWED_FOR
