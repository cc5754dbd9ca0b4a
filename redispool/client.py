"""Redis: redis-py's client on a pool that it shares and never closes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from time import monotonic
from typing import Any, Self

import redis
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, TimeoutError

from . import commands, retries, scopes
from .holders import Pipeline, PubSub
from .pins import Pin
from .pool import ConnectionPool

__all__ = ["Redis"]


class Redis(redis.Redis):
    """A ``redis.Redis`` with every command and option of it.

    Args:
        connection_pool: the pool to use; the client does not close it. Without one the client makes
            its own `ConnectionPool` from the other arguments, and `close` ends that.
        single_connection_client: hold one connection for the life of the client, as in redis-py;
            `pinned` is the better way.
        settings: options of `PoolOptions`, such as ``host``, ``url``, ``max_connections``.

    Raises:
        InvalidOption: an option cannot be used.
    """

    connection_pool: Any

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        password: str | None = None,
        *,
        connection_pool: Any = None,
        single_connection_client: bool = False,
        **settings: Any,
    ) -> None:
        parts = {"host": host, "port": port, "db": db, "password": password}
        settings |= {name: value for name, value in parts.items() if value is not None}
        if connection_pool is not None and settings:
            raise TypeError(f"options belong to the pool, not to its client: {list(settings)}")
        pool = ConnectionPool(**settings) if connection_pool is None else connection_pool
        super().__init__(connection_pool=pool, single_connection_client=single_connection_client)
        self.auto_close_connection_pool = connection_pool is None

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Redis:
        """A client with a pool of its own for `url`; no option may contradict the URL."""
        return cls(url=url, **settings)

    @contextlib.contextmanager
    def pinned(self, timeout: float | object | None = ...) -> Iterator[Redis]:
        """Hold one connection for a ``with`` block: for transactions, WATCH loops, session state.

        Gives a client whose commands, pipelines and scripts all run on that connection. At the end
        of the block the connection goes back, and is renewed where it was left in a state that the
        next user would notice.

        Args:
            timeout: seconds to wait for the connection; the option ``timeout`` where not given.

        Raises:
            PoolTimeout: no connection came free in time.
        """
        pool = self.connection_pool
        connection = pool.get_connection() if timeout is ... else pool.acquire(timeout)
        pin = Pin(pool, connection)
        try:
            yield self._on(pin)
        finally:
            pin.give_back()

    def watch(self, *names: Any) -> Any:
        """Watch keys on a connection that is held; where none is, redis-py says what to do."""
        return self._on_held_connection("WATCH", *names) or super().watch(*names)

    def unwatch(self) -> Any:
        """Watch no key any more; see `watch`."""
        return self._on_held_connection("UNWATCH") or super().unwatch()

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Queue commands and send them together; with `transaction`, between MULTI and EXEC."""
        return Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    def pubsub(self, **kwargs: Any) -> PubSub:
        """Subscribe to channels. The connection is counted apart, within ``max_pubsub``."""
        pool = getattr(self.connection_pool, "subscriptions", self.connection_pool)
        # Not with the client's event_dispatcher: that has a lock, and what left it taken in one
        # subscription would stop all others.
        return PubSub(pool, **kwargs)

    def _on(self, pool: Any) -> Redis:
        """The same client on another pool, without the 0.1 ms that redis-py's constructor takes."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.connection_pool = pool
        twin.connection = None
        twin._single_connection_client = False
        twin.auto_close_connection_pool = False
        return twin

    def _on_held_connection(self, *args: Any) -> Any:
        held = self.connection is not None or isinstance(self.connection_pool, Pin)
        return self.execute_command(*args) if held else None

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """Close the client's own pool, where it made one; a shared pool stays as it is."""
        self._give_back_single_connection()
        if self.auto_close_connection_pool:
            self.connection_pool.close()

    def __del__(self) -> None:
        # Not close(): that waits for others. A pool of its own goes with the client.
        with contextlib.suppress(Exception):
            self._give_back_single_connection()

    def _give_back_single_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            self.connection_pool.release(connection)

    def _execute_command(self, *args: Any, **options: Any) -> Any:
        scope = scopes.current()
        if scope is None:
            return self._execute_safely(args, options)
        started = monotonic()
        try:
            return self._execute_safely(args, options)
        finally:
            scope.note(monotonic() - started)

    def _execute_safely(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run one command; send it again only where that cannot run it twice."""
        client, started, attempt = self, monotonic(), 0
        while True:
            try:
                # redis-py takes some options out of the dict while it parses the reply.
                return super(Redis, client)._execute_command(*args, **options)
            except (ConnectionError, TimeoutError, ReadOnlyError) as error:
                pause, deadline = self._next_try(error, args, attempt, started)
                if pause is None:
                    raise
            time.sleep(pause)
            attempt += 1
            client = self._on(retries.Remaining(self.connection_pool, deadline))

    def _next_try(
        self, error: Exception, args: tuple[Any, ...], attempt: int, started: float
    ) -> tuple[float | None, float]:
        """Seconds before the command is sent again, or None; and until when it must be done."""
        mode, pool = self._retry_mode(), self.connection_pool
        if retries.may_repeat(error, args, mode):
            pause = pool.policy.pause(attempt, loading=isinstance(error, BusyLoadingError))
            deadline = started + retries.seconds_for_all(pool.options)
            if pause is not None and monotonic() + pause < deadline:
                return pause, deadline
        if not commands.only_reads(args):
            retries.warn_in_message(error, commands.words(args)[0], attempt + 1)
        return None, 0.0

    def _retry_mode(self) -> str:
        """The option ``retry``, where the client may act on it."""
        pool = self.connection_pool
        # State was lost with a connection that is held; and other pools retry by themselves.
        if self.connection is not None or not isinstance(pool, ConnectionPool):
            return "never"
        return pool.options.retry
