"""A pin for asyncio: one connection held for a transaction, a WATCH loop or session state."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from ..pins import BasePin
from ..slots import GONE
from .connection import AsyncPooledConnection
from .done import DONE, Done


class Turn:
    """A lock for tasks that its owner may take again, as ``threading.RLock`` lets threads do.

    It does not keep the owner: a task whose loop is closed would go in the middle of its own end.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: weakref.ref[asyncio.Task[Any]] = GONE
        self._depth = 0

    async def take(self) -> None:
        """Wait for the turn of the calling task."""
        task = asyncio.current_task()
        if self._owner() is not task or not self._depth:
            await self._lock.acquire()
        self._owner, self._depth = GONE if task is None else weakref.ref(task), self._depth + 1

    def end(self) -> None:
        """Let the next task have its turn, where this was the owner's last."""
        if not self._depth:
            return  # a return that was interrupted is repeated
        self._depth -= 1
        if not self._depth:
            self._lock.release()

    @property
    def taken(self) -> bool:
        """Whether some task has its turn."""
        return self._depth > 0


class AsyncPin(BasePin[AsyncPooledConnection]):
    """A pin whose users are tasks, all of one loop. Giving it back needs none."""

    multiplexer = None
    """Its connection is shared with nobody."""
    block = "async with"

    def __init__(self, pool: Any, connection: AsyncPooledConnection) -> None:
        self._turn = Turn()
        super().__init__(pool, connection)

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

    def _in_use(self) -> bool:
        return self._turn.taken
