"""A pin: one connection held for a transaction, a WATCH loop or the state of a session."""

from __future__ import annotations

import contextlib
import threading
from abc import abstractmethod
from typing import Any, Generic, TypeVar

from redis.exceptions import ConnectionError

from . import leases, scopes, wording
from .connection import PooledConnection
from .errors import ForkedLease, NotOwned
from .holding import LOST, Holding

_Connection = TypeVar("_Connection", bound=Holding)

LOOK_AGAIN = 0.5
"""Seconds after which those who wait for their turn look whether the pin is still there."""


class BasePin(Generic[_Connection]):
    """Stands where a client has its pool, and hands out the same connection each time.

    Those who share a pin take turns. What the pool can do beside that (``subscriptions``,
    ``get_encoder``, …) it does.

    Args:
        pool: has lent `connection`, and gets it back.
    """

    retry_mode = "never"
    """State was lost with the connection: nothing is sent again."""
    keeps_session = True
    block: str
    """What a pin lasts as long as, in words."""

    def __init__(self, pool: Any, connection: _Connection) -> None:
        self.pool = pool
        self._connection: _Connection | None = connection
        leases.note_place(connection)
        for lease in connection.lease:
            lease.keeps_session = True  # redis-py would reconnect without a word
        self._scope = scopes.current()
        if self._scope is not None:
            self._scope.hold(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    def give_back(self) -> bool:
        """Give the connection back to the pool; whether it was still held. Never waits."""
        connection, self._connection = self._connection, None
        if connection is None:
            return False
        if self._scope is not None:
            self._scope.let_go(self)
        if connection.forked:
            return False  # it is the parent's, and so is the return
        if not connection.lease:
            return False  # a collection of all this came before
        if self._in_use():
            connection.ledger.stain()  # another is about to use it: nobody else may get it
        self.pool.release(connection)
        return True

    @abstractmethod
    def _in_use(self) -> bool:
        """Whether somebody else has his turn."""

    def _usable(self) -> _Connection:
        connection = self._connection
        if connection is None:
            raise NotOwned(f"this pin has ended; use it inside its {self.block} block")
        if connection.forked:
            raise ForkedLease(wording.FORKED)
        if not connection.is_open:
            lost = ConnectionError(LOST)
            lost.unsent = True  # type: ignore[attr-defined]  # read by the client's retry
            raise lost
        return connection


class Pin(BasePin[PooledConnection]):
    """A pin whose users are threads."""

    express = None
    block = "with"

    def __init__(self, pool: Any, connection: PooledConnection) -> None:
        self._turn = threading.RLock()
        super().__init__(pool, connection)

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

    def _in_use(self) -> bool:
        if not self._turn.acquire(blocking=False):
            return True
        self._turn.release()
        return False
