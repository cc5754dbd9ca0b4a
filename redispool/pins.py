"""A pin: one connection held for a transaction, a WATCH loop or the state of a session."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from redis.exceptions import ConnectionError

from . import leases, scopes, wording
from .connection import PooledConnection
from .errors import ForkedLease, NotOwned
from .holding import LOST

LOOK_AGAIN = 0.5
"""Seconds after which those who wait for their turn look whether the pin is still there."""


class Pin:
    """Stands where a client has its pool, and hands out the same connection each time.

    Threads that share a pin take turns. What the pool can do beside that (``subscriptions``,
    ``get_encoder``, …) it does.
    """

    retry_mode = "never"
    """State was lost with the connection: nothing is sent again."""
    keeps_session = True
    express = None

    def __init__(self, pool: Any, connection: PooledConnection) -> None:
        self.pool = pool
        self._connection: PooledConnection | None = connection
        self._turn = threading.RLock()
        leases.note_place(connection)
        for lease in connection.lease:
            lease.keeps_session = True  # redis-py would reconnect without a word
        self._scope = scopes.current()
        if self._scope is not None:
            self._scope.hold(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    def get_connection(self, *_: Any, **__: Any) -> PooledConnection:
        """The connection of the pin.

        Raises:
            NotOwned: the pin has ended. ForkedLease: it belongs to the parent process.
            redis.ConnectionError: the connection was lost, and the state of its session with it.
        """
        self._usable()  # looked at first: a forked child has no thread that would end its turn
        while not self._turn.acquire(timeout=LOOK_AGAIN):
            self._usable()  # the pin may have ended in the turn of somebody who was interrupted
        try:
            self._usable().settle_up()
            return self._usable()
        except BaseException:
            self._turn.release()
            raise

    def acquire(self, timeout: Any = ...) -> PooledConnection:
        """The same, for a pin on a pin: there is nothing to wait for."""
        return self.get_connection()

    def release(self, connection: Any) -> None:
        """Let the next thread have its turn."""
        with contextlib.suppress(RuntimeError):  # a return that was interrupted is repeated
            self._turn.release()

    def give_back(self) -> bool:
        """Give the connection back to the pool; whether it was still held."""
        connection, self._connection = self._connection, None
        if connection is None:
            return False
        if self._scope is not None:
            self._scope.let_go(self)
        if connection.forked:
            return False  # it is the parent's, and so is the return
        if self._turn.acquire(blocking=False):
            self._turn.release()
        else:
            connection.ledger.stain()  # another thread is about to use it: nobody else may get it
        self.pool.release(connection)
        return True

    def _usable(self) -> PooledConnection:
        connection = self._connection
        if connection is None:
            raise NotOwned("this pin has ended; use it inside its with block")
        if connection.forked:
            raise ForkedLease(wording.FORKED)
        if not connection.is_open:
            lost = ConnectionError(LOST)
            lost.unsent = True  # type: ignore[attr-defined]  # read by the client's retry
            raise lost
        return connection
