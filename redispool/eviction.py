"""Eviction: closing the connections that nobody shall get again, and counting why."""

from __future__ import annotations

import contextlib
from time import monotonic
from typing import TYPE_CHECKING

from . import logs
from .capacity import Capacity
from .events import Closed
from .policy import Policy

if TYPE_CHECKING:
    from .holding import Holding


class Evictor:
    """Closes connections of one pool; without a thread: returns ask for a sweep now and then.

    Args:
        policy: how long a connection may be idle, and how often to look.
        capacity: where the idle connections are, and where their places go.
        min_idle: how many idle connections stay, however old they are.
    """

    def __init__(self, policy: Policy, capacity: Capacity, min_idle: int) -> None:
        self._policy = policy
        self._capacity = capacity
        self._min_idle = min_idle
        self.next_sweep = 0.0
        """When to look again for what is idle for too long, on the monotonic clock."""

    def end(self, connection: Holding, reason: str) -> None:
        """Close a connection whose place is the caller's."""
        self._capacity.counts.add(f"closed {reason}")
        connection.end()
        channel, seconds = self._capacity.channel, monotonic() - connection.born
        logs.debug(
            "pool %r: a connection was closed (%s) after %.1f s",
            channel.alias,
            reason,
            seconds,
            event="connection_closed",
            alias=channel.alias,
            reason=reason,
            seconds=seconds,
        )
        channel.tell(Closed, reason=reason, seconds=seconds)

    def end_idle(self, connection: Holding, reason: str) -> None:
        """Close a connection that was taken out of the idle ones, and free its place."""
        slot = connection.slot
        self.end(connection, reason)
        if slot is not None:
            self._capacity.free(slot)

    def end_all_idle(self, reason: str) -> None:
        """Close what is idle now; in a pool that is closed the empty places end too."""
        queue = self._capacity.queue
        while queue.idle:
            with contextlib.suppress(IndexError):
                self.end_idle(queue.idle.popleft(), reason)
        if self._capacity.shut.is_set():
            queue.permits.clear()

    def end_stale(self) -> None:
        """Close what came back at the very moment when the pool was closed or recycled."""
        self.end_all_idle("pool_closed" if self._capacity.shut.is_set() else "drained")

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long, the coldest first; never below ``min_idle``."""
        self.next_sweep = now + self._policy.sweep_interval()
        self._capacity.cells.show_all()
        queue = self._capacity.queue
        while len(queue.idle) > self._min_idle:
            try:
                coldest = queue.idle.popleft()
            except IndexError:
                return
            if not self._policy.idle_too_long(coldest.last_used, now):
                queue.idle.appendleft(coldest)
                queue.hand_over()  # somebody may have found nothing while it was away
                return
            self.end_idle(coldest, "idle")
