"""The express lane: a plain command on a fresh connection, while nobody waits, in a few steps.

Nearly all commands are such. After each wait for the server the interpreter finds its caches cold,
so that every function on the way counts several times; here what `ConnectionPool` and
`Conversation` do in many is done in three. Whatever is not as usual goes their way.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from .figures import SHORT, SINCE, SINGLE, USES
from .ledger import PLAIN

if TYPE_CHECKING:
    from .connection import PooledConnection
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

    def ask(self, pool: ConnectionPool, args: tuple[Any, ...], decode: bool, now: float) -> Any:
        """The reply to a command, as `Conversation.read_response` gives it; or `ELSEWHERE`.

        Args:
            pool: whose lane it is.
            args: the command.
            decode: False for bytes, whatever ``decode_responses`` says.
            now: the time, on the monotonic clock.
        """
        # As ConnectionPool.acquire.
        if self._waiters or args[0] not in PLAIN:
            return ELSEWHERE
        try:
            connection: Any = self._idle.pop()
        except IndexError:
            return ELSEWHERE
        wire = connection.express
        if wire is None or not self._fitness.fresh(connection, now):
            self._queue.give(connection)
            return ELSEWHERE
        # What is written here and below is timed by benchmarks/speed (Ours.showing), in a copy.
        record = connection.slot.record
        record.single = single = record.single + 1
        record.cells[SINGLE] = single
        record.cells[SINCE] = now
        lease = connection.brief
        lease.since, lease.thread = now, threading.get_ident()
        connection.lease.append(lease)
        try:
            return connection.ask_at_once(wire, args, decode)
        finally:
            self._give_back(pool, connection)

    def _give_back(self, pool: ConnectionPool, connection: PooledConnection) -> None:
        """As `ConnectionPool.release`."""
        now, ledger, fitness = monotonic(), connection.ledger, self._fitness
        if (
            ledger.owed
            or ledger.left
            or self._surplus
            or now >= connection.expires_at
            or now >= self._evictor.next_sweep
            or connection.batch is not fitness.batch
        ):
            pool.release(connection)
            return
        try:
            seconds = now - connection.lease.pop().since
        except IndexError:
            pool.release(connection)  # which says what is wrong
            return
        record = connection.slot.record  # type: ignore[union-attr]  # it is lent
        if seconds < SHORT:
            record.short_uses = short_uses = record.short_uses + 1
            record.cells[USES] = short_uses
        else:
            record.note_long_use(seconds)
        record.cells[SINCE] = 0.0
        connection.last_used = now
        self._idle.append(connection)
        # What happened between the look and the append:
        if self._waiters:
            self._queue.hand_over()
        if connection.batch is not fitness.batch:
            self._evictor.end_stale()
