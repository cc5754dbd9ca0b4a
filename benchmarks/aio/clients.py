"""Clients for asyncio: the same work asked of each, in its own words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from ..speed import values

Call: TypeAlias = Callable[[], Awaitable[Any]]

SMALL = 10
"""Bytes of a value."""


class Client:
    """A contender on the running loop: each method gives a call to be timed.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        """Make the client, on the loop that uses it."""

    async def close(self) -> None:
        """Close it."""

    async def warm_up(self, tasks: int) -> None:
        """Open connections for that many tasks; who has a pool opens them when they are needed."""

    def get(self) -> Call:
        """GET of a small value."""
        raise NotImplementedError

    def set(self) -> Call:
        """SET of a small value."""
        raise NotImplementedError

    def mget(self, count: int) -> Call:
        """MGET of that many keys."""
        raise NotImplementedError

    def pipeline(self, length: int) -> Call:
        """A pipeline of that many GETs: made, filled and executed."""
        raise NotImplementedError

    def alone(self) -> Call | None:
        """GET on a loop that ends after it, from the first to the last that there is to do."""

        async def alone() -> Any:
            client = type(self)(self.url)
            await client.open()
            try:
                return await client.get()()
            finally:
                await client.close()

        return alone


class Nothing(Client):
    """No Redis: what the loop itself costs."""

    def alone(self) -> Call:
        async def alone() -> bytes:
            return values.value(SMALL)

        return alone


class RedisLike(Client):
    """redis.asyncio, and what derives from it.

    Args:
        make: gives a client for a URL.
    """

    def __init__(self, url: str, make: Callable[[str], Any]) -> None:
        super().__init__(url)
        self._make = make

    async def open(self) -> None:
        self._client = self._make(self.url)

    async def close(self) -> None:
        await self._client.aclose()

    async def warm_up(self, tasks: int) -> None:
        pool = self._client.connection_pool
        count = min(tasks, pool.max_connections)
        for connection in [await pool.get_connection() for _ in range(count)]:
            await pool.release(connection)

    def get(self) -> Call:
        client, key = self._client, values.key(SMALL)
        return lambda: client.get(key)

    def set(self) -> Call:
        client, key, value = self._client, values.key(SMALL), values.value(SMALL)
        return lambda: client.set(key, value)

    def mget(self, count: int) -> Call:
        client, keys = self._client, values.keys(count)
        return lambda: client.mget(keys)

    def pipeline(self, length: int) -> Call:
        client, keys = self._client, values.keys(length)

        async def pipeline() -> Any:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.get(key)
            return await pipe.execute()

        return pipeline

    def alone(self) -> Call:
        """A pool for the loop, closed with it; another loop could not use its connections."""
        make, url, key = self._make, self.url, values.key(SMALL)

        async def alone() -> Any:
            async with make(url) as client:
                return await client.get(key)

        return alone


class Ours(RedisLike):
    """redispool: the pool of the process, on whatever loop."""

    async def open(self) -> None:
        self._client = self._make(self.url)

    def alone(self) -> Call:
        client, key = self._make(self.url), values.key(SMALL)

        async def alone() -> Any:
            return await client.get(key)

        return alone


class Coredis(RedisLike):
    """coredis, whose client is open within a block."""

    async def open(self) -> None:
        await super().open()
        await self._client.__aenter__()

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)

    async def warm_up(self, tasks: int) -> None:
        await asyncio.gather(*[self._client.get(values.key(SMALL)) for _ in range(tasks)])

    def pipeline(self, length: int) -> Call:
        client, keys = self._client, values.keys(length)

        async def pipeline() -> Any:
            async with client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.get(key)
            return pipe.results

        return pipeline


class Glide(Client):
    """valkey-glide: one connection, and a core in Rust."""

    async def open(self) -> None:
        import glide

        parts = urlsplit(self.url)
        address = glide.NodeAddress(parts.hostname, parts.port)
        self._batch = glide.Batch
        self._client = await glide.GlideClient.create(glide.GlideClientConfiguration([address]))

    async def close(self) -> None:
        await self._client.close()

    def get(self) -> Call:
        return partial(self._client.get, values.key(SMALL))

    def set(self) -> Call:
        return partial(self._client.set, values.key(SMALL), values.value(SMALL))

    def mget(self, count: int) -> Call:
        return partial(self._client.mget, values.keys(count))

    def pipeline(self, length: int) -> Call:
        client, keys = self._client, values.keys(length)

        async def pipeline() -> Any:
            batch = self._batch(False)
            for key in keys:
                batch.get(key)
            return await client.exec(batch, True)

        return pipeline
