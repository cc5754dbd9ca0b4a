"""The floor: an ``asyncio.Protocol`` and hiredis, and nothing between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import hiredis

from ..speed import values
from .clients import SMALL, Call, Client

Words = tuple[bytes, ...]


class Wire(asyncio.Protocol):
    """One connection: commands go out, and replies come to those who wait, in their order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        """Connected."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand the replies out."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(reply)

    def ask(self, *words: bytes) -> asyncio.Future[Any]:
        """Send one command at once."""
        self._transport.write(hiredis.pack_command(words))
        return self._reply()

    def ask_together(self, *words: bytes) -> asyncio.Future[Any]:
        """Send it with all that are asked in this turn of the loop, in one write."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(words))
        return self._reply()

    async def ask_many(self, commands: Sequence[Words]) -> list[Any]:
        """Send commands in one write, and wait for their replies."""
        self._transport.write(b"".join([hiredis.pack_command(words) for words in commands]))
        replies = [self._reply() for _ in commands]
        await replies[-1]
        return [reply.result() for reply in replies]

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _reply(self) -> asyncio.Future[Any]:
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(waiter)
        return waiter

    def _flush(self) -> None:
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()


async def dial(url: str) -> Wire:
    """A connected one; asyncio sets TCP_NODELAY, and there is no handshake."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(Wire, parts.hostname, parts.port)
    return wire


class Protocol(Client):
    """The floor, one command at a time: as many connections as tasks, in a list."""

    async def open(self) -> None:
        self._all: list[Wire] = []
        self._free: list[Wire] = []
        await self.warm_up(1)

    async def warm_up(self, tasks: int) -> None:
        new = [await dial(self.url) for _ in range(tasks - len(self._all))]
        self._all += new
        self._free += new

    async def close(self) -> None:
        for wire in self._all:
            wire.close()

    def get(self) -> Call:
        return partial(self._ask, b"GET", values.key(SMALL))

    def set(self) -> Call:
        return partial(self._ask, b"SET", values.key(SMALL), values.value(SMALL))

    def mget(self, count: int) -> Call:
        return partial(self._ask, b"MGET", *values.keys(count))

    def pipeline(self, length: int) -> Call:
        return partial(self._ask_many, [(b"GET", key) for key in values.keys(length)])

    def alone(self) -> None:
        return None  # it has no handshake, so it is nobody's way

    async def _ask(self, *words: bytes) -> Any:
        wire = self._free.pop()
        reply = await wire.ask(*words)
        self._free.append(wire)
        return reply

    async def _ask_many(self, commands: list[tuple[bytes, ...]]) -> Any:
        wire = self._free.pop()
        replies = await wire.ask_many(commands)
        self._free.append(wire)
        return replies


class Multiplexed(Protocol):
    """The floor, multiplexed by hand: one connection, and one write for each turn of the loop."""

    async def warm_up(self, tasks: int) -> None:
        await super().warm_up(1)
        (self._wire,) = self._all

    async def _ask(self, *words: bytes) -> Any:
        return await self._wire.ask_together(*words)

    async def _ask_many(self, commands: list[tuple[bytes, ...]]) -> Any:
        return await self._wire.ask_many(commands)
