"""Dialling: from a free slot to an open connection, with another try where one may help."""

from __future__ import annotations

import time
import weakref
from time import monotonic
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError, TimeoutError

from .capacity import count
from .connection import PooledConnection
from .retries import FINAL

if TYPE_CHECKING:
    from .pool import ConnectionPool
    from .slots import Slot


def open_connection(pool: ConnectionPool, slot: Slot, deadline: float) -> PooledConnection:
    """A connection in the place `slot`, lent to the calling thread.

    Args:
        pool: whose connection it is; its policy says how often and after which pauses to try again.
        slot: stays the caller's where no connection comes of it.
        deadline: on the monotonic clock; for all tries together.

    Raises:
        redis.ConnectionError, redis.TimeoutError: the server cannot be reached, or refused.
        PoolClosed: the pool was closed meanwhile.
    """
    attempt = 0
    while True:
        outcome = _try(pool, slot, deadline)
        if isinstance(outcome, PooledConnection):
            return outcome
        # Not inside the except block: an interruption there would keep the slot alive in the frames
        # of the old error.
        pause = pool.policy.pause(attempt) if may_pass(outcome) else None
        if pause is None or monotonic() + pause >= deadline:
            outcome.dialling = True  # type: ignore[attr-defined]  # read by the client's retry
            raise outcome
        time.sleep(pause)
        attempt += 1


def _try(pool: ConnectionPool, slot: Slot, deadline: float) -> PooledConnection | Exception:
    started, batch = monotonic(), pool.fitness.batch
    try:
        pool.refuse_if_closed()
        connection = pool.make_connection()
        _connect(connection, slot, started, deadline)
    except Exception as error:
        count(pool.counts, "create_failed")
        return error
    connection.batch = batch
    connection.born = started
    connection.expires_at = pool.policy.expires_at(started)
    slot.tally.created += 1
    slot.tally.create_seconds += monotonic() - started
    return connection


def _connect(connection: PooledConnection, slot: Slot, now: float, deadline: float) -> None:
    connection.slot = slot
    connection.lend(now)
    slot.held = weakref.ref(connection)
    try:
        connection.open(deadline)
    except BaseException:
        connection.end()
        raise


def may_pass(error: Exception) -> bool:
    """Whether another try may help: the network's errors may pass, a wrong password does not."""
    transient = isinstance(error, ConnectionError | TimeoutError | OSError)
    return transient and not isinstance(error, FINAL)
