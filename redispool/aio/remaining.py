"""What is left of the time of a command that is tried again, for asyncio."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from ..retries import NEVER, Tries
from .done import DONE, Done

if TYPE_CHECKING:
    from .connection import AsyncPooledConnection


class AsyncRemaining:
    """Stands where a client has its pool, for another try; see `redispool.retries.Remaining`.

    Args:
        pool: lends.
        tries: of a command; they have a deadline.
    """

    retry_mode = NEVER

    def __init__(self, pool: Any, tries: Tries) -> None:
        self._pool = pool
        self._deadline = tries.deadline

    def at_once(self) -> None:
        """Nothing: each has to be told of the deadline."""

    async def acquire(self) -> AsyncPooledConnection:
        """A connection on which no reply is waited for beyond the deadline."""
        # Never 0, which sets no limit to connecting.
        found: AsyncPooledConnection = await self._pool.acquire(
            max(self._deadline - monotonic(), 1e-9)
        )
        found.finish_by(self._deadline)
        return found

    async def get_connection(self, *_: Any, **__: Any) -> AsyncPooledConnection:
        """redis-py's name of `acquire`."""
        return await self.acquire()

    def take_back(self, connection: AsyncPooledConnection) -> None:
        """Give it back without the deadline."""
        connection.finish_by(None)
        self._pool.take_back(connection)

    def release(self, connection: AsyncPooledConnection) -> Done[None]:
        """The same, for those who await it."""
        self.take_back(connection)
        return DONE
