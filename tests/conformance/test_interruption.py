"""Interruptions at every point of what people do with a pool."""

from __future__ import annotations

import contextlib
import gc
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import redis
from redis._parsers import _HiredisParser, _RESP2Parser, _RESP3Parser

from redispool import ConnectionPool, PoolClosed, Redis, commands, scope
from redispool.scopes import Scope, current
from redispool.testing import FaultProxy
from tests.conftest import MakePool
from tests.support import Valkey, eventually, run_threads
from tests.support.callers import ask
from tests.support.injection import Injected, Kind, count_points, every, strike
from tests.support.scale import scale
from tests.support.sessions import assert_is_fresh

SAMPLE = scale(None, 10)
"""How many points of each combination are tried; None for all, which takes half an hour."""

KEYS = 20
"""Values name their keys, so that a reply of somebody else is known at once."""

DATABASE = 3
"""Not the first one, so that a handshake that was cut short is noticed."""

FIRST_RUNS = range(3)
"""Something may be done once in a process; and Python 3.13 shows the opcodes of a function from its
second run on."""

PARSERS = {"hiredis": (_HiredisParser, _HiredisParser), "python": (_RESP2Parser, _RESP3Parser)}


@dataclass(frozen=True)
class Work:
    """Something that a program does, and what comes of it where nobody interrupts."""

    run: Callable[[Redis], Any]
    gives: Any
    prepare: Callable[[redis.Redis], Any] = lambda outside: None
    finds_dead_lines: bool = False
    """Whether some may be left that nobody has found, which is nobody's fault."""


def watch(client: Redis) -> Any:
    """A transaction of the kind that looks first."""
    with client.pipeline() as pipe:
        pipe.watch("key1")
        value = pipe.get("key1")
        pipe.multi()
        return [value, *pipe.set("key1", value).get("key2").execute()]


def subscribe(client: Redis) -> Any:
    """A subscription that gets its first message."""
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
        message = pubsub.get_message(timeout=5.0)
        pubsub.unsubscribe("news")
        return message and message["channel"]


def pin(client: Redis) -> Any:
    """The same transaction on a pinned connection."""
    with client.pinned() as pinned:
        pinned.watch("key1")
        value = pinned.get("key1")
        return [value, *pinned.pipeline().set("key1", value).get("key2").execute()]


def pin_in_another_database(client: Redis) -> Any:
    """State that is to end with the pin."""
    with client.pinned() as pinned:
        return [pinned.execute_command("SELECT", 4), pinned.get("key1")]


def blocking_pop_in_scope(client: Redis) -> Any:
    """What blocks on the server, in a scope."""
    with scope():
        return list(client.blpop(["list"], timeout=5))


def script(client: Redis) -> Any:
    """A script that the server does not know yet."""
    return client.register_script("return redis.call('GET', KEYS[1])")(keys=["key1"])


def script_in_pipeline(client: Redis) -> Any:
    """The same in a pipeline, which loads it first."""
    pipe = client.pipeline()
    client.register_script("return redis.call('GET', KEYS[1])")(keys=["key1"], client=pipe)
    return pipe.get("key2").execute()


def hold(client: Redis) -> Any:
    """Two commands at once on a raw connection."""
    with client.connection_pool.connection() as connection:
        connection.send_command("GET", "key1")
        connection.send_command("GET", "key2")
        return [connection.read_response(), connection.read_response()]


def hold_and_reconnect(client: Redis) -> Any:
    """A raw connection whose holder connects again."""
    with client.connection_pool.connection() as connection:
        connection.disconnect()
        connection.send_command("GET", "key1")
        return connection.read_response()


def kill_others(outside: redis.Redis) -> None:
    """Let all connections of the pool be dead."""
    outside.client_kill_filter(_type="normal", skipme=True)


def fill_list(outside: redis.Redis) -> None:
    """Have something to pop."""
    outside.delete("list")
    outside.rpush("list", "item")


WORKS = {
    "get": Work(lambda client: client.get("key1"), b"value1"),
    "get again": Work(lambda client: client.get("key1"), b"value1", kill_others, True),
    "set": Work(lambda client: client.set("key1", "value1"), True),
    "transaction": Work(
        lambda client: client.pipeline().get("key1").set("key2", "value2").execute(),
        [b"value1", True],
    ),
    "pipeline": Work(
        lambda client: client.pipeline(transaction=False).get("key1").get("key2").execute(),
        [b"value1", b"value2"],
    ),
    "watch": Work(watch, [b"value1", True, b"value2"]),
    "blpop": Work(blocking_pop_in_scope, [b"list", b"item"], fill_list),
    "pubsub": Work(subscribe, b"news"),
    "pinned": Work(pin, [b"value1", True, b"value2"]),
    "select": Work(pin_in_another_database, [True, None]),
    "hold": Work(hold, [b"value1", b"value2"]),
    "reconnect": Work(hold_and_reconnect, b"value1"),
    "script": Work(script, b"value1", lambda outside: outside.script_flush()),
    "script in pipeline": Work(
        script_in_pipeline, [b"value1", b"value2"], lambda outside: outside.script_flush()
    ),
}


@pytest.fixture
def outside(server: Valkey) -> Iterator[redis.Redis]:
    """A client that has nothing to do with the pool, in the same database."""
    with server.outside(db=DATABASE) as client:
        yield client


@pytest.mark.usefixtures("no_gc")  # a finalizer of other tests would have points too
@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_the_injector_strikes_at_every_point_and_nowhere_else(kind: Kind) -> None:
    """Each point of a piece of work interrupts it; beyond the last it ends as it should."""
    args = ("XREAD", "COUNT", 5, "BLOCK", 2000, "STREAMS", "s", "$")
    work = partial(commands.blocks_for, args)
    points = [count_points(work, kind) for _ in FIRST_RUNS][-1]

    outcomes = [strike(work, kind, point) for point in every(points, at_most=None)]
    beyond = strike(work, kind, points + 1)

    assert points > 20
    assert {(each.struck, each.interrupted) for each in outcomes} == {(True, True)}
    assert (beyond.struck, beyond.interrupted, beyond.value) == (False, False, 2.0)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
@pytest.mark.parametrize("start", ["warm", "cold"])
@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", WORKS)
def test_inject_every_point(
    make_pool: MakePool,
    outside: redis.Redis,
    name: str,
    protocol: int,
    parser: str,
    start: str,
    kind: Kind,
) -> None:
    """Wherever an exception strikes, with a connection open or not: the next finds all well."""
    pool = make_pool(
        max_connections=1,
        max_pubsub=1,
        timeout=2.0,
        db=DATABASE,
        protocol=protocol,
        parser_class=PARSERS[parser][protocol - 2],
    )
    client, work = Redis(connection_pool=pool), WORKS[name]
    outside.mset({f"key{number}": f"value{number}" for number in range(KEYS)})

    def get_ready() -> None:
        work.prepare(outside)
        if start == "cold":
            pool.recycle()

    points = []
    for _ in FIRST_RUNS:
        get_ready()
        points.append(count_points(lambda: work.run(client), kind))
        assert_all_is_well(pool, outside)
    offset = zlib.crc32(f"{name}{protocol}{parser}{start}{kind}".encode())
    for point in every(min(points), at_most=SAMPLE, offset=offset):
        get_ready()
        outcome = strike(lambda: work.run(client), kind, point)
        assert not outcome.error, (point, outcome.error)
        assert outcome.interrupted or outcome.value == work.gives, (point, outcome)
        assert not outcome.complaints, (point, outcome)
        if kind == "opcode" and pool.stats().in_use:
            # Struck between the opcodes that end an except block, where no signal is handled:
            # redis-py's frame and its error hold each other, and the connection, until then.
            gc.collect()
        assert client.get("key3") == b"value3", point
        if work.finds_dead_lines:
            pool.recycle()
        assert_all_is_well(pool, outside)


@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_a_scope_that_was_not_entered_is_not_current(kind: Kind) -> None:
    """An exception that strikes before the block begins leaves no scope behind."""
    entered: list[bool] = []
    left: list[Scope | None] = []

    def enter() -> None:
        try:
            with scope():
                entered.append(True)
        except Injected:
            pass
        left.append(current())

    for point in every(count_points(enter, kind), at_most=None):
        entered.clear()
        left.clear()
        strike(enter, kind, point)
        assert entered or left in ([None], []), point


def assert_all_is_well(pool: ConnectionPool, outside: redis.Redis) -> None:
    """Every place is free; each connection is in a fresh session, and its replies are its own."""
    stats = pool.stats()
    assert stats.idle + stats.permits == stats.max_connections == 1
    assert (stats.in_use, stats.connecting, stats.waiting, stats.pubsub) == (0, 0, 0, 0)
    subscriptions = pool.subscriptions.stats()
    assert (subscriptions.in_use, subscriptions.connecting, subscriptions.permits) == (0, 0, 1)

    with pool.connection() as connection:
        assert ask(connection, "GET", "key4") == b"value4"
        assert_is_fresh(connection, db=DATABASE)
    eventually(lambda: known_to_server(pool, outside) == 1)


def known_to_server(pool: ConnectionPool, outside: redis.Redis) -> int:
    """How many connections of the pool are open on the server's side."""
    names = [row["name"] for row in outside.client_list()]
    return sum(name.startswith(f"redispool:{pool.alias}:") for name in names)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_inject_every_point_of_the_end(make_pool: MakePool, kind: Kind) -> None:
    """Wherever `close` is interrupted: called again it ends, and lends nothing any more."""

    def closing() -> ConnectionPool:
        pool = make_pool(max_connections=2)
        pool.warm_up(2)
        return pool

    points = count_points(partial(closing().close, 0), kind)
    for point in every(points, at_most=SAMPLE and 2 * SAMPLE):
        pool = closing()
        strike(partial(pool.close, 0), kind, point)

        assert run_threads(1, lambda _, pool=pool: pool.close(0), within=10.0) == [0], point
        assert pool.closed, point
        assert pool.capacity.connections() == [], point
        with pytest.raises(PoolClosed):
            pool.acquire()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
@pytest.mark.parametrize("change", [(2, 4), (4, 2)], ids=["more", "fewer"])
def test_inject_every_point_of_a_change(
    make_pool: MakePool, kind: Kind, change: tuple[int, int]
) -> None:
    """Wherever `resize` is interrupted: called again it brings the size that was asked for."""
    before, after = change
    pool = make_pool(max_connections=before)

    def resize() -> None:
        pool.resize(after)

    def get_ready() -> None:
        pool.resize(before)
        pool.warm_up(2)

    get_ready()
    for point in every(count_points(resize, kind), at_most=SAMPLE and 2 * SAMPLE):
        get_ready()
        strike(resize, kind, point)
        resize()

        stats = pool.stats()
        assert (stats.idle + stats.permits, stats.in_use) == (after, 0), point


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_inject_every_point_of_a_failed_dial(
    make_pool: MakePool, flushed: Valkey, kind: Kind
) -> None:
    """Wherever a dial that fails is interrupted: the outage ends with the next that succeeds."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(url=proxy.url, max_connections=1, timeout=5.0, retries=50)

        def fail() -> None:
            with contextlib.suppress(redis.ConnectionError):
                pool.acquire(timeout=0)

        def get_ready() -> None:
            proxy.accept()
            pool.capacity.gate.succeeded(0.0)
            pool.recycle()
            proxy.refuse()

        get_ready()
        points = count_points(fail, kind)
        for point in every(points, at_most=SAMPLE and 4 * SAMPLE):
            get_ready()
            strike(fail, kind, point)
            proxy.accept()

            with pool.connection() as connection:
                assert ask(connection, "PING") == b"PONG", point
            assert (pool.stats().idle, pool.stats().away_seconds) == (1, 0.0), point


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_inject_every_point_of_a_disconnect(make_pool: MakePool, kind: Kind) -> None:
    """Wherever hanging up is interrupted: what is left of the connection is lent to nobody."""
    pool = make_pool(max_connections=1, timeout=2.0, db=DATABASE)
    with pool.connection() as connection:
        points = count_points(connection.disconnect, kind)

    for point in every(points, at_most=None):
        with pool.connection() as connection:
            assert ask(connection, "PING") == b"PONG"
            assert strike(connection.disconnect, kind, point).struck

        with pool.connection() as connection:  # no client, which would send it again
            assert ask(connection, "ECHO", "mine") == b"mine", point
            assert_is_fresh(connection, db=DATABASE)


def pin_and_go_on(client: Redis) -> Any:
    """Who catches the interruption of a command goes on with another, on the same connection."""
    with client.pinned() as pinned:
        with contextlib.suppress(Injected):
            pinned.get("key1")
        return pinned.get("key2")


def pin_pipelines_and_go_on(client: Redis) -> Any:
    """The same after a pipeline and a transaction."""
    with client.pinned() as pinned:
        with contextlib.suppress(Injected):
            pinned.pipeline(transaction=False).get("key1").get("key3").execute()
            pinned.pipeline().get("key1").execute()
        return pinned.get("key2")


def pin_blocking_and_go_on(client: Redis) -> Any:
    """The same after a command that blocks."""
    with client.pinned() as pinned:
        with contextlib.suppress(Injected):
            pinned.wait(0, 1)  # no replica is waited for
        return pinned.get("key2")


def watch_and_go_on(client: Redis) -> Any:
    """The same in a pipeline that watches."""
    with client.pipeline() as pipe:
        pipe.watch("key9")
        with contextlib.suppress(Injected):
            pipe.get("key1")
        return pipe.get("key2")


def keep_one_and_go_on(client: Redis) -> Any:
    """The same in a client that has one connection for its life."""
    single = Redis(connection_pool=client.connection_pool, single_connection_client=True)
    try:
        with contextlib.suppress(Injected):
            single.get("key1")
        return single.get("key2")
    finally:
        single.close()


GOING_ON = (
    pin_and_go_on,
    pin_pipelines_and_go_on,
    pin_blocking_and_go_on,
    watch_and_go_on,
    keep_one_and_go_on,
)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("run", GOING_ON)
def test_inject_every_point_and_go_on(
    make_pool: MakePool, outside: redis.Redis, run: Callable[[Redis], Any], parser: str, kind: Kind
) -> None:
    """On a connection that is held, no command gets the reply of one that was interrupted.

    It gets its own, or an error that says that the connection was lost.
    """
    pool = make_pool(max_connections=1, db=DATABASE, protocol=2, parser_class=PARSERS[parser][0])
    client = Redis(connection_pool=pool)
    outside.mset({f"key{number}": f"value{number}" for number in range(KEYS)})

    def work() -> Any:
        try:
            return run(client)
        except (redis.ConnectionError, redis.WatchError):
            return "lost"

    points = [count_points(work, kind) for _ in FIRST_RUNS][-1]
    for point in every(points, at_most=SAMPLE and 30 * SAMPLE):
        outcome = strike(work, kind, point)
        assert not outcome.error, (point, outcome.error)
        assert outcome.interrupted or outcome.value in (b"value2", "lost"), (point, outcome)
        if kind == "opcode" and pool.stats().in_use:
            gc.collect()  # as in `test_inject_every_point`
        assert client.get("key4") == b"value4", point
    gc.collect()  # what was interrupted as it dialled is dropped here, where nobody is warned of it


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_inject_every_point_of_a_watch(
    make_pool: MakePool, outside: redis.Redis, kind: Kind
) -> None:
    """A transaction never runs without its watch, though its connection was closed meanwhile."""
    client = Redis(connection_pool=make_pool(max_connections=1, db=DATABASE))
    written = []

    def work() -> None:
        with client.pipeline() as pipe:
            pipe.watch("key1")
            with contextlib.suppress(Injected):
                pipe.get("key1")
            sys.settrace(None)
            outside.set("key1", "changed")
            pipe.multi()
            pipe.set("key1", "lost")
            with contextlib.suppress(redis.WatchError):
                written.append(pipe.execute())

    points = [count_points(work, kind) for _ in FIRST_RUNS][-1]
    for point in every(points, at_most=SAMPLE and 40 * SAMPLE):
        outcome = strike(work, kind, point)
        assert not outcome.error, (point, outcome.error)
        assert not written, point
    gc.collect()
