"""ScriptedServer: a server that answers as told: late, wrongly, or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

from .lines import CHUNK, reset_at_close

__all__ = ["BLACK_HOLE", "DROP", "HANG", "RESET", "Answer", "ScriptedServer"]

HANG = object()
"""Run the command and never answer it; those after it are answered."""
BLACK_HOLE = object()
"""Never answer again on this connection, and keep it open."""
DROP = object()
"""Run the command and close the connection in place of an answer."""
RESET = object()
"""Run the command and reset the connection in place of an answer."""

Step: TypeAlias = "bytes | object | Callable[[], bytes | object]"
"""Bytes to send, one of the above, or a function that gives either (it may wait)."""
Answer: TypeAlias = "Step | tuple[Step, ...]"
"""A step, or several: ``(b"$5\\r\\nva", DROP)`` is half a reply, ``(b"+OK\\r\\n",) * 2`` one too
many, and ``(event.wait, b"+OK\\r\\n")`` is withheld until ``event.set()``."""

KNOWN: dict[str, Answer] = {
    "AUTH": b"+OK\r\n",
    "CLIENT": b"+OK\r\n",
    "SELECT": b"+OK\r\n",
    "PING": b"+PONG\r\n",
    "HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n",
    "MULTI": b"+OK\r\n",
    "SET": b"+OK\r\n",
    "GET": b"$5\r\nvalue\r\n",
    "INCR": b":1\r\n",
    "INCRBY": b":1\r\n",
    "EVAL": b":1\r\n",
}


class ScriptedServer:
    """A context manager; while it is open, it listens on ``127.0.0.1:port``.

    Without an order it answers the handshake and a few commands as a server does.

    Args:
        port: where to listen; any free port where it is not given.
    """

    host = "127.0.0.1"

    def __init__(self, port: int = 0) -> None:
        self.received: Counter[str] = Counter()
        """How often each command came, whatever was answered."""
        self._orders: dict[str, deque[Answer]] = defaultdict(deque)
        self._always: dict[str, Answer] = dict(KNOWN)
        self._listener = socket.create_server((self.host, port))
        self.port: int = self._listener.getsockname()[1]
        self._lines: list[socket.socket] = []
        self._counting = threading.Lock()
        self._closed = False

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://{self.host}:{self.port}/0"

    def answer(self, command: str, *answers: Answer) -> None:
        """Answer the next `command` with the first of `answers`, and so on; then as always."""
        self._orders[command].extend(answers)

    def always(self, command: str, answer: Answer) -> None:
        """Answer every `command` so, unless `answer` ordered otherwise."""
        self._always[command] = answer

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return len(self._lines)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        self.hang_up()
        # accept() would sleep on after close() alone.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def hang_up(self) -> None:
        """Close all connections from this side."""
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, line.makefile("rb") as stream, contextlib.suppress(OSError):
            while (command := read_command(stream)) and self._reply(line, command):
                pass

    def _reply(self, line: socket.socket, command: list[bytes]) -> bool:
        """Answer `command`; False where that ends the connection."""
        name = command[0].decode().upper()
        with self._counting:
            self.received[name] += 1
        orders = self._orders[name]
        answer = orders.popleft() if orders else self._always.get(name, b"-ERR unknown\r\n")
        steps = answer if isinstance(answer, tuple) else (answer,)
        return all(do(step, line) for step in steps)


def do(step: Step, line: socket.socket) -> bool:
    """Take one step of an answer; False where it ends the connection."""
    if callable(step):
        step = step()
    if isinstance(step, bytes):
        line.sendall(step)
    elif step is RESET:
        reset_at_close(line)
    elif step is BLACK_HOLE:
        while line.recv(CHUNK):
            pass
    return step not in (DROP, RESET)


def read_command(stream: BinaryIO) -> list[bytes]:
    """One command of a client; empty at the end of the stream."""
    head = stream.readline()
    if not head.startswith(b"*"):
        return []
    words = []
    for _ in range(int(head[1:])):
        size = int(stream.readline()[1:])
        words.append(stream.read(size + 2)[:-2])
    return words
