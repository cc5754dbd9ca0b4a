"""Pipelines: commands that are queued here, sent together, and answered together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis import client as base
from redis.exceptions import (
    ConnectionError,
    ExecAbortError,
    RedisError,
    ResponseError,
    TimeoutError,
    WatchError,
)

from . import holders, replies, retries, scopes, telemetry
from .callbacks import Callbacks
from .frames import clear_frames
from .ledger import PLAIN

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
        if replies.are_special(options):
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
        try:
            if self._is_plain():
                return self._execute_safely(raise_on_error, started)
            found: list[Any] = super().execute(raise_on_error)
            return found
        except RedisError as error:
            clear_frames(error)  # of raise_first_error
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

    def _is_plain(self) -> bool:
        """Whether nothing needs redis-py's own way.

        That is for pipelines that watch, for scripts, for commands that leave state or block, and
        for pools of other kinds.
        """
        if self._special or self.scripts or self.connection is not None or self.watching:
            return False
        mode = getattr(self.connection_pool, "retry_mode", "")
        if mode not in retries.MODES or telemetry.is_on():
            return False
        names = {args[0] for args, _ in self.command_stack}
        return bool(names) and names <= PLAIN

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
        return replies.all_converted(found, self._callbacks, commands)

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
        begun, *queued, found = connection.ask_all(batch)
        refused = [(index, each) for index, each in enumerate(queued) if is_error(each)]
        for index, _ in refused:
            self.annotate_exception(queued[index], index + 1, commands[index][0])
        if is_error(begun):
            refused.insert(0, (0, begun))
        if is_error(found):
            if not isinstance(found, ExecAbortError):
                connection.ledger.stain()  # it may not have ended
            told = refused[0][1] if refused and isinstance(found, ExecAbortError) else found
            box = [told]
            del begun, queued, refused, found, told
            raise box.pop()  # no name for it here: it would hold this frame, the frame the line
        if found is None:
            raise WatchError("Watched variable changed.")
        for index, each in refused:
            found.insert(index, each)
        if len(found) != len(commands):
            connection.disconnect()
            raise ResponseError("Wrong number of response items from pipeline execution")
        return list(found)


def is_error(reply: Any) -> bool:
    """Whether a reply is an error."""
    return isinstance(reply, Exception)
