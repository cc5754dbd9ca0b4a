"""Clients: the same work asked of each, in its own words."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from redispool.figures import RECORD_BYTES, SINCE, SINGLE, Record

from . import values
from .bare import BareSocket, packed
from .timing import Call


class Client(ABC):
    """A contender that is ready: each method gives a call to be timed, or None."""

    @abstractmethod
    def get(self, size: int) -> Call:
        """GET of a value of `size` bytes."""

    @abstractmethod
    def set(self, size: int) -> Call:
        """SET of a value of `size` bytes."""

    @abstractmethod
    def execution(self, length: int) -> tuple[Call, Call]:
        """A pipeline of that many GETs: what makes and fills it, and what executes it."""

    def pipeline(self, length: int) -> Call:
        """The same in one call."""
        fill, execute = self.execution(length)

        def pipeline() -> Any:
            fill()
            return execute()

        return pipeline

    @abstractmethod
    def mget(self, count: int) -> Call:
        """MGET of that many keys."""

    @abstractmethod
    def hgetall(self) -> Call:
        """HGETALL of a hash of a hundred fields."""

    def checkout(self) -> Call | None:
        """Take a connection from the pool and give it back."""
        return None

    def showing(self) -> Call | None:
        """What a command writes for those who look at the pool from other processes."""
        return None

    def warm_up(self, count: int) -> None:  # noqa: B027  # who has no pool has nothing to open
        """Open that many connections; who has a pool opens them when they are needed."""

    def fetch(self) -> Call | None:
        """Make or fetch the client, as each request does it."""
        return None

    def first(self) -> Call | None:
        """Connect and GET once; before each call comes `disconnect`."""
        return self.get(10)

    @abstractmethod
    def disconnect(self) -> None:
        """Close and forget the connections."""


def nothing() -> None:
    """What there is to prepare where all was packed ahead."""


class Bare(Client):
    """The floor: what is sent is packed ahead."""

    def __init__(self, url: str) -> None:
        self._bare = BareSocket(url)
        self._connected = True

    def get(self, size: int) -> Call:
        return self._asking(b"GET", values.key(size))

    def set(self, size: int) -> Call:
        return self._asking(b"SET", values.key(size), values.value(size))

    def mget(self, count: int) -> Call:
        return self._asking(b"MGET", *values.keys(count))

    def hgetall(self) -> Call:
        return self._asking(b"HGETALL", values.HASH)

    def execution(self, length: int) -> tuple[Call, Call]:
        commands = [(b"GET", key) for key in values.keys(length)]
        packed = b"".join(self._bare.prepared(*words) for words in commands)
        return nothing, partial(self._bare.ask_many, packed, length)

    def first(self) -> Call:
        """Connect and ask once."""
        command = self._bare.prepared(b"GET", values.key(10))

        def first() -> Any:
            self._bare.open()
            return self._bare.ask(command)

        return first

    def disconnect(self) -> None:
        self._bare.drop()

    def _asking(self, *words: bytes) -> Call:
        return partial(self._bare.ask, self._bare.prepared(*words))


class PackingBare(Bare):
    """The floor of pipelines, where packing is a part of the work."""

    def execution(self, length: int) -> tuple[Call, Call]:
        commands = [(b"GET", key) for key in values.keys(length)]
        return nothing, partial(self._bare.pack_and_ask_many, commands)


class PooledBare(Bare):
    """The floor of pools: threads take a socket from a deque and put it back, and nothing else."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._url = url
        self._idle = deque([self._bare])

    def warm_up(self, count: int) -> None:
        self._idle.extend(BareSocket(self._url) for _ in range(count - len(self._idle)))

    def get(self, size: int) -> Call:
        idle, key = self._idle, values.key(size)

        def get() -> Any:
            bare = idle.pop()
            reply = bare.ask(packed(b"GET", key))
            idle.append(bare)
            return reply

        return get

    def disconnect(self) -> None:
        for bare in self._idle:
            bare.drop()


class RedisLike(Client):
    """redis-py, what derives from it, and what wraps it.

    Args:
        client: what the application calls.
        pool: what it takes connections from.
        fetch: how each request comes by the client.
    """

    def __init__(self, client: Any, pool: Any, fetch: Call | None = None) -> None:
        self._client = client
        self._pool = pool
        self._take = pool.get_connection
        self._fetch = fetch

    def get(self, size: int) -> Call:
        client, key = self._client, values.key(size)
        return lambda: client.get(key)

    def set(self, size: int) -> Call:
        client, key, value = self._client, values.key(size), values.value(size)
        return lambda: client.set(key, value)

    def mget(self, count: int) -> Call:
        client, keys = self._client, values.keys(count)
        return lambda: client.mget(keys)

    def hgetall(self) -> Call:
        client = self._client
        return lambda: client.hgetall(values.HASH)

    def execution(self, length: int) -> tuple[Call, Call]:
        client, keys, made = self._client, values.keys(length), []

        def fill() -> None:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.get(key)
            made.append(pipe)

        return fill, lambda: made.pop().execute()

    def checkout(self) -> Call | None:
        take, give = self._take, self._pool.release
        return lambda: give(take())

    def warm_up(self, count: int) -> None:
        for connection in [self._take() for _ in range(count)]:
            self._pool.release(connection)

    def fetch(self) -> Call | None:
        return self._fetch

    def disconnect(self) -> None:
        self._pool.disconnect()
        self._pool.reset()  # or redis-py would keep the objects, and only dial again


class Ours(RedisLike):
    """redispool."""

    def showing(self) -> Call:
        record = Record(memoryview(mmap.mmap(-1, RECORD_BYTES)))

        def show() -> None:
            # As Express does, at the beginning of a command and at its end.
            record.cells[SINCE] = 1.0
            record.single = single = record.single + 1
            record.cells[SINGLE] = single
            record.cells[SINCE] = 0.0

        return show


class Single(RedisLike):
    """A client that holds one connection."""

    def first(self) -> None:
        return None  # it keeps the object, and only dials again

    def checkout(self) -> None:
        return None


class Valkey(RedisLike):
    """valkey-py, a fork of an older redis-py."""

    def __init__(self, client: Any, pool: Any, fetch: Call) -> None:
        super().__init__(client, pool, fetch)
        self._take = partial(pool.get_connection, "GET")


class Glide(Client):
    """valkey-glide's synchronous client: one connection for all threads, and a core in Rust."""

    def __init__(self, url: str) -> None:
        import glide_sync

        parts = urlsplit(url)
        address = glide_sync.NodeAddress(parts.hostname, parts.port)
        self._glide = glide_sync
        self._configuration = glide_sync.GlideClientConfiguration([address])
        self._client = self._made()

    def _made(self) -> Any:
        return self._glide.GlideClient.create(self._configuration)

    def get(self, size: int) -> Call:
        return partial(self._client.get, values.key(size))

    def set(self, size: int) -> Call:
        return partial(self._client.set, values.key(size), values.value(size))

    def mget(self, count: int) -> Call:
        return partial(self._client.mget, values.keys(count))

    def hgetall(self) -> Call:
        return partial(self._client.hgetall, values.HASH)

    def execution(self, length: int) -> tuple[Call, Call]:
        client, keys, made = self._client, values.keys(length), []

        def fill() -> None:
            batch = self._glide.Batch(False)
            for key in keys:
                batch.get(key)
            made.append(batch)

        return fill, lambda: client.exec(made.pop(), True)

    def first(self) -> Call:
        """Make the client, which connects, and ask once."""

        def first() -> Any:
            self._client = self._made()
            return self._client.get(values.key(10))

        return first

    def disconnect(self) -> None:
        self._client.close()
