"""Redis: redis-py's client on a pool that it shares and never closes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from time import monotonic
from typing import Any, Self

import redis
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError

from . import holders, retries, scopes, telemetry
from .express import ELSEWHERE, Express
from .holders import PubSub
from .ledger import PLAIN
from .pins import Pin
from .pipelines import Pipeline
from .pool import ConnectionPool
from .replies import callback_for, exactly, without_reading
from .sharing import SharingClient

__all__ = ["Redis"]

EXECUTE_COMMAND = telemetry.unwrapped(redis.Redis, "execute_command")

FAILURES = ConnectionError, TimeoutError, ReadOnlyError
"""What a command may be run again after."""


class Redis(SharingClient, redis.Redis):
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
    pool_class = ConnectionPool
    redis_py = redis.Redis
    _runs_as_others = True
    """Whether no class has a way of its own to run a command."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        after = cls.__mro__[cls.__mro__.index(Redis) + 1 :]
        follows = next(kind for kind in after if "execute_command" in vars(kind))
        same = follows is redis.Redis and cls._execute_command is Redis._execute_command
        cls._runs_as_others = same and not cls._parses_by_itself

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
        made = Pipeline(self.connection_pool, self._callbacks, transaction, shard_hint)
        made.share_callbacks(self._callbacks)
        return made

    def pubsub(self, **kwargs: Any) -> PubSub:
        """Subscribe to channels. The connection is counted apart, within ``max_pubsub``."""
        pool = getattr(self.connection_pool, "subscriptions", self.connection_pool)
        # Not with the client's event_dispatcher: that has a lock, and what left it taken in one
        # subscription would stop all others.
        return PubSub(pool, **kwargs)

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
        if vars(self).get("connection") is not None:
            with contextlib.suppress(Exception):
                self._give_back_single_connection()

    def _give_back_single_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            self.connection_pool.release(connection)

    # One command

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command and give what redis-py makes of its reply."""
        pool = self.connection_pool
        try:
            express = pool.express
        except AttributeError:  # a pool of redis-py's
            express = None
        # Where a tracer or redis-py's own code has to see to the command, or a connection is held.
        if (
            redis.Redis.execute_command is not EXECUTE_COMMAND
            or type(express) is not Express
            or self.connection is not None
            or not self._runs_as_others
            or NEVER_DECODE in options
            or EMPTY_RESPONSE in options
            or telemetry.is_on()
        ):
            return super().execute_command(*args, **options)  # and so to _execute_command
        scope, started = scopes.in_context(), monotonic()
        if scope is None and scopes.finders:
            scope = scopes.current()
        try:
            try:
                reply = express.ask(pool, args, started)
                if reply is ELSEWHERE:
                    return self._execute_once(args, options)
                # As callback_for.
                callback = exactly(self._callbacks, args[0])
                if callback is None and not args[0].isupper():
                    callback = self._callbacks.get(args[0])
                return reply if callback is None else callback(reply, **without_reading(options))
            except FAILURES as error:
                tries = retries.Tries(self._pool_of_tries, (args,), started)
                pause = tries.pause(error, 0)
                if pause is None:
                    raise
            return self._execute_again(args, options, tries, pause)
        finally:
            if scope is not None:
                scope.note(monotonic() - started)

    def _execute_command(self, *args: Any, **options: Any) -> Any:
        # The same without the lane. Not one function for both: each call on the way counts there.
        scope, started = scopes.current(), monotonic()
        try:
            try:
                return self._execute_once(args, options)
            except FAILURES as error:
                tries = retries.Tries(self._pool_of_tries, (args,), started)
                pause = tries.pause(error, 0)
                if pause is None:
                    raise
            return self._execute_again(args, options, tries, pause)
        finally:
            if scope is not None:
                scope.note(monotonic() - started)

    def _execute_again(
        self, args: tuple[Any, ...], options: dict[str, Any], tries: retries.Tries, pause: float
    ) -> Any:
        """Run a command another time that cannot have run, or that may run twice."""
        client = self._on(tries.rest_of_the_pool())
        attempt, wait = 0, pause
        while True:
            time.sleep(wait)
            attempt += 1
            try:
                return client._execute_once(args, options)
            except FAILURES as error:
                again = tries.pause(error, attempt)
                if again is None:
                    raise
            wait = again

    def _execute_once(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        pool = self.connection_pool
        # Without a mode redis-py's Retry decides, or the pool is one of redis-py's own.
        mode = getattr(pool, "retry_mode", "")
        if mode not in retries.MODES or self.connection is not None or telemetry.is_on():
            return super()._execute_command(*args, **options)
        connection, name = pool.acquire(), args[0]
        try:
            if name not in PLAIN or EMPTY_RESPONSE in options or self._parses_by_itself:
                return self._send_command_parse_response(connection, name, *args, **options)
            reply = connection.ask(args, options)
        finally:
            pool.release(connection)
        callback = callback_for(self._callbacks, name)
        return reply if callback is None else callback(reply, **without_reading(options))

    def _send_command_parse_response(self, conn: Any, *args: Any, **options: Any) -> Any:
        holders.settle_up(conn)
        return super()._send_command_parse_response(conn, *args, **options)
