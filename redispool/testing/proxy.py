"""FaultProxy: a network that fails as told, between a client and a real server."""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

from .lines import Line, Pipe, hang_up, reset

__all__ = ["FaultProxy"]

ORDERED_WITHIN = 10.0
"""Seconds that an order may take; it takes microseconds."""

OneReply: TypeAlias = Callable[[Pipe, bytes], bytes]
"""What becomes of one reply on its way through a pipe."""


@dataclasses.dataclass(frozen=True)
class Faults:
    """What is wrong with the network now; times in seconds."""

    requests_late: float = 0.0
    replies_late: float = 0.0
    holding: bool = False
    black: bool = False
    accepting: bool = True
    refusing: bool = False
    resetting: bool = False


class FaultProxy:
    """A TCP proxy on ``127.0.0.1``; a context manager that lets everything pass until told other.

    A fault lasts until `heal`, for the connections of now and for new ones, unless its description
    says other. When a method returns, it is done. What the server sends at once is one reply.

    One thread does all the work, and runs the orders between two events, so no lock is needed. Who
    hung up before somebody dialled is seen to have done so.

    Args:
        url: the server, such as ``redis://localhost:6379/0``; over TCP, with TLS or without.
    """

    host = "127.0.0.1"

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        if not self._upstream.scheme.startswith(("redis", "valkey")):
            raise ValueError(f"FaultProxy needs the URL of a server over TCP, not {url!r}")
        self.port = 0
        """Where it listens, once the ``with`` block has begun."""
        self.dials = 0
        """How many connections were accepted."""
        self.most_dialling = 0
        """The highest number of connections that waited for their first reply at once."""
        self.swallowed = 0
        """How many bytes were lost in a black hole."""
        self._faults = Faults()
        self._one_reply: deque[OneReply] = deque()
        self._lines: set[Line] = set()
        self._orders: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._running = False

    @property
    def url(self) -> str:
        """The URL of the server, by way of the proxy."""
        user, at, _ = self._upstream.netloc.rpartition("@")
        return self._upstream._replace(netloc=f"{user}{at}{self.host}:{self.port}").geturl()

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._lines)

    @property
    def held(self) -> int:
        """How many replies `hold` keeps back now."""
        return sum(len(line.replies.waiting) for line in list(self._lines) if self._faults.holding)

    # Faults that last

    def heal(self) -> None:
        """End every fault. A connection that was in a black hole stays dead until it is closed."""
        self._order(self._heal)

    def delay(self, seconds: float, *, replies_only: bool = False) -> None:
        """Deliver what comes from now on `seconds` later: both ways, or replies alone."""
        requests_late = 0.0 if replies_only else seconds
        self._change(requests_late=requests_late, replies_late=seconds)

    def hold(self) -> None:
        """Keep replies back until `let_go`; requests go on to the server."""
        self._change(holding=True)

    def let_go(self) -> None:
        """Deliver the replies that were kept back, and those to come."""
        self._change(holding=False)

    def black_hole(self, *, accept: bool = True) -> None:
        """Lose all bytes, both ways, and keep connections open.

        Args:
            accept: accept new connections as well, and lose what they say. Else they wait, which
                to their clients looks the same, until `heal`; then they are served.
        """
        self._change(black=True, accepting=accept)

    def refuse(self) -> None:
        """Refuse new connections, as where no server listens; the open ones stay."""
        self._change(refusing=True)

    def accept(self) -> None:
        """Accept new connections again, on the same port."""
        self._change(refusing=False, accepting=True, resetting=False)

    def reset_new(self) -> None:
        """Accept new connections and reset each at once; the open ones stay."""
        self._change(resetting=True)

    # Faults of a moment

    def close_all(self) -> None:
        """Close the connections of now in good order (FIN)."""
        self._order(partial(self._drop_all, Line.close))

    def reset_all(self) -> None:
        """Reset the connections of now (RST)."""
        self._order(partial(self._drop_all, Line.reset))

    def cut_reply(self, after: int) -> None:
        """Let `after` bytes of the next reply through, then close its connection."""
        self._order(partial(self._one_reply.append, partial(cut, after)))

    def duplicate_reply(self) -> None:
        """Deliver the next reply twice."""
        self._order(partial(self._one_reply.append, twice))

    # The life of the proxy

    def __enter__(self) -> Self:
        self._listener = self._bind(0)
        self.port = self._listener.getsockname()[1]
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._selector.register(self._ear, selectors.EVENT_READ, self._hear)
        self._selector.register(self._listener, selectors.EVENT_READ, self._take_all)
        self._running = True
        self._thread = threading.Thread(target=self._run, name="FaultProxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._order(self._stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._running:
                for key, _ in self._selector.select(self._pause()):
                    key.data()
                self._deliver()
        finally:
            self._running = False
            self._drop_all(Line.close)
            for resource in (self._listener, self._bell, self._ear, self._selector):
                resource.close()

    def _stop(self) -> None:
        self._running = False

    # Orders

    def _order(self, work: Callable[[], None]) -> None:
        """Have `work` done by the thread, and wait until it is."""
        if not self._running:
            raise RuntimeError("a FaultProxy takes orders inside of its with block alone")
        done: Future[None] = Future()
        self._orders.append((work, done))
        self._bell.send(b"!")
        done.result(ORDERED_WITHIN)

    def _hear(self) -> None:
        self._ear.recv(1)
        work, done = self._orders.popleft()
        work()
        done.set_result(None)

    def _change(self, **changes: Any) -> None:
        self._order(lambda: self._obey(dataclasses.replace(self._faults, **changes)))

    def _heal(self) -> None:
        self._one_reply.clear()
        self._obey(Faults())

    def _obey(self, faults: Faults) -> None:
        was, self._faults = self._faults, faults
        if faults.black:
            for line in self._lines:
                line.lose_all()
        if faults.refusing and not was.refusing:
            self._watch(self._listener, 0)
            self._listener.close()
            # Bound again at once, so that nobody else gets the port.
            self._listener = self._bind(self.port)
        if was.refusing and not faults.refusing:
            self._listener.listen()
        if not faults.refusing:
            self._watch(self._listener, faults.accepting * selectors.EVENT_READ, self._take_all)

    def _bind(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((self.host, port))
        return listener

    # Connections

    def _take_all(self) -> None:
        """Accept who has dialled; the listener may have been closed in the same turn."""
        with contextlib.suppress(OSError):
            while True:
                self._take(self._listener.accept()[0])

    def _take(self, client: socket.socket) -> None:
        for line in [line for line in self._lines if line.dialling]:
            while self._read(line, line.requests):
                pass
        self.dials += 1
        dialling = 1 + sum(line.dialling for line in self._lines)
        self.most_dialling = max(self.most_dialling, dialling)
        if self._faults.resetting:
            reset(client)
            return
        client.setblocking(False)
        try:
            server = None if self._faults.black else self._connect()
        except OSError:  # the server is away
            hang_up(client)
            return
        line = Line(client, server)
        self._lines.add(line)
        self._watch_line(line)

    def _connect(self) -> socket.socket:
        address = self._upstream.hostname or "localhost", self._upstream.port or 6379
        server = socket.create_connection(address, timeout=ORDERED_WITHIN / 2)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.setblocking(False)
        return server

    def _drop_all(self, how: Callable[[Line], None]) -> None:
        for line in list(self._lines):
            self._drop(line, how)

    def _drop(self, line: Line, how: Callable[[Line], None]) -> None:
        self._lines.remove(line)
        for side, _, _ in line.interests():
            self._watch(side, 0)
        how(line)

    # Bytes

    def _read(self, line: Line, pipe: Pipe) -> bool:
        """Take what has come on `line`, which may have been dropped in the same turn."""
        data = pipe.read()
        if line.black:
            self.swallowed += len(data)
        elif data and pipe is line.replies:
            data = self._one_reply.popleft()(pipe, data) if self._one_reply else data
            pipe.put(data, time.monotonic() + self._faults.replies_late)
        elif data:
            pipe.put(data, time.monotonic() + self._faults.requests_late)
        return bool(data)

    def _deliver(self) -> None:
        """Hand over what is due on all lines, and end those that have ended."""
        now = time.monotonic()
        for line in list(self._lines):
            line.requests.deliver(now)
            if not self._faults.holding and line.replies.deliver(now):
                line.answered = True
            if line.done:
                self._drop(line, Line.close)
            else:
                self._watch_line(line)

    def _pause(self) -> float | None:
        """Seconds until something is due; None where nothing is on its way."""
        dues = [
            pipe.waiting[0][0]
            for line in self._lines
            for pipe in (line.requests, line.replies)
            if pipe.waiting and not pipe.full
            if not (self._faults.holding and pipe is line.replies)
        ]
        return max(min(dues) - time.monotonic(), 0.0) if dues else None

    def _watch_line(self, line: Line) -> None:
        for side, pipe, events in line.interests():
            self._watch(side, events, partial(self._read, line, pipe))

    def _watch(
        self, side: socket.socket, events: int, react: Callable[[], object] | None = None
    ) -> None:
        """Wait for `events` at `side`; 0 for none."""
        key = self._selector.get_map().get(side)
        if key is None and events:
            self._selector.register(side, events, react)
        elif key is not None and not events:
            self._selector.unregister(side)
        elif key is not None and key.events != events:
            self._selector.modify(side, events, react)


def cut(after: int, pipe: Pipe, data: bytes) -> bytes:
    """Nothing passes beyond `after` bytes."""
    pipe.left = after
    return data


def twice(_: Pipe, data: bytes) -> bytes:
    """A reply, and the same once more."""
    return data * 2
