"""The conversation with a server: commands out, replies in, and each of them in the books."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hiredis import pack_command
from redis import connection as base
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError, TimeoutError

from . import packing
from .bookkeeping import Bookkeeping
from .frames import clear_frames
from .packing import TEXTS, Packed, pack_one
from .replies import VALUES
from .timed_line import TimedLine
from .wire import Wire


class Conversation(Bookkeeping, TimedLine):
    """What a connection says and hears: mixed into redis-py's classes.

    It is led by whoever holds the connection, and refused to others.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open_books()
        super().__init__(*args, **kwargs)
        self._fast_packer = packing.is_fast(self._command_packer)

    # Commands

    def pack_command(self, *args: Any) -> Packed:
        return self.pack_commands((args,))

    def pack_commands(self, commands: Iterable[Sequence[Any]]) -> Packed:
        batch = list(commands)
        if self._fast_packer:
            return Packed(packing.pack_all(batch), batch)
        return Packed(super().pack_commands(map(packing.as_texts, batch)), batch)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        self.send_packed_command(self.pack_command(*args), kwargs.get("check_health", True))

    def ask(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Send a plain command and read its reply: the two in one step, where that is possible.

        Args:
            args: the command, whose name is in `PLAIN`.
            options: redis-py's for it, such as ``NEVER_DECODE``.
        """
        # Looked up before the lease is: what a new holder opens later is not for this command.
        wire, decode = self.express, NEVER_DECODE not in options
        if wire is not None and self._deadline is None and self.lease:
            self._count(1)
            return self.ask_at_once(wire, args, decode)
        self.send_command(*args, **options)
        return self.read_response(not decode)

    def ask_at_once(self, wire: Wire, args: tuple[Any, ...], decode: bool) -> Any:
        """The same where it is known to be possible; `wire` was this connection's `express`."""
        # Most commands have one argument, which is text; that their name is one is known.
        short = len(args) == 2 and type(args[1]) in TEXTS
        packed = pack_command(args) if short else pack_one(args)
        self.ledger.owed += 1
        try:
            wire.send(packed)
        except BaseException as error:
            self._sending_failed(error, unsent=True)
        try:
            reply = wire.answer(decode)
        except BaseException as error:
            self._reading_failed(error, True)
            raise
        self.ledger.owed -= 1
        if type(reply) in VALUES:
            return reply
        box = [reply]
        del reply  # as in read_response
        return self._value_in(box, disconnect=True)

    def ask_all(self, batch: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The same for several, or for a transaction; errors among the replies are values.

        Args:
            batch: commands whose names are in `PLAIN`, perhaps between MULTI and EXEC.
        """
        wire = self.express
        if wire is None or self._deadline is not None or not self.lease:
            self.send_packed_command(self.pack_commands(batch))
            return self.read_responses(len(batch))
        chunks = packing.pack_plain(batch)
        self._count(len(batch))
        self.ledger.owed += len(batch)
        try:
            for chunk in chunks:
                wire.send(chunk)
        except BaseException as error:
            self._sending_failed(error, unsent=packing.is_atomic(batch))
        return self.read_responses(len(batch))

    def send_packed_command(
        self, command: Any, check_health: bool = True, *, own: bool = False
    ) -> None:
        """Send a command, or several.

        Args:
            command: as `pack_commands` gives it, or packed by somebody else.
            check_health: redis-py's; means something where its own code sends.
            own: whether the pool asks it for itself, so that it is no command of the application's.
        """
        if not self.lease:
            self._refuse()
        if self._sock is None:
            # Here, and not in redis-py's method below: the handshake makes its own entries.
            self._open_again()
        if not own:
            self._count(packing.number_of(command))
        self._book(command)
        try:
            self._send(command, check_health)
        except BaseException as error:
            # Of several commands the first may have run.
            self._sending_failed(error, unsent=isinstance(command, Packed) and command.atomic)

    def _send(self, command: Any, check_health: bool) -> None:
        wire = self._wire
        if wire is None:
            super().send_packed_command(command, check_health)
            return
        for chunk in (command,) if isinstance(command, str) else command:
            wire.send(chunk)

    def _open_again(self) -> None:
        outer = sys.exception()
        try:
            self.connect_check_health(check_health=False)
        except (ConnectionError, TimeoutError) as error:
            error.unsent = True  # type: ignore[union-attr]
            clear_frames(error, outer)
            raise

    # Replies

    def read_response(
        self, disable_decoding: bool = False, *, disconnect_on_error: bool = True, **others: Any
    ) -> Any:
        wire = self._wire
        if others or wire is None or not self.lease:
            others["disconnect_on_error"] = disconnect_on_error
            return self._read_as_redis_py(disable_decoding, others)
        if self._deadline is not None and not self._stretched:
            wire.limit(self._within_deadline(self.socket_timeout))
        try:
            reply = wire.read(not disable_decoding)
        except BaseException as error:
            self._reading_failed(error, disconnect_on_error)
            raise
        self._replied(1)
        if type(reply) in VALUES:
            return reply
        box = [reply]
        del reply  # an error that is raised would hold this frame, and the frame the error
        return self._value_in(box, disconnect_on_error)

    def read_responses(self, count: int) -> list[Any]:
        """The replies to the last `count` commands; errors among them are values.

        Raises:
            redis.ConnectionError, redis.TimeoutError: not all came, or the server refuses to serve.
        """
        if self._wire is None or self._deadline is not None:
            return [self._response_or_error() for _ in range(count)]
        try:
            replies, plain = self._wire.read_many(count)
        except BaseException as error:
            self._reading_failed(error, disconnect=True)
            raise
        self._replied(count)
        if not plain:
            self._look_for_refusals(replies)
        return replies

    def _response_or_error(self) -> Any:
        try:
            return self.read_response()
        except ResponseError as error:
            return error

    def _read_as_redis_py(self, disable_decoding: bool, others: dict[str, Any]) -> Any:
        """Let redis-py read: with its own parser, or for a subscription."""
        if not self.lease:
            self._refuse()
        self._unwire()
        if self._deadline is not None and not self._stretched:
            self._limit(self._within_deadline(self.socket_timeout))
        if others.get("push_request"):
            self.ledger.stain()  # what comes may be a reply or not; nobody can count on it
            if not reads_with_a_timeout():
                self._wait_for_messages()
        try:
            response = super().read_response(disable_decoding, **others)
        except ResponseError as error:
            self._replied(1)
            if isinstance(error, ReadOnlyError):
                self.ledger.refused_write()
            raise
        self._replied(1)
        return response


@functools.cache
def reads_with_a_timeout() -> bool:
    """Whether redis-py, from 8 on, says how long it wants to wait for a message."""
    return "timeout" in inspect.signature(base.AbstractConnection.read_response).parameters
