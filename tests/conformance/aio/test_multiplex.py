"""Commands of one loop that share a connection: which do, in which order, and what goes wrong."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import redis
import uvloop

from redispool import (
    AsyncConnectionPool,
    AsyncRedis,
    ConnectionPool,
    InvalidOption,
    PoolClosed,
    PoolTimeout,
    Redis,
)
from redispool.aio import multiplexer as multiplexer_module
from redispool.aio import trunk as trunk_module
from redispool.aio.line import Line
from tests.conftest import MakeAsyncPool, MakeFactory
from tests.redispool.aio.test_client import tls_server
from tests.support import Valkey, eventually, in_child, run_threads
from tests.support.clock import Clock
from tests.support.loops import Run, closed_quietly, outcome_of, until
from tests.support.scripted import DROP, HANG, ScriptedServer
from tests.support.valkey import free_port


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each write handed to the system, in their order."""
    seen: list[int] = []
    send = Line.send_at_once

    def note(self: Line, data: Any) -> int:
        sent = send(self, data)
        seen.append(sent)
        return sent

    monkeypatch.setattr(Line, "send_at_once", note)
    return seen


def client_of(pool: AsyncConnectionPool) -> AsyncRedis:
    """A client of `pool`."""
    return AsyncRedis(connection_pool=pool)


def scripted_client(scripted: ScriptedServer, **options: Any) -> AsyncRedis:
    """A client whose commands share a connection to `scripted`."""
    return AsyncRedis(host=scripted.host, port=scripted.port, multiplex=True, **options)


# What shares, and what does not


def test_a_turn_of_the_loop_is_one_write_on_one_connection(
    make_async_pool: MakeAsyncPool, sends: list[int], run: Run
) -> None:
    """What many tasks ask in one turn goes out together; the lease ends when all is answered."""
    pool = make_async_pool(multiplex=True, max_connections=10)
    client = client_of(pool)

    async def work() -> None:
        await client.mset({f"key{number}": number for number in range(50)})
        sends.clear()
        tasks = [asyncio.ensure_future(client.get(f"key{number}")) for number in range(50)]
        await until(lambda: pool.stats().shared_in_flight == 50)
        assert await asyncio.gather(*tasks) == [str(number).encode() for number in range(50)]
        assert len(sends) == 1
        await until(lambda: not pool.stats().in_use)

    run(work())

    stats = pool.stats()
    assert (stats.created_total, stats.idle, stats.shared_in_flight) == (1, 1, 0)
    assert stats.shared_commands_total == 51
    assert stats.acquired_total == 2


def test_a_cold_start_dials_once(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Tasks that all come before there is a connection wait for the same one."""
    pool = make_async_pool(multiplex=True, max_connections=10)

    async def work() -> list[Any]:
        return await asyncio.gather(*[client_of(pool).echo(str(n)) for n in range(50)])

    assert run(work()) == [str(number).encode() for number in range(50)]
    assert (pool.stats().created_total, pool.stats().acquired_total) == (1, 1)


OWN: dict[str, Callable[[AsyncRedis], Any]] = {
    "a blocking command": lambda client: client.blpop(["nothing"], 0.01),
    "a blocking read of a stream": lambda client: client.xread({"nothing": "$"}, block=10),
    "a wait for replicas": lambda client: client.wait(0, 10),
    "state of the session": lambda client: client.execute_command("SELECT", 0),
    "a transaction by hand": lambda client: client.execute_command("MULTI"),
    "a command of two words": lambda client: client.config_get("maxmemory"),
    "a pipeline": lambda client: client.pipeline(transaction=False).get("key").execute(),
    "a transaction": lambda client: client.pipeline().get("key").execute(),
    "a large value": lambda client: client.set("key", b"x" * multiplexer_module.LARGE),
    "a reply in bytes": lambda client: client.dump("key"),
}


@pytest.mark.parametrize("what", OWN)
def test_what_has_a_connection_to_itself(
    make_async_pool: MakeAsyncPool, run: Run, what: str
) -> None:
    """Whatever blocks, leaves something behind, is large or a batch, shares with nobody."""
    pool = make_async_pool(multiplex=True)

    async def work() -> None:
        await OWN[what](client_of(pool))

    run(work())

    assert pool.stats().shared_commands_total == 0
    assert pool.stats().in_use == 0


def test_pins_subscriptions_and_single_connections_share_nothing(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """Who holds a connection has it for himself, with all that he does on it."""
    pool = make_async_pool(multiplex=True)

    async def work() -> None:
        async with client_of(pool).pinned() as pin:
            assert await pin.client_id() == await pin.client_id()
            await pin.set("key", "value")
        async with AsyncRedis(connection_pool=pool, single_connection_client=True) as single:
            assert await single.get("key") == b"value"
        async with client_of(pool).pubsub() as pubsub:
            await pubsub.subscribe("news")
            assert await pubsub.get_message(timeout=1.0)

    run(work())

    assert pool.stats().shared_commands_total == 0


def test_a_blocking_command_holds_up_nobody(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """While one task waits for an element of a list, the others go on."""
    client = client_of(make_async_pool(multiplex=True, max_connections=2))

    async def work() -> Any:
        waiting = asyncio.ensure_future(client.blpop(["list"], 10))
        assert await asyncio.gather(*[client.echo(str(n)) for n in range(20)])
        await client.rpush("list", "value")
        return await waiting

    assert run(work()) == (b"list", b"value")


def test_errors_and_converted_replies_are_each_ones_own(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """An error of the server, or a reply that is no text, is raised where it belongs alone."""
    pool = make_async_pool(multiplex=True, decode_responses=True)
    client = client_of(pool)

    async def work() -> list[Any]:
        await client.set("key", "value")
        await client.set("bytes", b"\xff")
        await client.hset("hash", "field", "x")
        asked = client.get("key"), client.incr("key"), client.hgetall("hash"), client.get("bytes")
        return await asyncio.gather(*asked, client.get("key"), return_exceptions=True)

    first, refused, converted, no_text, last = run(work())

    assert (first, last, converted) == ("value", "value", {"field": "x"})
    assert isinstance(refused, redis.ResponseError)
    assert isinstance(no_text, UnicodeDecodeError)
    assert pool.stats().created_total == 1


def test_both_protocols_and_pushes(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """With RESP3 a push that comes between two replies is nobody's reply."""
    pool = make_async_pool(multiplex=True, protocol=3)
    client = client_of(pool)

    async def work() -> None:
        await client.hset("hash", "field", "x")
        await until(lambda: not pool.stats().in_use)
        async with pool.connection() as connection:
            # It stays on: a connection that tracks would not be lent again.
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST")
            await connection.read_response()
            connection.ledger.reset()
        for number in range(10):
            asked = client.set("key", number), client.get("key"), client.hgetall("hash")
            _, value, found = await asyncio.gather(*asked)
            assert (value, found) == (str(number).encode(), {b"field": b"x"})

    run(work())

    assert pool.stats().created_total == 1


@pytest.mark.usefixtures("no_gc")
def test_an_error_leaves_no_cycle(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """What is raised is gone when its handler ends, with all frames that it came through."""
    client = client_of(make_async_pool(multiplex=True))

    async def work() -> Any:
        await client.set("key", "value")
        try:
            await client.incr("key")
        except redis.ResponseError as error:
            return weakref.ref(error)

    assert run(work())() is None


# Going wrong


def test_a_cancelled_command_keeps_its_place(
    make_async_pool: MakeAsyncPool, flushed: Valkey, run: Run
) -> None:
    """The reply of a cancelled command is dropped in its turn, and the line goes on."""
    pool = make_async_pool(multiplex=True)
    client = client_of(pool)

    async def work() -> list[Any]:
        await client.mset({"key0": 0, "key1": 1, "key2": 2})
        with flushed.outside() as outside:
            outside.client_pause(100)
            tasks = [asyncio.ensure_future(client.get(f"key{number}")) for number in range(3)]
            await until(lambda: pool.stats().in_use)
            await asyncio.sleep(0)
            tasks[1].cancel()
        return [await outcome_of(task) for task in tasks]

    first, cancelled, last = run(work())

    assert (first, last) == (b"0", b"2")
    assert isinstance(cancelled, asyncio.CancelledError)
    assert (pool.stats().created_total, pool.stats().in_use) == (1, 0)


def test_what_is_cancelled_before_it_is_written_is_not_sent(
    scripted: ScriptedServer, run: Run
) -> None:
    """A command whose task is cancelled in the same turn never reaches the server."""
    client = scripted_client(scripted)

    async def work() -> None:
        await client.get("key")
        kept, dropped = asyncio.ensure_future(client.get("key")), client.incr("hits")
        dropped = asyncio.ensure_future(dropped)
        asyncio.get_running_loop().call_soon(dropped.cancel)
        assert await kept == b"value"
        assert isinstance(await outcome_of(dropped), asyncio.CancelledError)
        await client.aclose()

    run(work())

    assert scripted.received["INCRBY"] == 0


@pytest.mark.parametrize("answer", [DROP, (b"$5\r\nva", DROP), (b":1", DROP)])
def test_a_broken_line(scripted: ScriptedServer, run: Run, answer: Any) -> None:
    """Where the line breaks, reads are sent again, and who has written is told, each by name."""
    client = scripted_client(scripted)

    async def work() -> list[Any]:
        await client.get("key")
        scripted.answer("SET", answer)
        asked = client.get("key"), client.set("key", "x"), client.incr("hits"), client.get("key")
        found = await asyncio.gather(*asked, return_exceptions=True)
        await client.aclose()
        return found

    first, broken, behind, last = run(work())

    assert (first, last) == (b"value", b"value")
    assert isinstance(broken, redis.ConnectionError)
    assert "may have executed SET" in str(broken)
    assert "may have executed INCRBY" in str(behind)
    assert (scripted.received["SET"], scripted.received["INCRBY"]) == (1, 0)


def test_a_time_out_ends_the_line(scripted: ScriptedServer, run: Run) -> None:
    """Where no reply comes in time all in flight are told; a late reply is nobody else's."""
    client = scripted_client(scripted, socket_timeout=0.1, retry="never")
    let_go = threading.Event()

    async def work() -> None:
        await client.get("key")
        scripted.answer("GET", (lambda: let_go.wait(5) and b"", b"$4\r\nlate\r\n"))
        asked = client.get("key"), client.incr("hits")
        slow, behind = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(slow, redis.TimeoutError)
        assert isinstance(behind, redis.TimeoutError)
        assert "may have executed INCRBY" in str(behind)
        let_go.set()
        assert await client.get("key") == b"value"
        await client.aclose()

    run(work())


def test_a_retry_ends_with_the_time_of_all_tries(scripted: ScriptedServer, run: Run) -> None:
    """A read that is sent again is waited for no longer than all its tries may take."""
    client = scripted_client(scripted, socket_timeout=0.1, timeout=0.1)

    async def work() -> float:
        await client.get("key")
        scripted.answer("GET", *[HANG] * 10)
        started = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            await client.get("key")
        await client.aclose()
        return time.monotonic() - started

    assert run(work()) < 1.0


def test_what_was_not_written_is_sent_again(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Of two writes the line breaks in the first: the second, not written yet, runs once."""
    monkeypatch.setattr(trunk_module, "MOST_IN_FLIGHT", 1)
    client = scripted_client(scripted)

    async def work() -> list[Any]:
        await client.get("key")
        scripted.answer("SET", DROP)
        asked = client.set("key", "x"), client.incr("hits")
        found = await asyncio.gather(*asked, return_exceptions=True)
        await client.aclose()
        return found

    broken, behind = run(work())

    assert "may have executed SET" in str(broken)
    assert behind == 1
    assert (scripted.received["SET"], scripted.received["INCRBY"]) == (1, 1)


def test_a_server_that_reads_slowly(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """What the system takes piece by piece arrives whole and in order."""
    pool = make_async_pool(multiplex=True)
    client = client_of(pool)
    send = Line.send_at_once
    full = [False]

    def a_little(self: Line, data: Any) -> int:
        full[0] = not full[0]
        return send(self, data[:700]) if full[0] else 0

    async def work() -> list[Any]:
        await client.ping()
        monkeypatch.setattr(Line, "send_at_once", a_little)
        return await asyncio.gather(*[client.echo(str(n) * 99) for n in range(60)])

    assert run(work()) == [(str(number) * 99).encode() for number in range(60)]
    assert pool.stats().created_total == 1


@pytest.mark.parametrize("busy", [True, False], ids=["all in use", "refused"])
def test_no_connection_is_to_be_had(make_async_pool: MakeAsyncPool, run: Run, busy: bool) -> None:
    """Where no connection comes in time, or none at all, each is told in an error of his own."""
    where = {} if busy else {"host": "127.0.0.1", "port": free_port()}
    pool = make_async_pool(multiplex=True, max_connections=1, timeout=0.05, retries=0, **where)
    client = client_of(pool)

    async def work() -> list[Any]:
        held = await pool.acquire() if busy else None
        tasks = [client.incr("hits") for _ in range(3)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        if held:
            pool.release(held)
        return found

    found = run(work())

    kind = PoolTimeout if busy else redis.ConnectionError
    assert all(isinstance(error, kind) for error in found), found
    assert not any("may have executed" in str(error) for error in found)
    assert len({id(error) for error in found}) == 3


class MadeElsewhere(Exception):
    """An error as a library in C has it: its class makes none."""

    def __new__(cls, *_: Any) -> Self:
        raise TypeError("no constructor")


def test_an_error_of_the_users_own(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """What his credentials end in each caller gets, be it of a class that cannot be made again."""
    error = Exception.__new__(MadeElsewhere, "expired")

    async def password() -> str:
        raise error

    client = client_of(make_async_pool(multiplex=True, credential_provider=password))

    async def work() -> list[Any]:
        asked = [client.get("key") for _ in range(3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert run(work()) == [error] * 3


def test_a_replica_and_a_server_that_loads(scripted: ScriptedServer, run: Run) -> None:
    """After READONLY or LOADING nobody else is led to that line."""
    client = scripted_client(scripted, retry="never")

    async def work() -> None:
        await client.get("key")
        for reply, error in (
            (b"-READONLY replica\r\n", redis.ReadOnlyError),
            (b"-LOADING wait\r\n", redis.exceptions.BusyLoadingError),
        ):
            before = scripted.connections
            scripted.answer("SET", reply)
            with pytest.raises(error):
                await client.set("key", "x")
            assert await client.get("key") == b"value"
            assert scripted.connections == before + 1
        await client.aclose()

    run(work())


# Fairness


def test_a_slow_reply_holds_up_only_what_was_written_with_it(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Who comes later than `HELD_UP` goes by another line; what was held up ends well, too."""
    client = scripted_client(scripted)
    clock = Clock(monkeypatch)
    let_go = threading.Event()

    async def work() -> None:
        await client.get("key")
        scripted.answer("SET", (lambda: let_go.wait(10) and b"", b"+OK\r\n"))
        slow = asyncio.ensure_future(client.set("key", "x"))
        behind = asyncio.ensure_future(client.get("key"))
        await until(lambda: scripted.received["SET"])
        clock.advance(trunk_module.HELD_UP * 1.1)
        assert await asyncio.gather(*[client.get("key") for _ in range(5)]) == [b"value"] * 5
        assert not slow.done()
        assert not behind.done()
        assert client.connection_pool.stats().shared_in_flight == 2
        let_go.set()
        assert (await slow, await behind) == (True, b"value")
        await client.aclose()

    run(work())

    assert scripted.connections == 2


def test_a_server_that_stands_still_gets_few_lines(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """However long nothing is answered, one loop takes no more than `LINES` connections."""
    client = scripted_client(scripted)
    clock = Clock(monkeypatch)
    let_go = threading.Event()

    async def work() -> list[Any]:
        await client.get("key")
        scripted.answer("GET", *[(lambda: let_go.wait(10) and b"", b"$1\r\nx\r\n")] * 6)
        tasks = []
        for number in range(6):
            tasks.append(asyncio.ensure_future(client.get("key")))
            await until(lambda: client.connection_pool.shared_in_flight == number + 1)
            # On a line of its own, where there is one more to have, or behind another.
            come = 1 + min(number + 1, multiplexer_module.LINES)
            await until(lambda: scripted.received["GET"] == come)
            clock.advance(trunk_module.HELD_UP * 1.1)
        assert client.connection_pool.stats().in_use == multiplexer_module.LINES
        let_go.set()
        found = await asyncio.gather(*tasks)
        await client.aclose()
        return found

    assert run(work()) == [b"x"] * 6


@pytest.mark.parametrize("full", ["places", "socket"])
def test_a_line_that_takes_no_more_holds_up_nobody_either(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch, run: Run, full: str
) -> None:
    """Where no more can be written on a line that is held up, those who come go by another."""
    pool = make_async_pool(multiplex=True)
    client = client_of(pool)
    clock = Clock(monkeypatch)
    send, stuck = Line.send_at_once, set[Line]()

    def a_little(self: Line, data: Any) -> int:
        if not stuck:
            stuck.add(self)
            return send(self, data[:10])
        return 0 if self in stuck else send(self, data)

    async def work() -> None:
        await client.ping()
        if full == "places":
            monkeypatch.setattr(trunk_module, "MOST_IN_FLIGHT", 1)
        monkeypatch.setattr(Line, "send_at_once", a_little)
        first = asyncio.ensure_future(client.echo("first"))
        await until(lambda: bool(stuck))
        clock.advance(trunk_module.HELD_UP * 1.1)
        async with asyncio.timeout(2):
            assert await client.echo("second") == b"second"
        assert not first.done()
        monkeypatch.setattr(Line, "send_at_once", send)
        assert await first == b"first"

    run(work())


def test_a_reply_to_what_has_not_gone_ends_the_line(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """As a proxy may answer: the rest of the command is for nobody, on no line."""
    client = client_of(make_async_pool(multiplex=True))
    send = Line.send_at_once

    def tell_of_a_part(self: Line, data: Any) -> int:
        monkeypatch.setattr(Line, "send_at_once", lambda *_: 0)
        send(self, data)
        return 10

    async def work() -> None:
        await client.ping()
        monkeypatch.setattr(Line, "send_at_once", tell_of_a_part)
        assert await client.echo("first") == b"first"
        monkeypatch.setattr(Line, "send_at_once", send)
        async with asyncio.timeout(2):
            assert await client.echo("second") == b"second"

    run(work())


def test_a_reply_that_cannot_be_read_is_the_trouble_of_one(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """Those behind it have lost their line: what reads is asked again, a write tells of that."""
    client = client_of(make_async_pool(multiplex=True, protocol=3))
    unreadable = "redis.setresp(3); return {map = {[{1, 2}] = 1}}"  # no key of a dict is a list

    async def work() -> list[Any]:
        await client.set("key", "value")
        asked = client.eval(unreadable, 0), client.get("key"), client.incr("number")
        return await asyncio.gather(*asked, return_exceptions=True)

    unreadable_error, value, error = run(work())
    assert type(unreadable_error) is TypeError
    assert value == b"value"
    assert isinstance(error, redis.ConnectionError)
    assert "cannot be read" in str(error)
    assert "may have executed INCR" in str(error)


def test_no_more_than_so_many_are_in_flight(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Beyond the bound commands wait their turn, and all of them get it."""
    monkeypatch.setattr(trunk_module, "MOST_IN_FLIGHT", 4)
    client = scripted_client(scripted)
    let_go = threading.Event()

    async def work() -> None:
        await client.get("key")
        scripted.answer("SET", (lambda: let_go.wait(10) and b"", b"+OK\r\n"))
        tasks = [asyncio.ensure_future(client.set("key", n)) for n in range(20)]
        await until(lambda: scripted.received["SET"])
        (reference,) = client.connection_pool.multiplexer._trunks.values()
        trunk = reference()
        assert (len(trunk.places), len(trunk.waiting)) == (4, 16)
        del trunk
        let_go.set()
        assert await asyncio.gather(*tasks) == [True] * 20
        await client.aclose()

    run(work())


def test_a_busy_loop_gives_its_connection_to_who_waits(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """A loop in which something is always in flight does not keep the last connection."""
    pool = make_async_pool(multiplex=True, max_connections=1, timeout=10.0)
    client = client_of(pool)

    async def busy(ended: asyncio.Event) -> None:
        while not ended.is_set():
            await client.echo("x")

    async def work() -> None:
        ended = asyncio.Event()
        tasks = [asyncio.ensure_future(busy(ended)) for _ in range(10)]
        await until(lambda: pool.stats().in_use)
        for _ in range(10):
            async with pool.connection(5.0):
                pass
        ended.set()
        await asyncio.gather(*tasks)

    run(work())


def test_a_loop_that_cancels_all_it_asks_keeps_nobody_waiting(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """What it would not use goes to who waits, also where it asks again in each turn."""
    pool = make_async_pool(multiplex=True, max_connections=1)
    client = client_of(pool)

    async def ask_in_vain(ended: asyncio.Event) -> None:
        while not ended.is_set():
            pool.multiplexer.ask(("GET", "key"), {}, time.monotonic()).cancel()
            await asyncio.sleep(0)

    async def work() -> None:
        await client.get("key")
        ended = asyncio.Event()
        task = asyncio.ensure_future(ask_in_vain(ended))
        for _ in range(5):
            await until(lambda: pool.stats().in_use)
            async with pool.connection(2.0):
                pass
        ended.set()
        await task

    run(work())


# Beginning, renewal and end


def test_a_connection_is_not_handed_round_unused(make_async_pool: MakeAsyncPool) -> None:
    """More loops than connections: whoever gets one asks on it before the next one does."""
    pool = make_async_pool(multiplex=True, max_connections=1, timeout=60.0)
    client = AsyncRedis(connection_pool=pool)
    loops, commands = 4, 100

    async def work() -> None:
        for _ in range(commands):
            await client.get("key")

    run_threads(loops, lambda _: asyncio.run(work()))

    stats = pool.stats()
    assert stats.commands_total == loops * commands
    assert stats.acquired_total <= stats.commands_total


@pytest.mark.parametrize("how", ["recycle", "lifetime", "resize"])
def test_a_line_in_use_is_renewed(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch, run: Run, how: str
) -> None:
    """A line that never rests is replaced all the same, without an error for anybody."""
    pool = make_async_pool(multiplex=True, max_connections=2, max_idle=None, max_lifetime=1000)
    client = client_of(pool)
    clock = Clock(monkeypatch)
    reason = {"recycle": "drained", "lifetime": "lifetime", "resize": "resized"}[how]

    async def busy(ended: asyncio.Event) -> None:
        while not ended.is_set():
            assert await client.echo("x") == b"x"

    async def work() -> None:
        ended = asyncio.Event()
        tasks = [asyncio.ensure_future(busy(ended)) for _ in range(10)]
        await until(lambda: pool.stats().in_use)
        if how == "recycle":
            pool.recycle()
        elif how == "lifetime":
            clock.advance(1200)
        else:
            held = await pool.acquire()
            pool.resize(1)
        await until(lambda: pool.stats().closed_total[reason])
        if how == "resize":
            pool.release(held)
        ended.set()
        await asyncio.gather(*tasks)

    run(work())


def test_closing(scripted: ScriptedServer, run: Run) -> None:
    """`aclose` lets what is in flight end, cuts it at its deadline, and refuses what comes."""
    client = scripted_client(scripted)
    pool = client.connection_pool
    let_go = threading.Event()

    async def work() -> None:
        await client.get("key")
        scripted.answer("GET", (lambda: let_go.wait(10) and b"", b"$1\r\nx\r\n"))
        asked = asyncio.ensure_future(client.get("key"))
        await until(lambda: scripted.received["GET"] == 2)
        closing = asyncio.ensure_future(pool.aclose(30.0))
        await until(lambda: pool.closed)
        with pytest.raises(PoolClosed):
            await client.get("key")
        let_go.set()
        assert (await asked, await closing) == (b"x", 0)

    run(work())


def test_closing_cuts(scripted: ScriptedServer, run: Run) -> None:
    """At the deadline the line is cut, and who waits is told so."""
    client = scripted_client(scripted)

    async def work() -> None:
        await client.get("key")
        scripted.answer("INCRBY", HANG)
        asked = asyncio.ensure_future(client.incr("hits"))
        await until(lambda: scripted.received["INCRBY"])
        assert await client.connection_pool.aclose(0.01) == 1
        error = await outcome_of(asked)
        assert isinstance(error, redis.ConnectionError)
        assert "The pool was closed" in str(error)
        assert "may have executed INCRBY" in str(error)

    run(work())


ENDS: dict[str, Callable[[asyncio.AbstractEventLoop], None]] = {
    "closed": closed_quietly,
    "dropped": lambda loop: None,
}


@pytest.mark.filterwarnings(
    "ignore:unclosed event loop:ResourceWarning", "ignore:.*was destroyed but it is pending"
)
@pytest.mark.parametrize(
    ("kind", "end"),
    [
        *((asyncio.new_event_loop, end) for end in ENDS),
        # A uvloop that is dropped open keeps itself, and all that it knows: docs/asyncio.md.
        *((uvloop.new_event_loop, end) for end in ENDS if end != "dropped"),
    ],
)
def test_a_loop_ends_with_commands_in_flight(
    scripted: ScriptedServer, kind: Callable[[], asyncio.AbstractEventLoop], end: str
) -> None:
    """Whatever becomes of a loop, the place that it used in the pool is there for the next one."""
    client = scripted_client(scripted, max_connections=1, timeout=2.0)
    pool = client.connection_pool
    for command in ("GET", "CLIENT"):  # in flight, and while the line is being opened
        scripted.answer(command, *[HANG] * 3)
        before = scripted.received[command]
        loop = kind()
        loop.set_exception_handler(lambda *_: None)
        tasks = [loop.create_task(client.get("key")) for _ in range(3)]  # type: ignore[arg-type]
        loop.run_until_complete(until(lambda: scripted.received[command] > before))
        ENDS[end](loop)
        del loop, tasks
        gc.collect()
        assert eventually(lambda: pool.stats().in_use + pool.stats().connecting == 0)
        scripted.answer(command)
        scripted._orders[command].clear()
        pool.recycle()
    pool.close()


def test_a_loop_that_is_closed_needs_no_collection(scripted: ScriptedServer, no_gc: None) -> None:
    """A loop that ends while a cancelled command is in flight gives the place back at once."""
    client = scripted_client(scripted, max_connections=1, timeout=1.0)

    async def work() -> None:
        await client.ping()
        scripted.answer("GET", HANG)
        before = scripted.received["GET"]
        task = asyncio.ensure_future(client.get("key"))
        await until(lambda: scripted.received["GET"] > before)
        task.cancel()

    for _ in range(3):
        asyncio.run(work())
        assert client.connection_pool.stats().in_use == 0

    client.connection_pool.close()


def test_a_lease_ends_before_its_loop(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Short loops, one for each command, use one connection, one after the other."""
    pool = make_async_pool(multiplex=True)

    for number in range(50):
        assert run(client_of(pool).echo(str(number))) == str(number).encode()  # type: ignore[arg-type]
        assert pool.stats().in_use == 0

    assert pool.stats().created_total == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_trunks_of_its_own(
    make_async_pool: MakeAsyncPool, flushed: Valkey, run: Run
) -> None:
    """A child forked with commands in flight begins anew, and its parent's end well."""
    pool = make_async_pool(multiplex=True)
    client = client_of(pool)

    def child() -> Any:
        assert (pool.stats().in_use, pool.stats().shared_in_flight) == (0, 0)
        return asyncio.run(client.echo("child"))  # type: ignore[arg-type]

    async def work() -> list[Any]:
        with flushed.outside() as outside:
            await client.ping()
            outside.client_pause(200)
            tasks = [asyncio.ensure_future(client.echo(str(n))) for n in range(5)]
            await until(lambda: pool.stats().in_use)
            await asyncio.sleep(0)
            assert in_child(child) == b"child"
        return await asyncio.gather(*tasks)

    assert run(work()) == [str(number).encode() for number in range(5)]
    assert pool.stats().created_total == 1


def test_a_pool_goes_with_its_last_reference(flushed: Valkey, run: Run) -> None:
    """What shares a connection does not hold the pool, once nothing is in flight."""
    pool = AsyncConnectionPool(
        host=flushed.host, port=flushed.port, multiplex=True, alias="forgotten"
    )

    async def work(pool: AsyncConnectionPool) -> None:
        await asyncio.gather(*[client_of(pool).echo("x") for _ in range(3)])
        await until(lambda: not pool.stats().in_use)

    async def use_and_drop() -> None:
        nonlocal pool
        await work(pool)
        del pool
        gc.collect()
        await until(lambda: not flushed.clients("forgotten"))

    run(use_and_drop())


# The option


def test_one_alias_for_both_clients(make_factory: MakeFactory, flushed: Valkey, run: Run) -> None:
    """Where an alias multiplexes, its client for threads does not, and works as ever."""
    factory = make_factory({"default": {"URL": flushed.url, "MULTIPLEX": True}})

    async def work() -> list[Any]:
        return await asyncio.gather(*[factory.async_client().echo("x") for _ in range(5)])

    assert factory.client().echo("y") == b"y"  # type: ignore[no-untyped-call]
    assert run(work()) == [b"x"] * 5
    assert factory.pool().options.multiplex is False
    assert factory.async_stats()["default"].shared_commands_total == 5
    assert factory.stats()["default"].shared_commands_total == 0


@pytest.mark.parametrize("make", [ConnectionPool, Redis])
def test_threads_do_not_multiplex(make: Callable[..., Any]) -> None:
    """A pool for threads that is asked for it says who can."""
    with pytest.raises(InvalidOption, match=r"multiplex: is for AsyncConnectionPool"):
        make(multiplex=True)


def test_a_retry_of_redis_pys_does_not_share(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Where redis-py's Retry decides it needs connections of its own: said first, obeyed later."""
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 1)
    with pytest.raises(InvalidOption, match="multiplex: cannot follow"):
        AsyncConnectionPool(multiplex=True, retry=retry)
    pool = make_async_pool(multiplex=True)
    pool.set_retry(retry)

    assert run(client_of(pool).ping())  # type: ignore[arg-type]
    assert pool.stats().shared_commands_total == 0
    if hasattr(os, "fork"):  # a child goes on like this
        assert in_child(lambda: pool.multiplexer is None)


def test_tls(tmp_path: Path, run: Run) -> None:
    """Over TLS, where bytes may wait unseen by the system, it is the same."""
    with tls_server(tmp_path) as server:
        client = AsyncRedis(
            host=server.host,
            port=server.port,
            ssl=True,
            ssl_ca_certs=str(tmp_path / "ca.pem"),
            multiplex=True,
        )
        big = b"x" * 30_000
        server.always("GET", b"$%d\r\n%s\r\n" % (len(big), big))

        async def work() -> None:
            for _ in range(3):
                asked = [client.get("key") if n % 9 else client.incr("hits") for n in range(50)]
                found = await asyncio.gather(*asked)
                assert found == [big if n % 9 else 1 for n in range(50)]
            await client.aclose()

        run(work())
        assert server.connections == 1
