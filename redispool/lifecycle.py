"""The life of a pool in a process: it begins, changes its size, renews itself, forks and ends."""

from __future__ import annotations

from abc import abstractmethod
from time import monotonic
from typing import Self

from . import wording
from .capacity import Capacity
from .census import take_stats
from .errors import PoolClosed
from .events import Channel
from .eviction import Evictor
from .fitness import Fitness
from .gate import Gate
from .measuring import Measuring
from .options import check
from .policy import Policy
from .queueing import LOOK_AGAIN
from .shared_cache import SharedCache
from .showing import Showing
from .stats import PoolStats

CLOSE_WITHIN = 5.0
"""Seconds that `ConnectionPool.close` gives to those who still hold a connection."""


class Lifecycle(Showing):
    """What a pool does beside lending: mixed into the pools."""

    policy: Policy
    channel: Channel
    _shared_cache: SharedCache | None
    _subscriptions: dict[str, Self]
    shared_in_flight = 0
    """Commands on connections that many share, which only a pool for asyncio has."""
    measuring: Measuring | None = None
    """Who is told of each wait and each new connection."""
    size_option = "MAX_CONNECTIONS"
    """The setting that bounds the pool, for errors."""

    @abstractmethod
    def _for_subscriptions(self) -> Self:
        """A pool like this one for subscriptions."""

    def _begin(self, size: int) -> None:
        """Start with every place free: at first, and again in a forked child."""
        self._begin_to_show()
        self.capacity = Capacity(size, Gate(self.policy), self.channel)
        self.fitness = Fitness(self.policy, self.capacity)
        self.counts = self.capacity.counts
        self.evictor = Evictor(self.policy, self.capacity, self.options.min_idle)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.capacity.shut.is_set()

    def close(self, timeout: float = CLOSE_WITHIN) -> int:
        """End the pool for good: waiting callers get `PoolClosed`, idle connections are closed.

        Args:
            timeout: seconds for those who hold a connection to give it back; then it is cut.

        Returns:
            How many connections were cut.
        """
        deadline = monotonic() + timeout
        self.begin_to_end()
        returned = self.capacity.returned
        while self.capacity.slots() and (left := deadline - monotonic()) > 0:
            returned.clear()
            if self.capacity.slots():
                # Now and then at least: another who closes may have cleared it meanwhile.
                returned.wait(min(left, LOOK_AGAIN))
            self.evictor.end_all_idle("pool_closed")
        cut, left = self.cut_held(), max(deadline - monotonic(), 0.0)
        return cut + sum(pool.close(left) for pool in list(self._subscriptions.values()))

    def begin_to_end(self) -> None:
        """Lend nothing any more, for subscriptions neither, and close what is idle."""
        self.capacity.shut.set()
        self.capacity.cells.show("shut")
        self.fitness.renew_all()
        self.evictor.end_all_idle("pool_closed")
        self.capacity.queue.wake_all()
        for subscriptions in list(self._subscriptions.values()):
            subscriptions.begin_to_end()

    def cut_held(self) -> int:
        """Break the lines of those who hold a connection; gives how many these are."""
        held = self.capacity.connections()
        for connection in held:
            connection.cut()
        self.show_no_more()
        return len(held)

    def recycle(self) -> None:
        """Replace all connections: idle ones now, those in use when they are given back."""
        self.fitness.renew_all()
        self.evictor.end_all_idle("drained")
        for subscriptions in list(self._subscriptions.values()):
            subscriptions.recycle()

    def resize(self, max_connections: int) -> None:
        """Change the bound while the pool is in use; nobody loses a connection by it.

        Raises:
            InvalidOption: `max_connections` is no whole number of at least 1.
        """
        check("max_connections", max_connections)
        for connection in self.capacity.resize(max_connections):
            self.evictor.end(connection, "resized")

    @property
    def subscriptions(self) -> Self:
        """The pool from which subscriptions take their connections, bounded by ``max_pubsub``."""
        known = self._subscriptions.get(self.alias)
        return known or self._subscriptions.setdefault(self.alias, self._for_subscriptions())

    def stats(self) -> PoolStats:
        """The figures of the pool in this process."""
        return take_stats(self)

    def after_fork_in_child(self) -> None:
        """Begin anew with the same options; the parent's sockets are left to the parent."""
        parents, closed = self.capacity, self.closed
        # First, for what is interrupted here is called again, and finds the parent's until then.
        for connection in parents.connections():
            connection.leave_to_parent()
        if self._shared_cache is not None:
            self._shared_cache.begin_again()
        self._begin(parents.size)
        # A server that is away for a moment is waited for, as in the parent.
        self.capacity.gate.known = parents.gate.known
        if closed:
            self.capacity.shut.set()

    def refuse_if_closed(self) -> None:
        """Raise `PoolClosed` once `close` was called."""
        if self.closed:
            raise PoolClosed(wording.closed(self))
