"""Dialling: from a free slot to an open connection."""

from __future__ import annotations

import sys
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import AuthenticationError, ConnectionError, TimeoutError

from . import logs, policy, wording
from .connection import PooledConnection
from .events import Connected, OutageBegan, OutageEnded
from .figures import CONNECTING, STATE
from .frames import leave_frames
from .retries import FINAL

if TYPE_CHECKING:
    from .holding import Holding
    from .lending import Lending
    from .pool import ConnectionPool
    from .slots import Slot


def dial(
    pool: ConnectionPool, slot: Slot, connect_by: float, wait_until: float
) -> PooledConnection | None:
    """A connection in the place `slot`, lent to the calling thread.

    Args:
        pool: whose connection it is.
        slot: admitted by the gate; it is the caller's no more.
        connect_by: the time that connecting has, on the monotonic clock.
        wait_until: until when the caller can wait for another try.

    Returns:
        The connection; None where the dial failed and the caller shall wait for another.

    Raises:
        redis.ConnectionError, redis.TimeoutError: the server cannot be reached, or refused.
        PoolClosed: the pool was closed meanwhile.
    """
    started = monotonic()
    try:
        pool.show(slot)
        outcome = _try(pool, slot, started, connect_by)
        # Not inside an except block: an interruption there would keep the frames of the old error.
        note_end(pool, slot, outcome, started, connect_by)
    except BaseException:
        # Not left to the finalizer: errors of redis-py keep these frames until a collection.
        pool.capacity.abandon(slot)
        raise
    if isinstance(outcome, PooledConnection):
        return outcome
    box = [outcome]
    del outcome  # which would hold this frame, and the frame the error
    wait_or_raise(pool, box, wait_until)
    return None


def note_end(
    pool: Lending, slot: Slot, outcome: Holding | Exception, started: float, connect_by: float
) -> None:
    """Note what came of a dial: a connection, or the error in place of one."""
    if not isinstance(outcome, Exception):
        _note_success(pool, slot)
        return
    now = monotonic()
    if may_pass(outcome) and was_fair(outcome, started, connect_by, now):
        _note_failure(pool, outcome, now)
    pool.capacity.abandon(slot)  # only now, while the gate is shut


def wait_or_raise(pool: Lending, box: list[Exception], wait_until: float) -> None:
    """Raise the error of a dial, which is in `box`; return where another try is worth waiting for.

    Args:
        pool: whose dial it was.
        box: emptied, so that no frame holds the error that holds the frame.
        wait_until: until when the caller can wait.
    """
    if may_pass(box[0]) and _worth_waiting(pool, monotonic(), wait_until):
        return
    pool.capacity.queue.wake_first()
    if isinstance(box[0], AuthenticationError):
        wording.name_the_setting(pool, box[0])
    box[0].dialling = True  # type: ignore[attr-defined]  # read by the client's retry
    raise box.pop()


def may_pass(error: Exception) -> bool:
    """Whether another try may help: the network's errors may pass, a wrong password does not."""
    transient = isinstance(error, ConnectionError | TimeoutError | OSError)
    return transient and not isinstance(error, FINAL)


def was_fair(error: Exception, started: float, connect_by: float, now: float) -> bool:
    """Whether the server had the time to answer, or a caller in a hurry cut it off."""
    cut_off = isinstance(error, TimeoutError) and now >= connect_by
    # Not until now: on a busy machine a caller of a millisecond may get his turn much later.
    return not cut_off or connect_by - started >= policy.FAIR_TRY


def _worth_waiting(pool: Lending, now: float, wait_until: float) -> bool:
    capacity = pool.capacity
    return now + capacity.gate.opens_in(now) < wait_until and not capacity.hopeless(now)


def _note_success(pool: Lending, slot: Slot) -> None:
    gate, queue = pool.capacity.gate, pool.capacity.queue
    gate.leave(slot)
    now = monotonic()
    ended = gate.succeeded(now)
    pool.show_outage()
    if ended is not None:
        found: dict[str, Any] = {"seconds": now - ended.since, "failures": ended.failures}
        found["reason"] = str(ended.error)
        logs.warn(
            wording.back_again(pool, ended, now), event="outage_ended", **_about(pool), **found
        )
        pool.channel.tell(OutageEnded, **found)
    if queue.waiters:
        queue.hand_over()


def _note_failure(pool: Lending, error: Exception, now: float) -> None:
    begun = pool.capacity.gate.failed(error, now)
    pool.show_outage()
    if begun is not None:
        reason = str(begun.error)
        logs.warn(
            wording.gone_away(pool, begun), event="outage_began", **_about(pool), reason=reason
        )
        pool.channel.tell(OutageBegan, reason=reason)
    if pool.capacity.hopeless(now):
        pool.capacity.queue.wake_all()


def _try(
    pool: ConnectionPool, slot: Slot, started: float, deadline: float
) -> PooledConnection | Exception:
    batch, outer = pool.fitness.batch, sys.exception()
    try:
        pool.refuse_if_closed()
        connection = pool.make_connection()
        _connect(connection, slot, started, deadline)
    except Exception as error:
        pool.counts.add("create_failed")
        if may_pass(error):
            leave_frames(error, outer)  # those of the user's own code, he may want to see
        return error
    settle_in(connection, slot, pool, batch, started)
    return connection


def _connect(connection: PooledConnection, slot: Slot, now: float, deadline: float) -> None:
    move_in(connection, slot, now)
    try:
        connection.open(deadline)
    except BaseException:
        connection.end()
        raise


def move_in(connection: Holding, slot: Slot, now: float) -> None:
    """Put a connection that is not open yet in its place, lent to the caller."""
    slot.record.cells[STATE] = CONNECTING
    connection.slot = slot
    connection.lend(now)
    slot.held = weakref.ref(connection)


def settle_in(
    connection: Holding, slot: Slot, pool: Lending, batch: object, started: float
) -> None:
    """Note that the connection is open, and of which batch it is."""
    connection.batch = batch
    connection.born = started
    connection.expires_at = pool.policy.expires_at(started)
    seconds = monotonic() - started
    slot.record.note_created(seconds)
    if pool.measuring is not None:
        pool.measuring.connected(seconds)
    logs.debug(
        "pool %r: a connection to %s was opened in %.3f s",
        pool.alias,
        pool.options.server,
        seconds,
        event="connection_opened",
        **_about(pool),
        seconds=seconds,
    )
    pool.channel.tell(Connected, seconds=seconds)


def _about(pool: Lending) -> dict[str, Any]:
    return {"alias": pool.alias, "server": pool.options.server}
