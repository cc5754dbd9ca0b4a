"""The floor: a socket and hiredis, and nothing between them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import hiredis

Packed = bytes


def packed(*words: bytes) -> Packed:
    """A command as it goes over the wire."""
    return hiredis.pack_command(words)


def dial(url: str) -> socket.socket:
    """A connected socket for ``redis://host:port/0`` or ``unix:///path``."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        bare = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bare.connect(parts.path)
        return bare
    bare = socket.create_connection((parts.hostname, parts.port))
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bare


class BareSocket:
    """One connection; what it sends was packed before the clock started.

    Not thread-safe: each thread has one of its own.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._packed: dict[tuple[bytes, ...], Packed] = {}
        self.open()

    def open(self) -> None:
        """Connect; there is no handshake."""
        self._socket = dial(self._url)
        self._reader = hiredis.Reader()
        self._send, self._receive = self._socket.sendall, self._socket.recv
        self._feed, self._gets = self._reader.feed, self._reader.gets

    def drop(self) -> None:
        """Close the connection."""
        self._socket.close()

    def prepared(self, *words: bytes) -> Packed:
        """The packed command, made once."""
        if words not in self._packed:
            self._packed[words] = packed(*words)
        return self._packed[words]

    def ask(self, command: Packed) -> Any:
        """Send one command and read its reply."""
        self._send(command)
        while True:
            self._feed(self._receive(65536))
            reply = self._gets()
            if reply is not False:
                return reply

    def ask_many(self, commands: Packed, count: int) -> list[Any]:
        """Send commands together and read their replies."""
        self._send(commands)
        receive, feed, gets = self._receive, self._feed, self._gets
        replies: list[Any] = []
        while True:
            feed(receive(65536))
            while (reply := gets()) is not False:
                replies.append(reply)
            if len(replies) == count:
                return replies

    def pack_and_ask_many(self, commands: Sequence[tuple[bytes, ...]]) -> list[Any]:
        """The same, with the packing inside of what is timed."""
        pack = hiredis.pack_command
        return self.ask_many(b"".join([pack(words) for words in commands]), len(commands))
