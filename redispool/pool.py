"""ConnectionPool: one bounded, fair pool of connections for all threads of the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn, Self

from . import dialling, fork, leases, wording
from .capacity import count
from .connection import PooledConnection
from .dropin import RedisPyPool, options_from
from .errors import ForkedLease, NotOwned, PoolClosed, PoolTimeout, TooManyWaiting
from .express import Express
from .leases import Lease
from .lifecycle import Lifecycle
from .options import PoolOptions
from .policy import Policy
from .settings import DEFAULT
from .slots import Free, Slot
from .timed_line import FOREVER

__all__ = ["ConnectionPool"]


class ConnectionPool(Lifecycle, RedisPyPool):  # type: ignore[misc]  # close() says more
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

    def __init__(
        self,
        options: PoolOptions | None = None,
        *,
        alias: str = DEFAULT,
        connection_class: type[Any] | None = None,
        base_path: Path | None = None,
        **settings: Any,
    ) -> None:
        if options is not None and settings:
            raise TypeError(f"give PoolOptions or keyword arguments, not both: {list(settings)}")
        options = options or options_from(settings)
        super().__init__(options, alias, connection_class, base_path)
        self._subscriptions: dict[str, ConnectionPool] = {}
        self.state_of_clients: dict[str, Any] | None = None
        """The attributes that all clients of the pool begin with."""
        self.policy = Policy.of(self.options)
        self._begin(self.options.max_connections)
        fork.register(self)

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        """A pool for `url`; no option given beside it may contradict it."""
        return cls(url=url, **settings)

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
            free.slot.tally.acquired += 1
            free.lease.append(Lease(now))
            return free  # type: ignore[no-any-return]
        free = free or queue.take()
        seconds: Any = self.options.timeout if timeout is ... else timeout
        try:
            return self._find(free, now, FOREVER if seconds is None else now + seconds)
        except BaseException as error:
            count(self.counts, outcome(error))
            raise

    def release(self, connection: Any) -> None:
        """Give a connection back; it is kept only if its next user would find it fresh.

        Raises:
            NotOwned: it was given back already, or it is of another pool.
            ForkedLease: it belongs to the parent process.
        """
        slot: Slot | None = getattr(connection, "slot", None)
        if slot is None or slot.capacity is not self.capacity.reference:
            self._refuse(connection)
        try:
            lease = connection.lease.pop()
        except IndexError:
            self._refuse(connection)
        now = monotonic()
        if lease.place:
            leases.report_return(self, lease, now)
        reason = self.fitness.reason_not_to_keep(connection, now)
        if reason:
            renew = self.fitness.tells_of_a_failover(connection, now)
            self.evictor.end(connection, reason)
            self.capacity.free(slot)
            if renew:
                self.recycle()
            return
        connection.last_used = now
        self.capacity.queue.give(connection)
        if now >= self.evictor.next_sweep:
            self.evictor.sweep(now)
        if connection.batch is not self.fitness.batch:
            self.evictor.end_stale()

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

    def _lend(self, connection: PooledConnection, now: float) -> PooledConnection:
        slot_of(connection).tally.acquired += 1
        connection.lend(now)
        return connection

    def _find(self, free: Free | None, started: float, deadline: float) -> PooledConnection:
        """A connection that is checked or new; the caller waits for it where that is needed."""
        # No time at all is for the wait: who does not want to wait may still have to connect.
        connect_by = deadline if deadline > started else FOREVER
        served = False
        while True:
            if free is None:
                free = self._wait(started, deadline, first=served)
            slot = self._check(free, connect_by) if isinstance(free, PooledConnection) else free
            if isinstance(slot, PooledConnection):
                return slot
            free, served = None, True
            if slot is not None and (found := dialling.dial(self, slot, connect_by, deadline)):
                return found
            slot = None  # it is not ours any more

    def _wait(self, started: float, deadline: float, *, first: bool) -> Free:
        self.refuse_if_closed()
        queue, limit = self.capacity.queue, self.options.max_waiting
        if limit and len(queue.waiters) >= limit and not first:
            raise wording.too_many_waiting(self)
        leases.report_leaks(self, started)
        free = queue.wait(deadline, stop=self._in_vain, heal=self.capacity.heal, first=first)
        if free is None:
            self.refuse_if_closed()
            raise wording.nothing_came(self, started, monotonic())
        slot = free if isinstance(free, Slot) else slot_of(free)
        if not first:
            slot.tally.note_wait(monotonic() - started)
        return free

    def _in_vain(self, now: float) -> bool:
        return self.closed or self.capacity.hopeless(now)

    def _check(self, free: PooledConnection, deadline: float) -> PooledConnection | Slot | None:
        """The connection, lent, where it is well; else its place, where the gate lets it pass."""
        now = monotonic()
        reason = self.fitness.reason_not_to_lend(free, now, deadline)
        if not reason:
            return self._lend(free, now)
        slot = slot_of(free)
        self.evictor.end(free, reason)
        slot.held = None
        if self.capacity.gate.admit(slot, monotonic()):
            return slot
        self.capacity.free(slot)
        return None

    # The way back

    def _refuse(self, connection: Any) -> NoReturn:
        count(self.counts, "misuse")
        if getattr(connection, "forked", False):
            raise ForkedLease(wording.FORKED)
        raise NotOwned(wording.not_owned(self, connection))

    # Beside that

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

    def _for_subscriptions(self) -> ConnectionPool:
        # A subscription is meant to be held for long: that is no leak.
        options = self.options.replace(
            max_connections=self.options.max_pubsub,
            min_idle=0,
            leak_threshold=None,
            cache=None,
            cache_config=None,
        )
        pool = ConnectionPool(options, alias=self.alias, connection_class=self.connection_class)
        pool.size_option = "MAX_PUBSUB"
        # A subscription is lent for long, so its own connection has to notice a dead line.
        pool._connection_kwargs = {
            **self._connection_kwargs,
            "health_check_interval": self.options.health_check_interval,
        }
        if self.closed:
            pool.close(0)
        return pool


def slot_of(connection: PooledConnection) -> Slot:
    """The place of a connection that is idle or in use."""
    slot = connection.slot
    assert slot is not None
    return slot


def outcome(error: BaseException) -> str:
    """Under which name a checkout that ended in `error` is counted."""
    if isinstance(error, TooManyWaiting | PoolClosed):
        return "rejected"
    if isinstance(error, PoolTimeout):
        return "timeouts"
    return "failed" if isinstance(error, Exception) else "cancelled"
