"""The line: an open socket that belongs to no event loop, and the reader of its replies."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import weakref
from asyncio import get_running_loop
from collections.abc import Callable
from time import monotonic
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ConnectionError

from ..timekeeping import FOREVER
from ..wire import CLOSED
from .watch import READ, WRITE, Watch, watches

PUSH: Any = hiredis.PushNotification
FULL = (BlockingIOError, InterruptedError)
TRY_AGAIN_IN = 0.005
"""Seconds until a unix socket is asked again whose server has as many in its queue as it takes."""
RECORD = 16 * 1024
"""Bytes that TLS sends in one record, at most."""


class Line:
    """Sends bytes and reads replies for the only holder of a connection, from any loop and thread.

    Args:
        sock: not blocking; the line closes it.
    """

    __slots__ = (
        "_buffer",
        "_feed",
        "_more",
        "closed",
        "fd",
        "gets",
        "has_data",
        "seconds",
        "sock",
        "take_push",
        "watch",
    )

    looks_first = False
    """Whether bytes may have come, and be kept by the socket itself, when it is waited for."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.fd: int = sock.fileno()
        self.closed = False
        """Whether nobody can wait for it any more."""
        self.watch: weakref.ref[Watch] | None = None
        """Where the socket is registered; the watch may be gone with its loop."""
        self.seconds: float | None = None
        """The time limit of a send or a receive; None for none."""
        self._more = self.looks_first
        """Whether something may be there without the system saying so."""

    def read_with(self, parser: Any, size: int) -> None:
        """Let redis-py's `parser` for hiredis make replies of what comes, in pieces of `size`."""
        reader = parser._reader
        self.gets, self._feed, self.has_data = reader.gets, reader.feed, reader.has_data
        self.take_push = parser.handle_push_response
        self._buffer = bytearray(size)

    @property
    def may_have_more(self) -> bool:
        """Whether something may have come that the system says nothing of."""
        return self._more

    async def connect(self, address: Any) -> None:
        """Connect to `address`, within the time limit.

        Raises:
            OSError, TimeoutError: it cannot be reached.
        """
        deadline = FOREVER if self.seconds is None else monotonic() + self.seconds
        while (error := self.sock.connect_ex(address)) == errno.EAGAIN:
            if monotonic() >= deadline:
                raise TimeoutError
            await asyncio.sleep(TRY_AGAIN_IN)
        if error == errno.EINPROGRESS:
            await self.wait(WRITE)
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def until(self, event: int, seconds: float | None) -> asyncio.Future[bool]:
        """A future that is true as soon as the socket can be read or written, as `event` says."""
        loop = get_running_loop()
        return watches.of(loop).arm(self, event, loop, seconds)

    async def wait(self, event: int) -> None:
        """Wait for `event`, within the time limit.

        Raises:
            TimeoutError: it did not come.
        """
        if not await self.until(event, self.seconds):
            raise TimeoutError

    def send_at_once(self, data: bytes | memoryview) -> int:
        """Send what the system takes now, or a part of it; gives how many bytes, 0 for none."""
        try:
            sent: int = self.sock.send(data)
            return sent
        except FULL:
            return 0

    async def send(self, data: bytes, sent: int = 0) -> None:
        """Send all of it, of which `sent` bytes have gone already.

        Raises:
            OSError, TimeoutError: the line broke, or the server takes nothing for too long.
        """
        view = memoryview(data)
        while sent < len(data):
            gone = self.send_at_once(view[sent:])
            sent += gone
            if not gone:
                await self.wait(WRITE)

    async def read(self, decode: bool = True, want_push: bool = False) -> Any:
        """The next reply, as hiredis gives it: an error is a value.

        Args:
            decode: False for bytes, whatever ``decode_responses`` says.
            want_push: whether a push that comes is given too, such as a message.

        Raises:
            redis.ConnectionError: the server closed the line. OSError, TimeoutError: it broke, or
                took too long.
        """
        gets = self.gets
        while True:
            reply = gets(decode)
            while reply is NOT_ENOUGH_DATA:
                # Nothing is looked for before: a reply is never there yet.
                if not self._more and not await self.until(READ, self.seconds):
                    raise TimeoutError
                self.receive()
                reply = gets(decode)
            if type(reply) is not PUSH:
                return reply
            told = await self.take_push(reply)
            if want_push:
                return told

    async def read_many(self, count: int) -> list[Any]:
        """The next `count` replies; errors as of `read`."""
        gets, replies = self.gets, []
        for _ in range(count):
            reply = gets()
            if reply is NOT_ENOUGH_DATA:
                reply = await self.read()
            elif type(reply) is PUSH:
                await self.take_push(reply)
                reply = await self.read()
            replies.append(reply)
        return replies

    async def read_at_once(self, decode: bool = True, want_push: bool = False) -> Any:
        """The same, for what has come already; `NOT_ENOUGH_DATA` where nothing has."""
        reply = self.gets(decode)
        if reply is NOT_ENOUGH_DATA and self.receive():
            reply = self.gets(decode)
        if type(reply) is not PUSH:
            return reply
        told = await self.take_push(reply)
        return told if want_push else await self.read_at_once(decode)

    def receive(self) -> bool:
        """Hand what has come to the reader; False where nothing has.

        Raises:
            redis.ConnectionError: the server closed the line. OSError: it broke.
        """
        buffer = self._buffer
        try:
            count = self.sock.recv_into(buffer)
        except FULL:
            self._more = False
            return False
        if not count:
            raise ConnectionError(CLOSED)
        self._more = count == len(buffer)
        self._feed(buffer, 0, count)
        return True

    def is_silent(self) -> bool:
        """Whether nothing waits to be read, be it the end."""
        if self.has_data():
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except FULL:
            return True
        return False

    def close(self) -> None:
        """Close the socket, and wake who waits for it. Needs no loop; from any thread."""
        self.closed = True  # first: see Watch.arm
        watch = self.leave_watch()
        if watch is not None:
            watch.forget(self.fd)
        self.sock.close()  # last: the number may be another's from now on

    def leave_watch(self) -> Watch | None:
        """Be registered nowhere; gives where it was, if that is still there."""
        watch = self.watch() if self.watch is not None else None
        self.watch = None
        if watch is not None:
            watch.leave(self)
        return watch

    def leave_to_parent(self) -> None:
        """In a forked child: close this process' copy, and touch nothing that is shared."""
        self.watch = None
        self.sock.close()


class TLSLine(Line):
    """The same with TLS: bytes may have come, and be decrypted, without the system saying so."""

    __slots__ = ("_instead",)
    looks_first = True

    @classmethod
    async def over(cls, line: Line, context: ssl.SSLContext, host: str) -> TLSLine:
        """Begin TLS on `line`, whose place the new one takes.

        Raises:
            OSError, TimeoutError: the server does not, or has no certificate that is trusted.
        """
        sock = context.wrap_socket(line.sock, server_hostname=host, do_handshake_on_connect=False)
        own = cls(sock)
        own.watch, own.seconds = line.watch, line.seconds
        try:
            while not own._takes(sock.do_handshake):
                await own.wait(READ)
        except BaseException:
            own.close()
            raise
        return own

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._instead = 0
        """What TLS has to wait for where we would wait for something else."""

    def until(self, event: int, seconds: float | None) -> asyncio.Future[bool]:
        event, self._instead = self._instead or event, 0
        return super().until(event, seconds)

    def send_at_once(self, data: bytes | memoryview) -> int:
        # A record at a time: of one that has not gone whole, the server can read nothing. Of
        # several TLS says that none has gone, where the server may have the first.
        sent = [0]
        self._takes(lambda: sent.append(self.sock.send(data[:RECORD])))
        return sent[-1]

    def receive(self) -> bool:
        try:
            self._more = self._takes(super().receive)
        except ssl.SSLZeroReturnError:
            raise ConnectionError(CLOSED) from None
        return self._more

    def is_silent(self) -> bool:
        # The tickets of TLS 1.3 make an idle socket readable: only reading tells.
        return not (self.has_data() or self.receive())

    def _takes(self, step: Callable[[], Any]) -> bool:
        """Whether `step` was taken; else something has to be waited for first."""
        try:
            step()
        except ssl.SSLWantReadError:
            self._instead = READ
        except ssl.SSLWantWriteError:
            self._instead = WRITE
        else:
            return True
        return False
