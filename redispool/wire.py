"""The wire: an open socket and the reader of its replies, at the cost of the system calls alone.

redis-py's parser wakes the socket up twice as often: CPython polls a socket that has a time-out
before it sends and before it receives, and gives the GIL away each time. Here the kernel keeps the
time (``SO_RCVTIMEO``), where the socket is a plain one; then a command is one send and one receive.
"""

from __future__ import annotations

import _socket
import select
import socket
import struct
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ConnectionError

from .replies import VALUES

CLOSED = "Connection closed by server."
"""redis-py's words."""
CLOSED_HERE = "This process closed the connection while a command was using it."
CUT = "The pool was closed, and did not wait any longer for this connection (close(timeout=…))."

KERNEL_KEEPS_TIME = sys.platform == "linux"

TIME_LIMITS = socket.SO_RCVTIMEO, socket.SO_SNDTIMEO

MICROSECOND = 1e-6


class QuietSocket(socket.socket):
    """A socket that its connection closes, and that says nothing where it is found first.

    The last collection of the interpreter takes the two in any order.
    """

    __slots__ = ()

    def __del__(self) -> None:
        self.close()


def quiet(sock: Any) -> Any:
    """The same socket as a quiet one, where it is of the class that the quiet one extends."""
    if type(sock) is QuietSocket.__base__:  # gevent may have put its own in place since
        sock.__class__ = QuietSocket
    return sock


class Wire:
    """Sends bytes and reads replies for the only holder of a connection.

    Args:
        sock: connected.
        parser: redis-py's for hiredis; it has the reader, and knows what to do with a push.
        seconds: the time limit of a send or a receive; None for none.
    """

    __slots__ = (
        "_buffer",
        "_feed",
        "_gets",
        "_has_data",
        "_plain",
        "_push",
        "_receive",
        "_sock",
        "parts",
        "send",
        "take_push",
    )

    def __init__(self, sock: Any, parser: Any, seconds: float | None) -> None:
        reader = parser._reader
        self._sock = sock
        self._buffer = parser._buffer
        self._gets, self._feed, self._has_data = reader.gets, reader.feed, reader.has_data
        self._receive = sock.recv_into
        self._push, self.take_push = hiredis.PushNotification, parser.handle_push_response
        self._plain = KERNEL_KEEPS_TIME and is_plain(sock)
        self.send = sock.sendall
        self.parts = self.send, self._receive, self._buffer, self._feed, self._gets
        """What a send and an `answer` are made of, for who cannot afford the calls."""
        if self._plain:
            sock.settimeout(None)
        self.limit(seconds)

    def limit(self, seconds: float | None) -> None:
        """Let no send and no receive take longer than `seconds`; None lifts the limit.

        They end in ``BlockingIOError`` or ``TimeoutError`` then.
        """
        if not self._plain:
            self._sock.settimeout(seconds)
            return
        time = struct.pack("ll", *in_kernel_time(seconds))
        for option in TIME_LIMITS:
            self._sock.setsockopt(socket.SOL_SOCKET, option, time)

    def read(self, decode: bool = True) -> Any:
        """The next reply, as hiredis gives it: an error is a value.

        Args:
            decode: False for bytes, whatever ``decode_responses`` says.

        Raises:
            redis.ConnectionError: the server closed the line. OSError: it broke, or took too long.
        """
        gets = self._gets
        while True:
            reply = gets(decode)
            while reply is NOT_ENOUGH_DATA:
                self._wait()
                reply = gets(decode)
            if type(reply) is not self._push:
                return reply
            self.take_push(reply)

    def answer(self, decode: bool = True) -> Any:
        """What `read` gives, where it cannot be here yet: to a command that was sent just now.

        Nothing else is owed, so that the first look, which finds nothing, can be spared.
        """
        # As in _wait, without the call.
        count = self._receive(self._buffer)
        if not count:
            raise ConnectionError(CLOSED)
        self._feed(self._buffer, 0, count)
        return self.whole(self._gets(decode), decode)

    def whole(self, reply: Any, decode: bool = True) -> Any:
        """`reply`; the one after it where it is a push, or one that has not come whole yet."""
        if type(reply) is self._push:
            self.take_push(reply)
            return self.read(decode)
        return self.read(decode) if reply is NOT_ENOUGH_DATA else reply

    def read_many(self, count: int) -> tuple[list[Any], bool]:
        """The next `count` replies, and whether all are of `VALUES`; errors as of `read`."""
        replies: list[Any] = []
        plain = True
        while True:
            # At the speed of C, for they are many.
            come = list(islice(iter(self._gets, NOT_ENOUGH_DATA), count - len(replies)))
            if VALUES.issuperset(map(type, come)):
                replies += come
            else:
                replies += self._without_pushes(come)
                plain = False
            if len(replies) == count:
                return replies, plain
            if not come:
                self._wait()

    def _without_pushes(self, come: list[Any]) -> Iterator[Any]:
        for reply in come:
            if type(reply) is self._push:
                self.take_push(reply)
            else:
                yield reply

    def hear(self) -> bool:
        """Take one push that has begun to come; False where it is something else."""
        reply = self._gets()
        while reply is NOT_ENOUGH_DATA:
            self._wait()
            reply = self._gets()
        if type(reply) is not self._push:
            return False
        self.take_push(reply)
        return True

    def _wait(self) -> None:
        """Wait for bytes, and hand them to the reader."""
        count = self._receive(self._buffer)
        if not count:
            raise ConnectionError(CLOSED)
        self._feed(self._buffer, 0, count)

    def is_silent(self) -> bool | None:
        """Whether nothing waits to be read, be it the end; None where that cannot be told here."""
        if not self._plain:
            return None
        if self._has_data():
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)


def is_plain(sock: Any) -> bool:
    """Whether `sock` does what the operating system does: it is none of TLS or of gevent."""
    kind = type(sock)
    return (
        isinstance(sock, _socket.socket)
        and kind.recv_into is _socket.socket.recv_into
        and kind.sendall is _socket.socket.sendall
    )


def in_kernel_time(seconds: float | None) -> tuple[int, int]:
    """A time limit as ``struct timeval``; zero is none there, so the least is a microsecond."""
    if seconds is None:
        return 0, 0
    whole, rest = divmod(max(seconds, MICROSECOND), 1)
    return int(whole), int(rest / MICROSECOND)
