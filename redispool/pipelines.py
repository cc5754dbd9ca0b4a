"""Pipelines: commands that are queued here, sent together, and answered together."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis import client as base
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.exceptions import (
    ConnectionError,
    RedisError,
    TimeoutError,
)

from . import holders, replies, retries, scopes, telemetry
from .callbacks import Callbacks
from .frames import clear_frames
from .transactions import conclude, is_plain

EXECUTE = telemetry.unwrapped(base.Pipeline, "execute")

PIPELINE = "the pipeline"
"""How errors call it."""


class Pipeline(Callbacks, base.Pipeline):
    """redis-py's pipeline; while it watches keys its connection belongs to the scope."""

    connection: Any
    connection_pool: Any
    transaction: Any
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

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command at once, because keys are watched."""
        holders.go_on(self)
        holding = self.connection is not None
        try:
            return super().immediate_execute_command(*args, **options)
        finally:
            if not holding:
                holders.took_connection(self)
            holders.note_watch(self)

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the queued commands together and give their replies."""
        holders.go_on(self)
        scope, count, started = scopes.current(), len(self.command_stack), monotonic()
        outer = sys.exception()
        try:
            if is_plain(self):
                if base.Pipeline.execute is EXECUTE:
                    return self._execute_safely(raise_on_error, started)
                return self._execute_traced(raise_on_error, started)
            found: list[Any] = super().execute(raise_on_error)
            return found
        except RedisError as error:
            clear_frames(error, outer)  # of raise_first_error
            if isinstance(error, ConnectionError | TimeoutError):
                retries.warn_in_message(error, PIPELINE, one=False)
            raise
        finally:
            if scope is not None:
                scope.note(monotonic() - started, count)

    def reset(self) -> None:  # type: ignore[override]  # redis-py's own contradiction
        """Forget what is queued, stop watching and give the connection back."""
        self._special = False
        holders.end(self, super().reset)
        self.watching = False

    def give_back(self) -> bool:
        """Stop watching and give the connection back; whether there was one."""
        return holders.give_back(self)

    def _execute_safely(self, raise_on_error: bool, started: float) -> list[Any]:
        """Run all of it; send it again only where that cannot run anything twice."""
        commands, pool, attempt = self.command_stack, self.connection_pool, 0
        run = self._transact if self.transaction or self.explicit_transaction else self._send_all
        try:
            while True:
                connection = pool.acquire()
                try:
                    found = run(connection, commands)
                    break
                except (ConnectionError, TimeoutError) as error:
                    batch = [args for args, _ in commands]
                    tries = retries.Tries(self.connection_pool, batch, started, PIPELINE)
                    pause = tries.pause(error, attempt)
                    if pause is None:
                        raise
                finally:
                    pool.release(connection)
                time.sleep(pause)
                attempt, pool = attempt + 1, tries.rest_of_the_pool()
        finally:
            self.reset()
        if raise_on_error and not replies.VALUES.issuperset(map(type, found)):
            self.raise_first_error(commands, found)
        return list(replies.all_converted(found, self._callbacks, commands))

    def _execute_traced(self, raise_on_error: bool, started: float) -> list[Any]:
        """The same by redis-py's method, which a tracer has wrapped."""
        commands, pool, attempt = self.command_stack, self.connection_pool, 0
        explicit = self.explicit_transaction
        try:
            while True:
                try:
                    found: list[Any] = super().execute(raise_on_error)
                    return found
                except (ConnectionError, TimeoutError) as error:
                    batch = [args for args, _ in commands]
                    tries = retries.Tries(pool, batch, started, PIPELINE)
                    pause = tries.pause(error, attempt)
                    if pause is None:
                        raise
                time.sleep(pause)
                attempt += 1
                self.command_stack, self.explicit_transaction = commands, explicit
                self.connection_pool = tries.rest_of_the_pool()
        finally:
            self.connection_pool = pool

    def _send_all(self, connection: Any, commands: Sequence[replies.Command]) -> list[Any]:
        found: list[Any] = connection.ask_all([args for args, _ in commands])
        return found

    def _transact(self, connection: Any, commands: Sequence[replies.Command]) -> list[Any]:
        """The replies to `commands` between MULTI and EXEC.

        Raises:
            redis.WatchError: a key that is watched has changed.
            redis.ResponseError: the server refused one of the commands, and ran none.
        """
        batch = [("MULTI",), *(args for args, _ in commands), ("EXEC",)]
        return conclude(self, connection, commands, connection.ask_all(batch))
