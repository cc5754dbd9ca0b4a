"""What is left of the time of a command that is tried again, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import TimeoutError

from ..retries import NEVER, Tries
from ..timekeeping import FOREVER, OUT_OF_TIME
from .done import DONE, Done

if TYPE_CHECKING:
    from .connection import AsyncPooledConnection
    from .multiplexer import Multiplexer


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

    @property
    def multiplexer(self) -> Hurried | None:
        """The pool's multiplexer, for the rest of the time; None where it has none."""
        found = getattr(self._pool, "multiplexer", None)
        return None if found is None else Hurried(found, self._deadline)

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


class Hurried:
    """Stands where a client has a multiplexer, for another try: nobody waits beyond the deadline.

    Args:
        multiplexer: of the pool.
        deadline: of the tries, on the monotonic clock.
    """

    def __init__(self, multiplexer: Multiplexer, deadline: float) -> None:
        self._multiplexer = multiplexer
        self._deadline = deadline

    def ask(
        self, args: tuple[Any, ...], options: Mapping[str, Any], now: float
    ) -> asyncio.Future[Any] | None:
        """As `Multiplexer.ask`; a reply that is late keeps its place in the order."""
        reply = self._multiplexer.ask(args, options, now)
        if reply is not None and self._deadline < FOREVER:
            timer = reply.get_loop().call_later(max(self._deadline - now, 0.0), _is_late, reply)
            reply.add_done_callback(lambda _: timer.cancel())
        return reply


def _is_late(reply: asyncio.Future[Any]) -> None:
    if not reply.done():
        reply.set_result(TimeoutError(OUT_OF_TIME))
