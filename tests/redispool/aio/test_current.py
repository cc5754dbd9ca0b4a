from __future__ import annotations

import asyncio
import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

from redispool import AsyncRedis, PoolFactory
from redispool.aio.current import CurrentAsyncRedis
from redispool.aio.holders import AsyncPubSub
from redispool.aio.pipelines import AsyncPipeline

from ...conftest import MakeFactory
from ...support import Valkey
from ...support.loops import Run


class NothingThere(Exception):
    """What a finder raises that finds no client."""


def nothing() -> AsyncRedis:
    """A finder that finds no client."""
    raise NothingThere("make one first")


@pytest.fixture
def aredis(factory: PoolFactory) -> CurrentAsyncRedis:
    """A client that stands for the one of the factory."""
    return CurrentAsyncRedis(factory.async_client, "aredis of the test")


def test_it_can_be_made_before_there_is_a_client() -> None:
    """Making, showing, closing and dropping it asks for no client."""
    client = CurrentAsyncRedis(nothing, "aredis of nobody")

    assert isinstance(client, AsyncRedis)
    assert isinstance(client, redis.asyncio.Redis)
    assert repr(client) == repr(copy.copy(client)) == "<aredis of nobody>"
    assert not hasattr(client, "__wrapped__")
    asyncio.run(client.aclose())
    del client
    gc.collect()


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda client: client.get("key"), id="command"),
        pytest.param(lambda client: client.pipeline(), id="pipeline"),
        pytest.param(lambda client: client.pubsub(), id="pubsub"),
        pytest.param(lambda client: client.client(), id="client"),
        pytest.param(lambda client: client.register_script("return 1"), id="script"),
        pytest.param(lambda client: client.monitor(), id="monitor"),
        pytest.param(lambda client: client.connection_pool, id="pool"),
        pytest.param(lambda client: asyncio.run(pin(client)), id="pinned"),
        pytest.param(lambda client: asyncio.run(lock(client)), id="lock"),
        pytest.param(lambda client: asyncio.run(watch(client)), id="watch"),
    ],
)
def test_where_no_client_is_found_the_finder_says_why(use: Callable[[AsyncRedis], Any]) -> None:
    """The error of the finder reaches the caller as it is, whatever was tried."""
    with pytest.raises(NothingThere, match="make one first"):
        use(CurrentAsyncRedis(nothing, "aredis of nobody"))


async def pin(client: AsyncRedis) -> None:
    """Hold a connection."""
    async with client.pinned():
        pass


async def lock(client: AsyncRedis) -> None:
    """Take a lock."""
    await client.lock("door").acquire()


async def watch(client: AsyncRedis) -> None:
    """Watch without a connection that is held."""
    await client.watch("key")


def test_each_call_looks_anew(make_factory: MakeFactory, flushed: Valkey) -> None:
    """It stands for the client of the moment of the call, also where a task runs it later."""
    place = f"redis://{flushed.host}:{flushed.port}"
    factory = make_factory({"default": f"{place}/0", "other": f"{place}/1"})
    found = factory.async_client()
    client = CurrentAsyncRedis(lambda: found, "aredis of the moment")

    async def use() -> None:
        nonlocal found
        first = client.set("name", "first")
        found = factory.async_client("other")
        await first
        assert await client.get("name") is None
        assert client.connection_pool is factory.async_pool("other")

    asyncio.run(use())


def test_it_has_whatever_a_client_has(aredis: CurrentAsyncRedis, factory: PoolFactory) -> None:
    """No attribute of the client of the moment is hidden; what it has not is missing here too."""
    client = factory.async_client()

    assert vars(client)
    for name, value in vars(client).items():
        assert getattr(aredis, name) is value
    assert not hasattr(aredis, "no_such_command")


def test_it_does_what_a_client_does(aredis: CurrentAsyncRedis, run: Run) -> None:
    """Commands, pipelines, scripts, transactions, locks, pins and subscriptions."""

    async def use() -> None:
        pipeline = aredis.pipeline()
        assert isinstance(pipeline, AsyncPipeline)
        assert await pipeline.set("hits", 1).incr("hits").execute() == [True, 2]
        script = aredis.register_script("return redis.call('incr', KEYS[1])")
        assert await script(keys=["hits"]) == 3
        assert await aredis.transaction(lambda p: p.multi() or p.incr("hits"), "hits") == [4]
        assert [key async for key in aredis.scan_iter("hi*")] == [b"hits"]
        async with aredis.lock("door", timeout=10):
            assert not await aredis.lock("door", timeout=10).acquire(blocking=False)
        async with aredis.pinned() as held:
            same = {await held.client_id() for _ in range(3)}
            assert await aredis.client_id() not in same
            assert len(same) == 1
        async with aredis.pubsub() as pubsub:
            assert isinstance(pubsub, AsyncPubSub)
            await pubsub.subscribe("news")

    run(use())


def test_it_closes_nothing(aredis: CurrentAsyncRedis, factory: PoolFactory) -> None:
    """The pool belongs to the application: neither `aclose` nor a block ends it."""

    async def use() -> None:
        async with aredis as same:
            assert same is aredis
            await same.ping()
        await aredis.aclose()
        await aredis.close()
        assert await aredis.ping()

    asyncio.run(use())
    assert factory.async_pool().stats().created_total == 1


def test_client_is_on_the_pool_of_the_moment(
    aredis: CurrentAsyncRedis, factory: PoolFactory
) -> None:
    """``aredis.client()`` holds one connection of its own until it is closed."""

    async def use() -> None:
        async with aredis.client() as single:
            assert await single.client_id() == await single.client_id()
            assert factory.async_pool().stats().in_use == 1

    asyncio.run(use())
    assert factory.async_pool().stats().in_use == 0
