"""Lines: the two sockets of a proxied connection, and the bytes on their way between them."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE

CHUNK = 65536


class Pipe:
    """One direction of a line: what came from `source`, and when it is due at `target`."""

    def __init__(self, source: socket.socket | None, target: socket.socket | None) -> None:
        self.source = source
        self.target = target
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.left: int | None = None
        """How many bytes may still pass before the line is cut; None where it is not to be."""
        self.ended = False
        """Whether nothing more will come from the source."""
        self.full = False
        """Whether the target takes no more for the moment."""

    @property
    def done(self) -> bool:
        """Whether nothing more will come, and all that came was handed over."""
        return self.ended and not self.waiting

    def read(self) -> bytes:
        """What has come since the last look, if anything."""
        if self.source is None or self.ended:
            return b""
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.ended = not data
        return data

    def put(self, data: bytes, due: float) -> None:
        """Send `data` on its way; what lies beyond a cut is lost."""
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
            self.ended = not self.left
        if data:
            self.waiting.append((due, data))

    def deliver(self, now: float) -> int:
        """Hand over what is due; gives how many bytes that was."""
        delivered = 0
        self.full = False
        while self.waiting and self.waiting[0][0] <= now and not self.full:
            due, data = self.waiting.popleft()
            sent = self._send(data)
            delivered += sent
            if sent < len(data):
                self.waiting.appendleft((due, data[sent:]))
                self.full = True
        return delivered

    def _send(self, data: bytes) -> int:
        assert self.target is not None
        try:
            return self.target.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # nobody is there any more, which reading from there will tell


class Line:
    """One connection of a client, and the one to the server that belongs to it.

    Args:
        client: the socket that was accepted.
        server: the socket to the server; None where what the client says is to be lost.
    """

    def __init__(self, client: socket.socket, server: socket.socket | None) -> None:
        self.client = client
        self.server = server
        self.requests = Pipe(client, server)
        self.replies = Pipe(server, client)
        self.black = server is None
        """Whether all bytes are lost, both ways."""
        self.answered = False
        """Whether the client has got a first reply."""

    @property
    def dialling(self) -> bool:
        """Whether the client still waits for its first reply."""
        return not self.answered and not self.requests.ended

    @property
    def done(self) -> bool:
        """Whether one side has ended, and all that it had said was handed over."""
        return self.requests.done or (self.replies.done and not self.black)

    def interests(self) -> list[tuple[socket.socket, Pipe, int]]:
        """Each socket, the pipe that it feeds, and what is to be waited for there."""
        ways = (
            (self.client, self.requests, self.replies),
            (self.server, self.replies, self.requests),
        )
        return [
            (side, feeds, (not feeds.ended) * EVENT_READ | drains.full * EVENT_WRITE)
            for side, feeds, drains in ways
            if side is not None
        ]

    def lose_all(self) -> None:
        """Lose what is on its way, and all that will come."""
        self.black = True
        for pipe in (self.requests, self.replies):
            pipe.waiting.clear()

    def close(self) -> None:
        """End both connections in good order (FIN)."""
        for side, _, _ in self.interests():
            hang_up(side)

    def reset(self) -> None:
        """Reset the client's connection (RST), and end the server's."""
        reset(self.client)
        if self.server is not None:
            hang_up(self.server)


def hang_up(side: socket.socket) -> None:
    """Close with FIN, which goes out first: where something was unread, close() alone sends RST."""
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
    side.close()


def reset(side: socket.socket) -> None:
    """Close with RST."""
    reset_at_close(side)
    side.close()


def reset_at_close(side: socket.socket) -> None:
    """Have the kernel send RST when `side` is closed."""
    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
