"""Opening a trunk: one task finds a connection for all commands that wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import MutableSequence
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import PoolTimeout, TooManyWaiting
from ..frames import twin_of

if TYPE_CHECKING:
    from .connection import AsyncPooledConnection
    from .pool import AsyncConnectionPool

Waiting: TypeAlias = "tuple[bytes, asyncio.Future[Any], float]"
"""A command that is not written yet: its bytes, who gets its reply, and since when it waits."""


async def find_connection(
    waiting: list[Waiting], pool: AsyncConnectionPool
) -> AsyncPooledConnection | None:
    """A connection for all who are `waiting`; those for whom it would come too late are told.

    Each command waits as long as it would wait for a connection of its own.

    Returns:
        The connection, lent; None where nobody waits any more.
    """
    while True:
        waiting[:] = [entry for entry in waiting if not entry[1].done()]
        if not waiting:
            return None
        try:
            return await pool.acquire(patience(pool, waiting[0][2]))
        except PoolTimeout as error:
            late = None if isinstance(error, TooManyWaiting) else pool.options.timeout
            refuse(waiting, error, 0.0 if late is None else late)
        except Exception as error:
            refuse(waiting, error)


def patience(pool: AsyncConnectionPool, since: float) -> float | None:
    """Seconds for which a command may go on waiting that has waited `since` then."""
    limit = pool.options.timeout
    return None if limit is None else max(since + limit - monotonic(), 0.0)


def refuse(waiting: MutableSequence[Waiting], error: Exception, limit: float = 0.0) -> None:
    """Tell `error` those who have waited for `limit` seconds or more; by default all."""
    before = monotonic() - limit
    for _, future, since in list(waiting):
        if since <= before:
            tell(future, error, unsent=True)


def tell(future: asyncio.Future[Any], error: Exception, *, unsent: bool) -> None:
    """Let `future` give an error like `error`, which belongs to whoever waits for it alone.

    Args:
        future: of a reply.
        error: why there will be none.
        unsent: whether the server cannot have run the command.
    """
    if future.done():
        return
    own = twin_of(error)
    if unsent:
        own.unsent = True  # type: ignore[attr-defined]  # read by the client's retry
    future.set_result(own)
