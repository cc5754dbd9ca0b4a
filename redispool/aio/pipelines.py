"""Pipelines for asyncio: commands that are queued here, sent together, and answered together."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis.asyncio import client as base
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from .. import replies, retries, scopes, telemetry
from ..callbacks import Callbacks
from ..frames import clear_frames
from ..holders import go_on, note_watch
from ..pipelines import PIPELINE
from ..replies import VALUES
from ..transactions import conclude, is_plain
from . import holders
from .done import SETTLED, settled
from .remaining import AsyncRemaining

EXECUTE = telemetry.unwrapped(base.Pipeline, "execute")


class AsyncPipeline(Callbacks, base.Pipeline):  # type: ignore[misc]  # redis-py's own
    """redis-py's pipeline; while it watches keys its connection belongs to the scope."""

    connection: Any
    connection_pool: Any
    command_stack: Any
    scope: scopes.Scope | None = None
    _special = False
    """Whether a reply is to be read in another way than most."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Queue a command; while keys are watched, run it at once."""
        if (self.watching or args[0] == "WATCH") and not self.explicit_transaction:
            return self.immediate_execute_command(*args, **options)
        if NEVER_DECODE in options or EMPTY_RESPONSE in options:
            self._special = True
        self.command_stack.append((args, options))
        return self

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command at once, because keys are watched."""
        go_on(self)  # type: ignore[arg-type]
        holding = self.connection is not None
        try:
            return await super().immediate_execute_command(*args, **options)
        finally:
            if not holding:
                holders.took_connection(self)
            note_watch(self)  # type: ignore[arg-type]

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the queued commands together and give their replies."""
        go_on(self)  # type: ignore[arg-type]
        scope, count, started = scopes.current(), len(self.command_stack), monotonic()
        outer = sys.exception()
        try:
            if is_plain(self):
                if base.Pipeline.execute is EXECUTE:
                    return await self._execute_safely(raise_on_error, started)
                return await self._execute_traced(raise_on_error, started)
            found: list[Any] = await super().execute(raise_on_error)
            return found
        except RedisError as error:
            clear_frames(error, outer)  # of raise_first_error
            if isinstance(error, ConnectionError | TimeoutError):
                retries.warn_in_message(error, PIPELINE, one=False)
            raise
        finally:
            if scope is not None:
                scope.note(monotonic() - started, count)

    async def reset(self) -> None:  # type: ignore[override]  # redis-py's own contradiction
        """Forget what is queued, stop watching and give the connection back."""
        connection = self.connection
        try:
            if (
                self.watching
                and connection is not None
                and not getattr(connection, "forked", False)
                and not isinstance(sys.exception(), GeneratorExit)  # nobody waits any more
            ):
                # What fails here, or is cancelled, closes the line, and so ends the watch too.
                with contextlib.suppress(ConnectionError, TimeoutError):
                    await connection.send_command("UNWATCH")
                    await connection.read_response()
        finally:
            self._end()

    def give_back(self) -> bool:
        """Give the connection back; whether there was one.

        Needs no loop: nothing is sent, and a line on which keys are watched is closed by the pool.
        """
        return self._end()

    def _end(self) -> bool:
        connection, self.connection = self.connection, None
        self.command_stack, self.scripts = [], set()
        self.watching = self.explicit_transaction = self._special = False
        holders.let_go(self)
        if connection is None or getattr(connection, "forked", False):
            return False
        return holders.hand_back(self.connection_pool, connection)

    async def _execute_safely(self, raise_on_error: bool, started: float) -> list[Any]:
        """Run all of it; send it again only where that cannot run anything twice."""
        commands, pool, attempt = self.command_stack, self.connection_pool, 0
        together = self.is_transaction or self.explicit_transaction
        run = self._transact if together else self._send_all
        try:
            while True:
                connection = pool.at_once() or await pool.acquire()
                try:
                    found = await run(connection, commands)
                    break
                except (ConnectionError, TimeoutError) as error:
                    batch = [args for args, _ in commands]
                    tries = retries.Tries(self.connection_pool, batch, started, PIPELINE)
                    pause = tries.pause(error, attempt)
                    if pause is None:
                        raise
                finally:
                    if connection.lease:  # not where a collection, or a fork, came before
                        pool.take_back(connection)
                await asyncio.sleep(pause)
                attempt, pool = attempt + 1, AsyncRemaining(self.connection_pool, tries)
        finally:
            self._end()
        if raise_on_error and not VALUES.issuperset(map(type, found)):
            self.raise_first_error(commands, found)
        values = replies.all_converted(found, self._callbacks, commands)
        if values is found:
            return found  # nothing was converted
        return [value if type(value) in SETTLED else await settled(value) for value in values]

    async def _execute_traced(self, raise_on_error: bool, started: float) -> list[Any]:
        """The same by redis-py's method, which a tracer has wrapped."""
        commands, pool, attempt = self.command_stack, self.connection_pool, 0
        explicit = self.explicit_transaction
        try:
            while True:
                try:
                    found: list[Any] = await super().execute(raise_on_error)
                    return found
                except (ConnectionError, TimeoutError) as error:
                    batch = [args for args, _ in commands]
                    tries = retries.Tries(pool, batch, started, PIPELINE)
                    pause = tries.pause(error, attempt)
                    if pause is None:
                        raise
                await asyncio.sleep(pause)
                attempt += 1
                self.command_stack, self.explicit_transaction = commands, explicit
                self.connection_pool = AsyncRemaining(pool, tries)
        finally:
            self.connection_pool = pool

    async def _send_all(self, connection: Any, commands: Sequence[replies.Command]) -> list[Any]:
        found: list[Any] = await connection.ask_all([args for args, _ in commands])
        return found

    async def _transact(self, connection: Any, commands: Sequence[replies.Command]) -> list[Any]:
        """The replies to `commands` between MULTI and EXEC; errors as of `conclude`."""
        batch = [("MULTI",), *(args for args, _ in commands), ("EXEC",)]
        return conclude(self, connection, commands, await connection.ask_all(batch))

    def __del__(self, *_: Any) -> None:
        """Nothing: a connection that it holds says so itself."""
