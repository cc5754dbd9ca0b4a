"""ConnectionPool: one bounded, fair pool of connections for all threads of the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from time import monotonic
from typing import Any

from redis import connection as base

from . import dialling, leases
from .connection import PooledConnection
from .errors import InvalidOption
from .express import Express
from .figures import LEASED, SINCE
from .leases import Lease
from .lending import Lending
from .options import PoolOptions
from .slots import Free, Slot
from .timekeeping import FOREVER
from .transports import BY_TRANSPORT, pooled

__all__ = ["ConnectionPool"]


class ConnectionPool(Lending, base.ConnectionPool):  # type: ignore[misc,override]  # ours says more
    """A pool for threads and greenlets; lives as long as the process, shared by all its clients.

    Takes what `PoolOptions` takes, one by one or as a whole, and stands in for
    ``redis.ConnectionPool``: ``redis.Redis(connection_pool=pool)`` works with it unchanged. Nothing
    is opened before the first checkout.

    Args:
        options: the options; where it is not given they come as keyword arguments.
        alias: the name of the pool in errors, logs, statistics and ``CLIENT LIST``.
        connection_class: a connection class of redis-py's to use, where the URL does not decide.
        base_path: the folder of the project, for ``embedded://``.

    Raises:
        InvalidOption: an option cannot be used.
    """

    face = "threads"

    def _class_for(self, options: PoolOptions, wanted: type[Any] | None) -> type[Any]:
        if options.multiplex:
            raise InvalidOption(
                "multiplex",
                "is for AsyncConnectionPool: threads are slower where they share a socket; "
                "remove it, or use a PoolFactory, where it counts for the asyncio client alone",
            )
        return pooled(wanted or BY_TRANSPORT[options.transport])

    def _begin(self, size: int) -> None:
        super()._begin(size)
        self.express = Express(self) if self._is_usual() else None

    def _is_usual(self) -> bool:
        """Whether `Express` does what our own methods would do."""
        if not self.retry_mode or self._shared_cache is not None:
            return (
                False  # redis-py's Retry has a way of its own, and so have the replies of a cache
            )
        kind = type(self)
        ours = kind.acquire is ConnectionPool.acquire and kind.release is ConnectionPool.release
        return ours and kind.get_connection is ConnectionPool.get_connection

    # Taking and giving back

    def acquire(self, timeout: float | object | None = ...) -> PooledConnection:
        """Take a connection that is ready for a command; give it back with `release`.

        Args:
            timeout: seconds for waiting, connecting and checking together; None waits without a
                limit; the option ``timeout`` where it is not given.

        Raises:
            PoolTimeout: none came free in time.
            TooManyWaiting: ``max_waiting`` callers wait already.
            PoolClosed: the pool was closed.
            redis.ConnectionError, redis.TimeoutError: the server cannot be reached.
        """
        now = monotonic()
        queue = self.capacity.queue
        free: Any = None
        # The way of nearly all checkouts, kept short: nobody waits; what was used last is fresh.
        if queue.idle and not queue.waiters:
            try:
                free = queue.idle.pop()
            except IndexError:
                pass  # another was faster
        if free is not None and self.fitness.fresh(free, now):
            record = free.slot.record
            record.leased = leased = record.leased + 1
            record.cells[LEASED] = leased
            record.cells[SINCE] = now
            free.lease.append(Lease(now))
            return free  # type: ignore[no-any-return]
        free = free or queue.take()
        seconds: Any = self.options.timeout if timeout is ... else timeout
        try:
            return self._find(free, now, FOREVER if seconds is None else now + seconds)
        except BaseException as error:
            self._note_failure(error)
            raise

    @contextlib.contextmanager
    def connection(self, timeout: float | object | None = ...) -> Iterator[PooledConnection]:
        """Hold a raw connection for a ``with`` block; arguments and errors as of `acquire`."""
        connection = self.acquire(timeout)
        leases.note_place(connection)
        try:
            yield connection
        finally:
            self.release(connection)

    # The way to a connection

    def _find(self, free: Free | None, started: float, deadline: float) -> PooledConnection:
        """A connection that is checked or new; the caller waits for it where that is needed."""
        # No time at all is for the wait: who does not want to wait may still have to connect.
        connect_by = deadline if deadline > started else FOREVER
        served = False
        while True:
            if free is None:
                free = self._wait(started, deadline, first=served)
            slot = free if isinstance(free, Slot) else self._check(free, connect_by)
            if isinstance(slot, PooledConnection):
                return slot
            free, served = None, True
            if slot is not None and (found := dialling.dial(self, slot, connect_by, deadline)):
                return found
            slot = None  # it is not ours any more

    def _wait(self, started: float, deadline: float, *, first: bool) -> Free:
        self._refuse_to_wait(started, first=first)
        free = self.capacity.queue.wait(
            deadline, stop=self._in_vain, heal=self.capacity.heal, first=first
        )
        return self._came(free, started, first=first)

    def _check(self, free: Any, deadline: float) -> PooledConnection | Slot | None:
        """The connection, lent, where it is well; else its place, where the gate lets it pass."""
        now = monotonic()
        reason = self.fitness.reason_not_to_lend(free, now, deadline)
        if reason:
            return self._empty_place_of(free, reason)
        return self._lend(free, now)  # type: ignore[no-any-return]

    # Beside that

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:
        """redis-py's name of `acquire`."""
        return self.acquire()

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Replace all connections; those in use are closed when they are given back, never cut."""
        self.recycle()

    def reset(self) -> None:
        """The same as `disconnect`."""
        self.recycle()

    def re_auth_callback(self, token: Any) -> None:
        """Credentials have changed: every connection is renewed with the new ones."""
        self.recycle()

    def warm_up(self, connections: int | None = None, timeout: float = 5.0) -> None:
        """Open `connections` (``min_idle`` where it is not given) ahead of the first request.

        Raises:
            PoolTimeout, redis.ConnectionError, redis.TimeoutError: that did not succeed within
                `timeout` seconds.
        """
        wanted = self.options.min_idle if connections is None else connections
        deadline = monotonic() + timeout
        with contextlib.ExitStack() as taken:
            for _ in range(wanted):
                # Never 0, which sets no limit to connecting.
                left = max(deadline - monotonic(), 1e-9)
                taken.enter_context(self.connection(left))
