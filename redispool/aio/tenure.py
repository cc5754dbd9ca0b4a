"""Tenure: the connection that a trunk leases from time to time, and gives back whatever happens."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError

from .. import wording
from ..errors import ForkedLease
from ..figures import SHARED
from ..wire import CLOSED
from .line import Line

if TYPE_CHECKING:
    from .connection import AsyncPooledConnection
    from .pool import AsyncConnectionPool


class Tenure:
    """The lease of a trunk: at most one connection at a time.

    Args:
        lender: the pool, which lives as long as somebody else holds it.
    """

    def __init__(self, lender: weakref.ref[AsyncConnectionPool]) -> None:
        self._lender = lender
        self._pool: AsyncConnectionPool | None = None
        self._used = False
        """Whether its loop has had its turn with the connection of now."""
        self._held: list[AsyncPooledConnection] = []
        # A trunk may go with its loop, in a cycle, and a collection takes what is in one in any
        # order; the list is in none, so that the connection is given back, and not found dropped.
        weakref.finalize(self, give_back, lender, self._held).atexit = False

    def __bool__(self) -> bool:
        return self._pool is not None

    def begin(self, pool: AsyncConnectionPool, connection: AsyncPooledConnection | None) -> None:
        """Hold `connection`, which `pool` has lent; where it is None, nothing has come of that."""
        if connection is None:
            return
        self._held.append(connection)
        # Until the last reply has come in order: whatever else ends this closes the connection.
        connection.ledger.owed += 1
        connection.lease[0].unnamed = "the tasks of a loop, which share it"  # type: ignore[attr-defined]
        self._pool, self._used = pool, False

    def end(self, *, settled: bool = False) -> None:
        """Give the connection back, where there is one.

        Args:
            settled: whether nothing is owed on it; it is closed elsewhere.
        """
        if settled and self:
            if self.line.has_data():
                self.connection.ledger.stain()  # what has begun to come is for nobody
            self.connection.ledger.owed -= 1
        self._pool = None
        give_back(self._lender, self._held)

    @property
    def connection(self) -> AsyncPooledConnection:
        """The connection.

        Raises:
            redis.ConnectionError: there is none. ForkedLease: it is the parent's.
        """
        if not self._held:
            raise ConnectionError(CLOSED)
        connection = self._held[0]
        if connection.forked:
            raise ForkedLease(wording.FORKED)
        return connection

    @property
    def line(self) -> Line:
        """The line of the connection; errors as of `connection`."""
        return self.connection._open_line()

    def is_due(self, now: float) -> bool:
        """Whether another shall take the place of this connection, or somebody waits for one.

        Who waits gets it after it was used: else those who wait would hand it round for nothing.
        """
        pool, connection = self._pool, self.connection
        if pool is None or connection.ledger.left:
            return True
        if self._used and pool.capacity.queue.waiters:
            return True
        return bool(pool.fitness.due(connection, now))

    def note_sent(self, commands: int) -> None:
        """Count what goes over the connection: nothing, where all was cancelled meanwhile."""
        self._used = True
        slot = self.connection.slot
        if slot is not None and commands:
            slot.record.cells[SHARED] += commands

    def cause_of(self, error: Exception) -> Exception:
        """The error itself, or that the line was cut on purpose, where that is what it is about."""
        return self._held[0].cause_of(error) if self._held else error

    def break_off(self) -> None:
        """Close the line, and give back what is left of it."""
        for connection in self._held:
            connection.disconnect()
        self.end()


def give_back(lender: weakref.ref[AsyncConnectionPool], held: list[AsyncPooledConnection]) -> None:
    """Give back what a trunk held; the ledger says whether it can be used again."""
    while held:
        # First of all it leaves the list: what was given back may be another's by the next step.
        connection, pool = held.pop(), lender()
        if pool is not None and connection.lease:
            pool.take_back(connection)
        else:
            connection.end()
