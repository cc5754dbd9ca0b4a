"""Counting: `commands_total` is what the server counts, however commands are asked."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import pytest
import redis
from redis.cache import CacheConfig

from redispool import AsyncRedis, ConnectionPool, Redis
from redispool.figures import COMMANDS, RECORD_BYTES, Record, Total
from tests.conftest import MakeAsyncPool, MakePool
from tests.support import DROP, Clock, ScriptedServer, Valkey, run_threads
from tests.support.executed import executed
from tests.support.moments import at_every_line

Steps: TypeAlias = Generator[Any, Any, None]
Way: TypeAlias = Callable[[Any], Steps]
"""A way to ask, for both clients: what it yields is awaited where that is needed."""


def go(steps: Steps) -> None:
    """Do all `steps`, in this thread."""
    found = None
    try:
        while True:
            found = steps.send(found)
    except StopIteration:
        pass


async def ago(steps: Steps) -> None:
    """Do all `steps`, in this task."""
    try:
        asked = next(steps)
        while True:
            try:
                found = await asked
            except redis.RedisError as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(found)
    except StopIteration:
        pass


def one_by_one(client: Any) -> Steps:
    """Plain commands, those of two words, and one that is large."""
    yield client.set("key", "value")
    yield client.get("key")
    yield client.get("key")
    yield client.incrby("number", 2)
    yield client.config_get("maxclients")
    yield client.client_id()
    yield client.set("key", b"x" * 200_000)


def refused(client: Any) -> Steps:
    """Commands that the server refuses, before or while it executes them."""
    yield client.rpush("list", "one")
    for words in (("INCR", "list"), ("GET",), ("GET", "key", "more")):
        with pytest.raises(redis.ResponseError):
            yield client.execute_command(*words)


def piped(client: Any) -> Steps:
    """Pipelines, the first of them in several pieces."""
    pipe = client.pipeline(transaction=False)
    for number in range(100):
        pipe.set(f"key{number}", "x" * 1000)
    yield pipe.execute()
    yield pipe.set("key", 1).client_id().execute()


def transacted(client: Any) -> Steps:
    """The same between MULTI and EXEC."""
    yield client.pipeline().set("key", 1).incr("key").get("key").execute()
    yield client.pipeline().set("key", 1).client_id().execute()


def pinned(client: Any) -> Steps:
    """On a connection that is held, whose session is changed."""
    block = client.pinned()
    enter, leave = ("__aenter__", "__aexit__") if client.__class__ is AsyncRedis else NAMES
    held = yield getattr(block, enter)()
    yield held.set("key", 1)
    yield held.execute_command("CLIENT", "REPLY", "ON")
    yield held.pipeline().get("key").get("key").execute()
    yield getattr(block, leave)(None, None, None)


NAMES = "__enter__", "__exit__"


def watched(client: Any) -> Steps:
    """A key is watched, and the transaction runs; then nothing comes of it."""
    pipe = client.pipeline()
    yield pipe.watch("key")
    yield pipe.get("key")
    pipe.multi()
    pipe.set("key", 1)
    yield pipe.execute()
    yield pipe.watch("key")
    yield pipe.reset()


def subscribed(client: Any) -> Steps:
    """Subscriptions, and what is published."""
    pubsub = client.pubsub()
    yield pubsub.subscribe("news", "weather")
    yield pubsub.psubscribe("n*")
    while (yield pubsub.get_message(timeout=0.05)):
        pass
    yield client.publish("news", "it rains")
    yield pubsub.unsubscribe("news")
    while (yield pubsub.get_message(timeout=0.05)):
        pass
    yield pubsub.close()


def blocked(client: Any) -> Steps:
    """Commands that wait, in vain or not."""
    yield client.rpush("list", "one")
    yield client.blpop(["list"], 1)
    yield client.blpop(["list"], 0.01)
    yield client.xread({"stream": "$"}, block=10)


def with_scripts(client: Any) -> Steps:
    """Scripts that the server does not know yet, alone and in a pipeline."""
    # New ones each time: to forget its scripts makes Valkey ask itself for a setting.
    script, other = (client.register_script(f"return '{uuid.uuid4()}'") for _ in range(2))
    yield script()
    yield script()
    yield client.eval("return 3", 0)
    pipe = client.pipeline()
    yield other(client=pipe)
    yield pipe.execute()


def by_hand(client: Any) -> Steps:
    """On a connection, without a client."""
    pool = client.connection_pool
    connection = yield pool.get_connection()
    yield connection.send_command("ECHO", "one")
    yield connection.read_response()
    yield connection.send_packed_command(connection.pack_commands([("ECHO", "two")] * 3))
    yield connection.read_responses(3)
    yield connection.send_packed_command(list(connection.pack_command("PING")))
    yield connection.read_response()
    yield pool.release(connection)


WAYS: list[Way] = [
    *(one_by_one, refused, piped, transacted, pinned, watched),
    *(subscribed, blocked, with_scripts, by_hand),
]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_threads_count_what_the_server_counts(
    make_pool: MakePool, server: Valkey, way: Way, protocol: int
) -> None:
    """However it is asked: as many commands as the server counts, no more and no less."""
    pool = make_pool(max_connections=3, protocol=protocol, db=1)
    before = executed(server)

    go(way(Redis(connection_pool=pool)))

    assert pool.stats().commands_total == executed(server) - before > 0


@pytest.mark.parametrize("multiplex", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_tasks_count_what_the_server_counts(
    make_async_pool: MakeAsyncPool, server: Valkey, way: Way, protocol: int, multiplex: bool
) -> None:
    """The same law for asyncio, be it that commands share a connection."""
    pool = make_async_pool(max_connections=3, protocol=protocol, multiplex=multiplex, db=1)
    before = executed(server)

    asyncio.run(ago(way(AsyncRedis(connection_pool=pool))))

    assert pool.stats().commands_total == executed(server) - before > 0


def test_many_threads_count_what_the_server_counts(make_pool: MakePool, server: Valkey) -> None:
    """Where some wait for a connection and others do not, each command counts once."""
    pool = make_pool(max_connections=2)
    client = Redis(connection_pool=pool)
    before = executed(server)

    run_threads(8, lambda _: [client.incr("key") for _ in range(40)])

    assert pool.stats().commands_total == executed(server) - before == 320


@pytest.mark.parametrize("multiplex", [False, True])
def test_many_tasks_count_what_the_server_counts(
    make_async_pool: MakeAsyncPool, server: Valkey, multiplex: bool
) -> None:
    """The same for tasks, on connections of their own or on one that they share."""
    pool = make_async_pool(max_connections=2, multiplex=multiplex)
    client = AsyncRedis(connection_pool=pool)
    before = executed(server)

    async def work() -> None:
        await asyncio.gather(*[client.incr("key") for _ in range(320)])

    asyncio.run(work())

    assert pool.stats().commands_total == executed(server) - before == 320


# What is no command of the application, and what is one all the same


def test_what_the_pool_asks_for_itself_is_left_out(
    make_pool: MakePool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the handshake nor the PING before lending is a command of the application."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, health_check_interval=30.0, db=1)
    before = executed(server)
    client = Redis(connection_pool=pool)
    client.get("key")
    clock.advance(31.0)
    client.get("key")

    assert (pool.stats().checks_total["ping"], pool.stats().commands_total) == (1, 2)
    assert executed(server) - before == 3


def test_what_the_pool_for_asyncio_asks_for_itself_is_left_out(
    make_async_pool: MakeAsyncPool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for asyncio."""
    clock = Clock(monkeypatch)
    pool = make_async_pool(max_connections=1, health_check_interval=30.0, db=1)
    before = executed(server)

    async def work() -> None:
        client = AsyncRedis(connection_pool=pool)
        await client.get("key")
        clock.advance(31.0)
        await client.get("key")

    asyncio.run(work())

    assert (pool.stats().checks_total["ping"], pool.stats().commands_total) == (1, 2)
    assert executed(server) - before == 3


def test_a_reply_of_the_cache_is_no_command(make_pool: MakePool, server: Valkey) -> None:
    """What the server is not asked neither counts."""
    pool = make_pool(max_connections=1, protocol=3, cache_config=CacheConfig())
    client = Redis(connection_pool=pool)
    client.set("key", "value")
    before = executed(server)

    assert [client.get("key") for _ in range(5)] == [b"value"] * 5
    assert executed(server) - before == 1
    assert pool.stats().commands_total == 2


def test_what_a_transaction_did_not_run_was_sent(make_pool: MakePool, server: Valkey) -> None:
    """The server counts no command of a transaction that came to nothing; the pool counts it."""
    client = Redis(connection_pool=make_pool(max_connections=2))
    before = executed(server)
    with client.pipeline() as pipe:
        pipe.watch("key")
        client.set("key", "changed")
        pipe.multi()
        pipe.get("key")
        pipe.get("key")
        with pytest.raises(redis.WatchError):
            pipe.execute()

    stats = client.connection_pool.stats()
    assert stats.commands_total == executed(server) - before + 2


@pytest.mark.parametrize("transaction", [None, True, False])
def test_what_is_sent_again_counts_again(
    make_pool: MakePool, scripted: ScriptedServer, transaction: bool | None
) -> None:
    """A command that was sent twice counts twice, alone or in a pipeline."""
    scripted.answer("GET", DROP)
    scripted.always("EXEC", b"*1\r\n$5\r\nvalue\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port)
    client = Redis(connection_pool=pool)
    if transaction is None:
        client.get("key")
    else:
        client.pipeline(transaction).get("key").execute()

    assert scripted.received["GET"] == 2
    assert pool.stats().commands_total == (6 if transaction else 2)


@pytest.mark.parametrize("multiplex", [True, False])
def test_what_tasks_send_again_counts_again(
    make_async_pool: MakeAsyncPool, scripted: ScriptedServer, multiplex: bool
) -> None:
    """The same for asyncio, on a connection of its own and on one that is shared."""
    scripted.answer("GET", DROP)
    pool = make_async_pool(host=scripted.host, port=scripted.port, multiplex=multiplex)

    asyncio.run(AsyncRedis(connection_pool=pool).get("key"))

    assert pool.stats().commands_total == scripted.received["GET"] == 2


# In cells that others read


def test_the_express_lane_writes_one_cell(pool: ConnectionPool) -> None:
    """Where a lease is for one command, one cell counts both: the way of nearly all commands."""
    client = Redis(connection_pool=pool)
    client.ping()
    (record,) = [record for record in pool.capacity.records() if record.shown]
    before = record.single, record.leased, record.commands
    client.ping()

    assert (record.single - 1, record.leased, record.commands) == before
    assert (pool.stats().acquired_total, pool.stats().commands_total) == (2, 2)


def test_the_count_goes_on_where_a_place_begins_to_be_shown() -> None:
    """What was counted before others could see the place still counts."""
    hidden, memory = Record(), memoryview(bytearray(RECORD_BYTES))
    hidden.note_commands(7)
    shown = Record(memory)
    shown.take_over(hidden)
    shown.note_commands(1)

    assert shown.cells[COMMANDS] == 8
    assert Total([Record(memory)]).commands == 8


def test_no_count_falls(pool: ConnectionPool) -> None:
    """Who looks from outside between any two lines of the pool sees no number below an earlier one.

    Prometheus takes a counter that falls for one that began anew, and counts all of it again.
    """
    client = Redis(connection_pool=pool)
    seen: list[tuple[int, int]] = []

    def look() -> None:
        total = Total(pool.capacity.records())
        seen.append((total.commands, total.acquired))

    with at_every_line(look):
        for way in (one_by_one, transacted, pinned, with_scripts):
            go(way(client))

    commands, acquired = zip(*seen, strict=True)
    assert list(commands) == sorted(commands)
    assert list(acquired) == sorted(acquired)
    assert len(set(commands)) > 10
