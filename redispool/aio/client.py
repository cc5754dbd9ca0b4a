"""AsyncRedis: redis-py's client for asyncio, on a pool of all event loops that it shares."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, Self

import redis.asyncio
from redis.client import EMPTY_RESPONSE
from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError

from .. import holders, replies, retries, scopes, telemetry
from ..bookkeeping import value_in
from ..ledger import PLAIN
from ..replies import VALUES, callback_for
from ..sharing import SharingClient
from .done import SETTLED, settled
from .holders import AsyncPubSub
from .multiplexer import Multiplexer
from .pins import AsyncPin
from .pipelines import AsyncPipeline
from .pool import AsyncConnectionPool
from .remaining import AsyncRemaining

__all__ = ["AsyncRedis"]

EXECUTE_COMMAND = telemetry.unwrapped(redis.asyncio.Redis, "execute_command")


class AsyncRedis(SharingClient, redis.asyncio.Redis):  # type: ignore[misc]  # redis-py's own
    """A ``redis.asyncio.Redis`` with every command and option of it, for any loop and thread.

    One client serves the whole process: all tasks of all loops, one after the other or at the same
    time. Pipelines, subscriptions, pins and locks that it makes belong to the loop that uses them.

    Args:
        connection_pool: the pool to use; the client does not close it. Without one the client makes
            its own `AsyncConnectionPool` from the other arguments, and `aclose` ends that.
        single_connection_client: hold one connection for the life of the client, as in redis-py;
            `pinned` is the better way.
        settings: options of `PoolOptions`, such as ``host``, ``url``, ``max_connections``.

    Raises:
        InvalidOption: an option cannot be used.
    """

    connection_pool: Any
    pool_class = AsyncConnectionPool
    redis_py = redis.asyncio.Redis

    @contextlib.asynccontextmanager
    async def pinned(self, timeout: float | object | None = ...) -> AsyncIterator[Self]:
        """Hold one connection for an ``async with`` block, as `redispool.Redis.pinned` does.

        Args:
            timeout: seconds to wait for the connection; the option ``timeout`` where not given.

        Raises:
            PoolTimeout: no connection came free in time.
        """
        pool = self.connection_pool
        pin = AsyncPin(pool, await pool.acquire(timeout))
        try:
            yield self._on(pin)
        finally:
            pin.give_back()

    async def watch(self, *names: Any) -> Any:  # type: ignore[override]
        """Watch keys on a connection that is held; where none is, redis-py says what to do."""
        if self._holds_connection:
            return await self.execute_command("WATCH", *names)
        return await super().watch(*names)

    async def unwatch(self) -> Any:  # type: ignore[override]
        """Watch no key any more; see `watch`."""
        if self._holds_connection:
            return await self.execute_command("UNWATCH")
        return await super().unwatch()

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> AsyncPipeline:
        """Queue commands and send them together; with `transaction`, between MULTI and EXEC."""
        made = AsyncPipeline(self.connection_pool, self._callbacks, transaction, shard_hint)
        made.share_callbacks(self._callbacks)
        return made

    def pubsub(self, **kwargs: Any) -> AsyncPubSub:
        """Subscribe to channels. The connection is counted apart, within ``max_pubsub``."""
        pool = getattr(self.connection_pool, "subscriptions", self.connection_pool)
        return AsyncPubSub(pool, **kwargs)

    @property
    def _has_connection(self) -> bool:
        """Whether commands go to a connection of the client's own; a single one is taken late."""
        return self.single_connection_client or self.connection is not None

    @property
    def _holds_connection(self) -> bool:
        return self.connection is not None or isinstance(self.connection_pool, AsyncPin)

    async def __aenter__(self) -> Self:
        return await self.initialize()

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the client's own pool, where it made one; a shared pool stays as it is.

        Args:
            close_connection_pool: True closes a shared pool too, False leaves even an own one open.
        """
        self._give_back_single_connection()
        own = self.auto_close_connection_pool
        if own if close_connection_pool is None else close_connection_pool:
            await self.connection_pool.aclose()

    async def close(self, close_connection_pool: bool | None = None) -> None:
        """redis-py's older name of `aclose`."""
        await self.aclose(close_connection_pool)

    def __del__(self, *_: Any) -> None:
        # Not close(): a pool of its own goes with the client.
        if vars(self).get("connection") is not None:
            with contextlib.suppress(Exception):
                self._give_back_single_connection()

    def _give_back_single_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            self.connection_pool.release(connection)

    # One command

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command and give what redis-py makes of its reply."""
        scope, started = scopes.current(), monotonic()
        try:
            try:
                multiplexer = getattr(self.connection_pool, "multiplexer", None)
                # Each call and property on the way counts here.
                if (
                    type(multiplexer) is not Multiplexer
                    or self.connection is not None
                    or self.single_connection_client
                    or self._parses_by_itself
                    or telemetry.is_on()
                    or (asked := multiplexer.ask(args, options, started)) is None
                ):
                    return await self._execute_once(args, options)
                reply = await asked
                if type(reply) in VALUES and callback_for(self._callbacks, args[0]) is None:
                    return reply
                box = [reply]
                del reply, asked  # an error that is raised would hold this frame, and the frame it
                return await self._made_of(box, args[0], options)
            except (ConnectionError, TimeoutError, ReadOnlyError) as error:
                tries = retries.Tries(self._pool_of_tries, (args,), started)
                pause = tries.pause(error, 0)
                if pause is None:
                    raise
            return await self._execute_again(args, options, tries, pause)
        finally:
            if scope is not None:
                scope.note(monotonic() - started)

    async def _execute_again(
        self, args: tuple[Any, ...], options: dict[str, Any], tries: retries.Tries, pause: float
    ) -> Any:
        """Run a command another time that cannot have run, or that may run twice."""
        client = self._on(AsyncRemaining(self.connection_pool, tries))
        attempt, wait = 0, pause
        while True:
            await asyncio.sleep(wait)
            attempt += 1
            try:
                return await client._try(args, options)
            except (ConnectionError, TimeoutError, ReadOnlyError) as error:
                again = tries.pause(error, attempt)
                if again is None:
                    raise
            wait = again

    async def _try(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        multiplexer = getattr(self.connection_pool, "multiplexer", None)
        asked = None
        if multiplexer is not None and not (self._parses_by_itself or telemetry.is_on()):
            asked = multiplexer.ask(args, options, monotonic())
        if asked is None:
            return await self._execute_once(args, options)
        box = [await asked]
        del asked
        return await self._made_of(box, args[0], options)

    async def _made_of(self, box: list[Any], name: Any, options: dict[str, Any]) -> Any:
        """What redis-py makes of the reply in `box`; an error is raised."""
        reply = value_in(box)
        callback = callback_for(self._callbacks, name)
        if callback is None:
            return reply
        value = callback(reply, **replies.without_reading(options))
        return value if type(value) in SETTLED else await settled(value)

    async def _execute_once(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        pool = self.connection_pool
        # A tracer has to see it; redis-py's Retry decides; or the pool is one of redis-py's own.
        mode = getattr(pool, "retry_mode", "")
        if (
            redis.asyncio.Redis.execute_command is not EXECUTE_COMMAND
            or mode not in retries.MODES
            or self._has_connection
            or telemetry.is_on()
        ):
            return await super().execute_command(*args, **options)
        connection, name = pool.at_once() or await pool.acquire(), args[0]
        try:
            if name not in PLAIN or EMPTY_RESPONSE in options or self._parses_by_itself:
                return await self._send_command_parse_response(connection, name, *args, **options)
            reply = await connection.ask(args, options)
        finally:
            if connection.lease:  # not where a collection, or a fork, came before
                pool.take_back(connection)
        callback = callback_for(self._callbacks, name)
        if callback is None:
            return reply
        value = callback(reply, **replies.without_reading(options))
        return value if type(value) in SETTLED else await settled(value)

    async def _send_command_parse_response(self, conn: Any, *args: Any, **options: Any) -> Any:
        holders.settle_up(conn)
        return await super()._send_command_parse_response(conn, *args, **options)
