"""A pin for asyncio: one connection held for a transaction, a WATCH loop or session state."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import ConnectionError

from .. import leases, scopes, wording
from ..errors import ForkedLease, NotOwned
from ..holding import LOST
from .connection import AsyncPooledConnection
from .done import DONE, Done


class Turn:
    """A lock for tasks that its owner may take again, as ``threading.RLock`` lets threads do."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: object = None
        self._depth = 0

    async def take(self) -> None:
        """Wait for the turn of the calling task."""
        task = asyncio.current_task()
        if self._owner is not task or not self._depth:
            await self._lock.acquire()
        self._owner, self._depth = task, self._depth + 1

    def end(self) -> None:
        """Let the next task have its turn, where this was the owner's last."""
        if not self._depth:
            return  # a return that was interrupted is repeated
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()

    @property
    def taken(self) -> bool:
        """Whether some task has its turn."""
        return self._depth > 0


class AsyncPin:
    """Stands where a client has its pool, and hands out the same connection each time.

    Tasks that share a pin take turns; all of them belong to one loop. What the pool can do beside
    that (``subscriptions``, ``get_encoder``, …) it does.
    """

    retry_mode = "never"
    """State was lost with the connection: nothing is sent again."""
    keeps_session = True
    multiplexer = None
    """Its connection is shared with nobody."""

    def __init__(self, pool: Any, connection: AsyncPooledConnection) -> None:
        self.pool = pool
        self._connection: AsyncPooledConnection | None = connection
        self._turn = Turn()
        leases.note_place(connection)
        for lease in connection.lease:
            lease.keeps_session = True  # redis-py would reconnect without a word
        self._scope = scopes.current()
        if self._scope is not None:
            self._scope.hold(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    def at_once(self) -> None:
        """Nothing: a task waits for its turn."""

    async def get_connection(self, *_: Any, **__: Any) -> AsyncPooledConnection:
        """The connection of the pin.

        Raises:
            NotOwned: the pin has ended. ForkedLease: it belongs to the parent process.
            redis.ConnectionError: the connection was lost, and the state of its session with it.
        """
        self._usable()
        await self._turn.take()
        try:
            self._usable().settle_up()
            return self._usable()
        except BaseException:
            self._turn.end()
            raise

    async def acquire(self, timeout: Any = ...) -> AsyncPooledConnection:
        """The same, for a pin on a pin: there is nothing to wait for."""
        return await self.get_connection()

    def take_back(self, connection: Any) -> None:
        """Let the next task have its turn."""
        self._turn.end()

    def release(self, connection: Any) -> Done[None]:
        """The same, for those who await it."""
        self._turn.end()
        return DONE

    def give_back(self) -> bool:
        """Give the connection back to the pool; whether it was still held. Needs no loop."""
        connection, self._connection = self._connection, None
        if connection is None:
            return False
        if self._scope is not None:
            self._scope.let_go(self)
        if connection.forked:
            return False  # it is the parent's, and so is the return
        if self._turn.taken:
            connection.ledger.stain()  # another task is about to use it: nobody else may get it
        self.pool.take_back(connection)
        return True

    def _usable(self) -> AsyncPooledConnection:
        connection = self._connection
        if connection is None:
            raise NotOwned("this pin has ended; use it inside its async with block")
        if connection.forked:
            raise ForkedLease(wording.FORKED)
        if not connection.is_open:
            lost = ConnectionError(LOST)
            lost.unsent = True  # type: ignore[attr-defined]  # read by the client's retry
            raise lost
        return connection
