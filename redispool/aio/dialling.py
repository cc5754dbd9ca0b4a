"""Dialling for asyncio: from a free slot to an open connection, while the loop goes on."""

from __future__ import annotations

import asyncio
import sys
import weakref
from time import monotonic
from typing import TYPE_CHECKING

from ..dialling import may_pass, move_in, note_end, settle_in, wait_or_raise
from ..frames import leave_frames
from .connection import AsyncPooledConnection

if TYPE_CHECKING:
    from ..slots import Slot
    from .pool import AsyncConnectionPool


async def dial(
    pool: AsyncConnectionPool, slot: Slot, connect_by: float, wait_until: float
) -> AsyncPooledConnection | None:
    """A connection in the place `slot`, lent to the calling task; see `redispool.dialling.dial`."""
    started = monotonic()
    slot.loop = weakref.ref(asyncio.get_running_loop())
    try:
        pool.show(slot)
        outcome = await _try(pool, slot, started, connect_by)
        note_end(pool, slot, outcome, started, connect_by)
    except BaseException:
        # Not left to the finalizer: the error of a task may keep these frames for long.
        pool.capacity.abandon(slot)
        raise
    if isinstance(outcome, AsyncPooledConnection):
        return outcome
    box = [outcome]
    del outcome  # which would hold this frame, and the frame the error
    wait_or_raise(pool, box, wait_until)
    return None


async def _try(
    pool: AsyncConnectionPool, slot: Slot, started: float, deadline: float
) -> AsyncPooledConnection | Exception:
    batch, outer = pool.fitness.batch, sys.exception()
    try:
        pool.refuse_if_closed()
        connection: AsyncPooledConnection = pool.make_connection()  # type: ignore[assignment]
        move_in(connection, slot, started)
        try:
            await connection.open(deadline)
        except BaseException:
            connection.end()
            raise
    except Exception as error:
        pool.counts.add("create_failed")
        if may_pass(error):
            leave_frames(error, outer)  # those of the user's own code, he may want to see
        return error
    settle_in(connection, slot, pool, batch, started)
    return connection
