"""AsyncConnectionPool: one bounded, fair pool for all event loops and threads of the process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, Self

from redis._parsers import Encoder
from redis.asyncio import connection as base
from redis.asyncio.retry import Retry

from .. import leases
from ..figures import LEASED, SINCE
from ..lending import Lending
from ..lifecycle import CLOSE_WITHIN
from ..options import PoolOptions
from ..policy import Check
from ..queueing import LOOK_AGAIN
from ..slots import Free, Slot
from ..timekeeping import FOREVER
from . import dialling, queueing
from .connection import AsyncPooledConnection
from .done import DONE, Done
from .leases import AsyncLease
from .multiplexer import Multiplexer
from .transports import BY_TRANSPORT, pooled, refuse_what_asyncio_drops

__all__ = ["AsyncConnectionPool"]


class AsyncConnectionPool(Lending, base.ConnectionPool):  # type: ignore[misc,override]  # as the other
    """A pool for asyncio; lives as long as the process, shared by all its clients and loops.

    Connections belong to no event loop: one that was opened in a loop may be lent in the next, or
    in another thread. So it pools where each request has a loop of its own, as async views under
    WSGI have. It stands in for ``redis.asyncio.ConnectionPool``, takes what `ConnectionPool` takes,
    and behaves like that. Nothing is opened before the first checkout. Giving back and closing need
    no loop, and never suspend.

    Args:
        options: the options; where it is not given they come as keyword arguments.
        alias: the name of the pool in errors, logs, statistics and ``CLIENT LIST``.
        connection_class: a connection class of ``redis.asyncio`` to use, where the URL does not
            decide.
        base_path: the folder of the project, for ``embedded://``.

    Raises:
        InvalidOption: an option cannot be used.
    """

    encoder_class = Encoder  # redis-py's attribute
    retry_class = Retry
    multiplexer: Multiplexer | None

    def _begin(self, size: int) -> None:
        super()._begin(size)
        # Not where redis-py's Retry decides, as `set_retry` says.
        shares = self.options.multiplex and self.retry_mode
        self.multiplexer = Multiplexer(self) if shares else None

    def set_retry(self, retry: Any) -> None:
        """Let redis-py's `retry` decide; then each command has a connection to itself."""
        super().set_retry(retry)
        self.multiplexer = None

    @property
    def shared_in_flight(self) -> int:  # type: ignore[override]
        """Commands that wait on connections that many share (``multiplex``)."""
        return 0 if self.multiplexer is None else self.multiplexer.in_flight()

    face = "asyncio"

    def _class_for(self, options: PoolOptions, wanted: type[Any] | None) -> type[Any]:
        refuse_what_asyncio_drops(options)
        return pooled(wanted or BY_TRANSPORT[options.transport])

    # Taking and giving back

    def at_once(self) -> AsyncPooledConnection | None:
        """Take an idle connection that needs no look; None where `acquire` has to find one."""
        queue = self.capacity.queue
        if not queue.idle or queue.waiters:
            return None
        try:
            free: Any = queue.idle.pop()
        except IndexError:
            return None  # another was faster
        now = monotonic()
        if not self.fitness.fresh(free, now):
            queue.give(free)
            return None
        record = free.slot.record
        record.leased = leased = record.leased + 1
        record.cells[LEASED] = leased
        record.cells[SINCE] = now
        free.lease.append(AsyncLease(now))
        return free  # type: ignore[no-any-return]

    async def acquire(self, timeout: float | object | None = ...) -> AsyncPooledConnection:
        """Take a connection that is ready for a command; give it back with `release`.

        Where one is free this does not suspend.

        Args:
            timeout: seconds for waiting, connecting and checking together; None waits without a
                limit; the option ``timeout`` where it is not given.

        Raises:
            PoolTimeout: none came free in time.
            TooManyWaiting: ``max_waiting`` callers wait already.
            PoolClosed: the pool was closed.
            redis.ConnectionError, redis.TimeoutError: the server cannot be reached.
        """
        found = self.at_once()
        if found is not None:
            return found
        now = monotonic()
        seconds: Any = self.options.timeout if timeout is ... else timeout
        try:
            return await self._find(now, FOREVER if seconds is None else now + seconds)
        except BaseException as error:
            self._note_failure(error)
            raise

    take_back = Lending.release

    def release(self, connection: Any) -> Done[None]:  # type: ignore[override]
        """Give a connection back; it is kept only if its next user would find it fresh.

        It is done when this returns: awaiting it, as redis-py does, waits for nothing. From any
        thread, with or without a loop.

        Raises:
            NotOwned: it was given back already, or it is of another pool.
            ForkedLease: it belongs to the parent process.
        """
        self.take_back(connection)
        return DONE

    @contextlib.asynccontextmanager
    async def connection(
        self, timeout: float | object | None = ...
    ) -> AsyncIterator[AsyncPooledConnection]:
        """Hold a raw connection for an ``async with`` block; arguments as of `acquire`."""
        connection = await self.acquire(timeout)
        leases.note_place(connection)
        try:
            yield connection
        finally:
            if connection.slot is not None:  # not where a collection of all this came before
                self.take_back(connection)

    # The way to a connection

    async def _find(self, started: float, deadline: float) -> AsyncPooledConnection:
        """A connection that is checked or new; the caller waits for it where that is needed."""
        # No time at all is for the wait: who does not want to wait may still have to connect.
        connect_by = deadline if deadline > started else FOREVER
        free: Free | None = self.capacity.queue.take()
        served = False
        while True:
            if free is None:
                free = await self._wait(started, deadline, first=served)
            slot = free if isinstance(free, Slot) else await self._check(free, connect_by)
            if isinstance(slot, AsyncPooledConnection):
                return slot
            free, served = None, True
            if slot is not None:
                found = await dialling.dial(self, slot, connect_by, deadline)
                if found is not None:
                    return found
            slot = None  # it is not ours any more

    async def _wait(self, started: float, deadline: float, *, first: bool) -> Free:
        self._refuse_to_wait(started, first=first)
        free = await queueing.wait(
            self.capacity.queue,
            deadline,
            stop=self._in_vain,
            heal=self.capacity.heal,
            first=first,
        )
        return self._came(free, started, first=first)

    async def _check(self, free: Any, deadline: float) -> AsyncPooledConnection | Slot | None:
        """The connection, lent, where it is well; else its place, where the gate lets it pass."""
        now = monotonic()
        reason = self.fitness.reason_at_first_sight(free, now)
        if reason is Check.PING:
            try:
                answered = await free.answers(self.fitness.ping_within(deadline - now))
            except BaseException:
                self.evictor.end_idle(free, "dirty_pending")
                raise
            reason = None if answered else self.fitness.note_dead()
        if reason:
            return self._empty_place_of(free, reason)
        return self._lend(free, now)  # type: ignore[no-any-return]

    # Beside that

    async def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:
        """redis-py's name of `acquire`."""
        return await self.acquire()

    def disconnect(self, inuse_connections: bool = True) -> Done[None]:  # type: ignore[override]
        """Replace all connections; those in use are closed when they are given back, never cut."""
        self.recycle()
        return DONE

    def reset(self) -> None:
        """The same as `disconnect`."""
        self.recycle()

    def re_auth_callback(self, token: Any) -> Done[None]:  # type: ignore[override]
        """Credentials have changed: every connection is renewed with the new ones."""
        self.recycle()
        return DONE

    async def warm_up(self, connections: int | None = None, timeout: float = 5.0) -> None:
        """Open `connections` (``min_idle`` where it is not given) ahead of the first request.

        Raises:
            PoolTimeout, redis.ConnectionError, redis.TimeoutError: that did not succeed within
                `timeout` seconds.
        """
        wanted = self.options.min_idle if connections is None else connections
        deadline = monotonic() + timeout
        async with contextlib.AsyncExitStack() as taken:
            for _ in range(wanted):
                # Never 0, which sets no limit to connecting.
                left = max(deadline - monotonic(), 1e-9)
                await taken.enter_async_context(self.connection(left))

    def close(self, timeout: float = 0.0) -> int:
        """End the pool for good: waiting callers get `PoolClosed`, idle connections are closed.

        Needs no loop; from any thread. It waits for nobody where a loop runs in the calling thread,
        for that could not go on meanwhile: there `aclose` can.

        Args:
            timeout: seconds for those who hold a connection to give it back; then it is cut.

        Returns:
            How many connections were cut.
        """
        return super().close(timeout if asyncio._get_running_loop() is None else 0.0)

    async def aclose(self, timeout: float = CLOSE_WITHIN) -> int:  # type: ignore[override]
        """The same, and the loop goes on while those who hold a connection have their `timeout`."""
        deadline = monotonic() + timeout
        self.begin_to_end()
        returned = self.capacity.returned
        while self.capacity.slots() and (left := deadline - monotonic()) > 0:
            returned.clear()
            if self.capacity.slots():
                await queueing.wait_for(returned, min(left, LOOK_AGAIN))
            self.evictor.end_all_idle("pool_closed")
        cut = self.cut_held()
        for subscriptions in list(self._subscriptions.values()):
            cut += await subscriptions.aclose(max(deadline - monotonic(), 0.0))
        return cut

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    @property  # type: ignore[misc]  # redis-py's has a setter, which nobody uses
    def connection_kwargs(self) -> dict[str, Any]:
        """The arguments of each connection, as redis-py's classes read them."""
        return self._connection_kwargs
