"""The express lane: a plain command on a fresh connection, while nobody waits, in one step.

Nearly all commands are such. Under threads each microsecond of Python before and after the system
calls counts several times, for all who want the interpreter meanwhile; so what `ConnectionPool`
does in its methods stands here in one, and whatever is not as usual goes their way.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from .leases import Lease
from .ledger import PLAIN

if TYPE_CHECKING:
    from .pool import ConnectionPool

ELSEWHERE = object()
"""Stands for a reply where the command has to go another way."""


class Express:
    """The lane of one pool in one process.

    It does not know the pool, which knows it: pools go with their last reference.

    Args:
        pool: has begun.
    """

    __slots__ = ("_evictor", "_fitness", "_idle", "_queue", "_surplus", "_waiters")

    def __init__(self, pool: ConnectionPool) -> None:
        self._fitness, self._evictor = pool.fitness, pool.evictor
        self._surplus = pool.capacity.surplus
        self._queue = pool.capacity.queue
        self._idle, self._waiters = self._queue.idle, self._queue.waiters

    def ask(
        self,
        pool: ConnectionPool,
        args: tuple[Any, ...],
        options: Mapping[str, Any],
        now: float,
    ) -> Any:
        """The reply to a command, as `Conversation.ask` gives it; `ELSEWHERE` for none.

        Args:
            pool: whose lane it is.
            args: the command.
            options: redis-py's for it.
            now: the time, on the monotonic clock.
        """
        if self._waiters or args[0] not in PLAIN:
            return ELSEWHERE
        try:
            connection = self._idle.pop()
        except IndexError:
            return ELSEWHERE
        fitness, wire = self._fitness, connection.express
        if wire is None or not fitness.fresh(connection, now):
            self._queue.give(connection)
            return ELSEWHERE
        ledger, lease = connection.ledger, connection.lease
        connection.slot.tally.acquired += 1  # type: ignore[union-attr]  # it is idle
        lease.append(Lease(now))
        try:
            return connection.ask_at_once(wire, args, options)
        finally:
            now = monotonic()
            if (
                ledger.owed
                or ledger.left
                or self._waiters
                or self._surplus
                or now >= connection.expires_at
                or now >= self._evictor.next_sweep
                or connection.batch is not fitness.batch
                or not lease
            ):
                pool.release(connection)
            else:
                lease.pop()
                connection.last_used = now
                self._idle.append(connection)
                # What happened between the look and the append:
                if self._waiters:
                    self._queue.hand_over()
                if connection.batch is not fitness.batch:
                    self._evictor.end_stale()
