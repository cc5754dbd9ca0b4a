"""The conversation for asyncio: commands out, replies in, and each of them in the books."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio import connection as base
from redis.client import NEVER_DECODE
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError, TimeoutError

from .. import packing
from ..bookkeeping import Bookkeeping
from ..figures import COMMANDS
from ..frames import clear_frames
from ..packing import Packed, pack_one
from ..replies import VALUES
from ..timekeeping import FOREVER
from ..wire import CLOSED
from .done import DONE, Done
from .line import Line


class AsyncConversation(Bookkeeping, base.AbstractConnection):
    """What a connection says and hears: mixed into redis-py's classes.

    It is led by the task that holds the connection, and refused to others. A task that is cancelled
    in it closes the line: the reply that it would have had is nobody else's.
    """

    _sock: Any = None
    _line: Line | None = None
    _reader: Any
    _writer: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open_books()
        super().__init__(*args, **kwargs)
        self._encodes_alike = packing.encodes_alike(self.encoder)

    def _limit(self, seconds: float | None) -> None:
        if self._line is not None:
            self._line.seconds = seconds

    def _take(self, line: Line) -> None:
        """Speak on `line` from now on."""
        self._parser.on_connect(self)
        line.read_with(self._parser, self._socket_read_size)
        # Only now: the parser would hold the line, which holds the parser.
        self._reader = self._writer = line  # what redis-py's classes ask for
        self._line, self._sock = line, line.sock
        line.seconds = self._within_deadline(self.socket_timeout)

    @property
    def is_connected(self) -> bool:
        """Whether there is a socket."""
        return self._line is not None

    def disconnect(self, *args: Any, **kwargs: Any) -> Done[None]:  # type: ignore[override]
        """Close the line at once; it needs no loop, and may be awaited."""
        self.ledger.stain()  # until the next session begins
        line = self._line
        self._line = self._sock = self._reader = self._writer = None
        if line is not None:
            line.close()
        self._parser.on_disconnect()
        return DONE

    def _close(self) -> None:
        self.disconnect()

    def __del__(self, *_: Any) -> None:
        # Without attributes where an interruption came before the constructor.
        if getattr(self, "_line", None) is not None:
            self.disconnect()

    # Commands

    def pack_command(self, *args: Any) -> Packed:
        return self.pack_commands((args,))

    def pack_commands(self, commands: Iterable[Any]) -> Packed:
        batch = list(commands)
        return Packed(packing.pack_all(map(self._encoded, batch)), batch)

    def _encoded(self, args: Sequence[Any]) -> Sequence[Any]:
        return args if self._encodes_alike else tuple(map(self.encoder.encode, args))

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        await self.send_packed_command(self.pack_command(*args))

    async def ask(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Send a plain command and read its reply: the two in one step.

        Args:
            args: the command, whose name is in `PLAIN`.
            options: redis-py's for it, such as ``NEVER_DECODE``.
        """
        line = self._line
        if line is None or self._deadline is not None or not self.lease:
            await self.send_command(*args)
            return await self.read_response(NEVER_DECODE in options)
        packed = pack_one(args if self._encodes_alike else self._encoded(args))  # type: ignore[arg-type]
        slot = self.slot
        if slot is not None:  # as _count, without the calls
            record = slot.record
            record.commands = commands = record.commands + 1
            record.cells[COMMANDS] = commands
        self.ledger.owed += 1
        try:
            sent = line.send_at_once(packed)
            if sent != len(packed):
                await line.send(packed, sent)
        except BaseException as error:
            self._sending_failed(error, unsent=True)
        try:
            reply = await line.read(NEVER_DECODE not in options)
        except BaseException as error:
            self._reading_failed(error, True)
            raise
        self.ledger.owed -= 1
        if type(reply) in VALUES:
            return reply
        box = [reply]
        del reply  # as in read_response
        return self._value_in(box, disconnect=True)

    async def ask_all(self, batch: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The same for several, or for a transaction; errors among the replies are values.

        Args:
            batch: commands whose names are in `PLAIN`, perhaps between MULTI and EXEC.
        """
        await self.send_packed_command(self.pack_commands(batch))
        return await self.read_responses(len(batch))

    async def send_packed_command(
        self, command: Any, check_health: bool = True, *, own: bool = False
    ) -> None:
        """Send a command, or several.

        Args:
            command: as `pack_commands` gives it, or packed by somebody else.
            check_health: redis-py's; means nothing here.
            own: whether the pool asks it for itself, so that it is no command of the application's.
        """
        if not self.lease:
            self._refuse()
        if self._line is None:
            await self._open_again()
        if not own:
            self._count(packing.number_of(command))
        self._book(command)
        try:
            await self._send(command)
        except BaseException as error:
            # Of several commands the first may have run.
            self._sending_failed(error, unsent=isinstance(command, Packed) and command.atomic)

    async def _send(self, command: Any) -> None:
        line = self._open_line()
        self._keep_to_deadline(line)
        if isinstance(command, str):
            command = command.encode()
        for chunk in (command,) if isinstance(command, bytes) else command:
            await line.send(chunk)

    async def _open_again(self) -> None:
        outer = sys.exception()
        try:
            await self.connect_check_health(check_health=False)
        except (ConnectionError, TimeoutError) as error:
            error.unsent = True  # type: ignore[union-attr]
            clear_frames(error, outer)
            raise

    # Replies

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Any:
        """The next reply.

        Args:
            disable_decoding: for bytes, whatever ``decode_responses`` says.
            timeout: seconds, after which None is given, and the line stays open; without it
                ``socket_timeout`` counts, and closes the line.
            disconnect_on_error: whether a broken line, or a cancellation, closes it.
            push_request: whether a push is asked for, such as a message of a subscription.
        """
        if not self.lease:
            self._refuse()
        if push_request:
            self.ledger.stain()  # what comes may be a reply or not; nobody can count on it
        try:
            reply = await self._read(not disable_decoding, timeout, bool(push_request))
        except BaseException as error:
            self._reading_failed(error, disconnect_on_error)
            raise
        if reply is NOT_ENOUGH_DATA:
            return None
        self._replied(1)
        if self.health_check_interval:
            self.next_health_check = monotonic() + self.health_check_interval
        if type(reply) in VALUES:
            return reply
        box = [reply]
        del reply  # an error that is raised would hold this frame, and the frame the error
        return self._value_in(box, disconnect_on_error)

    async def read_responses(self, count: int) -> list[Any]:
        """The replies to the last `count` commands; errors among them are values.

        Raises:
            redis.ConnectionError, redis.TimeoutError: not all came, or the server refuses to serve.
        """
        line = self._open_line()
        try:
            self._keep_to_deadline(line)
            replies = await line.read_many(count)
        except BaseException as error:
            self._reading_failed(error, disconnect=True)
            raise
        self._replied(count)
        if not VALUES.issuperset(map(type, replies)):
            self._look_for_refusals(replies)
        return replies

    def _open_line(self) -> Line:
        if self._line is None:
            raise ConnectionError(CLOSED)
        return self._line

    def _keep_to_deadline(self, line: Line) -> None:
        if self._deadline is not None and not self._stretched:
            line.seconds = self._within_deadline(self.socket_timeout)

    async def _read(self, decode: bool, timeout: float | None, want_push: bool) -> Any:
        """A reply, or a push where it is wanted; `NOT_ENOUGH_DATA` after `timeout`."""
        line = self._open_line()
        if timeout is None:
            self._keep_to_deadline(line)
            return await line.read(decode, want_push)
        if timeout <= 0:
            return await line.read_at_once(decode, want_push)
        before, line.seconds = line.seconds, None if timeout == FOREVER else timeout
        try:
            return await line.read(decode, want_push)
        except builtins.TimeoutError:
            return NOT_ENOUGH_DATA
        finally:
            line.seconds = before

    async def can_read(self, *_: Any, **__: Any) -> bool:
        """Whether something has come that nobody has read, be it the end of the line."""
        return self._line is None or not self._line.is_silent()

    can_read_destructive = can_read

    async def read_reply(self) -> Any:
        """The next reply, an error of the server as a value; the line stays open."""
        try:
            return await self.read_response(disconnect_on_error=False)
        except (ResponseError, AuthenticationError) as error:
            return error
