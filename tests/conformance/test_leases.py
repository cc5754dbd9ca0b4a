"""Section E of the conformance list: what comes back late, in a finalizer, or never."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
import threading
import tracemalloc
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import redispool
from redispool import AsyncRedis, ConnectionPool, NotOwned, PoolTimeout, Redis, ledger, queueing
from redispool.connection import PooledConnection
from redispool.leases import Lease
from redispool.testing import FaultProxy
from tests.conftest import MakeAsyncPool, MakePool
from tests.support import DROP, HANG, Clock, ScriptedServer, Valkey, eventually, run_threads
from tests.support.callers import ask, in_background
from tests.support.moments import at_line
from tests.support.scale import scale


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the logger ``redispool`` was told."""
    return [record.getMessage() for record in caplog.records if record.name == "redispool"]


# Never given back


@pytest.mark.usefixtures("no_gc")
def test_forgotten_lease(
    make_pool: MakePool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropping the last reference frees the place, serves the queue, closes the line, and warns."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 60.0)
    pool = make_pool(max_connections=1)
    forgotten = [pool.acquire()]
    waiting = in_background(pool.acquire)
    eventually(lambda: pool.stats().waiting)

    with pytest.warns(ResourceWarning, match="never given back") as warned:
        forgotten.clear()

    assert len(warned) == 1
    pool.release(eventually(lambda: waiting)[0])
    assert pool.stats().reclaimed_total == 1
    assert len(server.clients(pool.alias)) == 1


@pytest.mark.usefixtures("no_gc")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("in_one_step", [True, False])
@pytest.mark.parametrize(
    "answer", [DROP, HANG, b"-ERR no\r\n", b"-LOADING soon\r\n", b"?!?\r\n", None]
)
def test_forgotten_after_an_error(
    make_pool: MakePool, scripted: ScriptedServer, answer: Any, in_one_step: bool
) -> None:
    """The error of a command keeps no connection: one that is dropped then is back at once."""
    scripted.always("GET", answer)
    pool = make_pool(url=scripted.url, max_connections=1, socket_timeout=0.1)
    connection = pool.acquire()
    ledger.PLAIN.add("GET")
    if answer is None:
        connection._sock.shutdown(socket.SHUT_WR)

    with contextlib.suppress(redis.RedisError):
        if in_one_step:
            connection.ask(("GET", "a"), {})
        else:
            ask(connection, "GET", "a")
    del connection

    assert pool.stats().permits == 1


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("fault", [FaultProxy.refuse, FaultProxy.reset_new, FaultProxy.black_hole])
def test_forgotten_after_a_failed_dial(
    make_pool: MakePool, flushed: Valkey, fault: Callable[[FaultProxy], None]
) -> None:
    """Nor does the error of a dial keep the frames of its caller, who goes on with them."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(url=proxy.url, max_connections=1, retries=0, socket_timeout=0.1)
        fault(proxy)

        def go_on() -> weakref.ref[Lease]:
            with contextlib.suppress(redis.RedisError):
                pool.acquire(0.1)
            mine = Lease(0.0)  # anything that the frame holds
            return weakref.ref(mine)

        assert go_on()() is None


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("fault", [FaultProxy.refuse, FaultProxy.reset_new])
def test_forgotten_after_a_dial_that_failed_at_first(
    make_pool: MakePool, flushed: Valkey, fault: Callable[[FaultProxy], None]
) -> None:
    """Nor does an error that the caller never saw, because the next dial succeeded."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(url=proxy.url, max_connections=1)
        fault(proxy)

        def go_on() -> weakref.ref[Lease]:
            pool.release(pool.acquire(10.0))
            mine = Lease(0.0)  # anything that the frame holds
            return weakref.ref(mine)

        in_background(lambda: eventually(lambda: pool.stats().create_failed_total) and proxy.heal())

        assert go_on()() is None


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("transaction", [True, False])
@pytest.mark.parametrize("by_redis_py", [True, False])
def test_forgotten_after_a_pipeline_that_failed(
    pool: ConnectionPool, transaction: bool, by_redis_py: bool
) -> None:
    """Nor does the error among the replies of a pipeline, also where redis-py's code raises it."""
    client = Redis(connection_pool=pool)
    client.set("text", "a")

    def go_on() -> weakref.ref[Lease]:
        pipe = client.pipeline(transaction).incr("text")
        if by_redis_py:
            pipe.blpop(["nothing"], 0.01)
        with pytest.raises(redis.ResponseError):
            pipe.execute()
        mine = Lease(0.0)  # anything that the frame holds
        return weakref.ref(mine)

    assert go_on()() is None


@pytest.mark.usefixtures("no_gc")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", ["GET", "EVAL"])
@pytest.mark.parametrize("tasks", [False, True])
def test_forgotten_while_an_error_is_kept(
    make_pool: MakePool,
    make_async_pool: MakeAsyncPool,
    scripted: ScriptedServer,
    name: str,
    tasks: bool,
) -> None:
    """An error that somebody keeps costs no place, whatever comes of the next one who has it."""
    scripted.always(name, DROP)
    settings: dict[str, Any] = {"url": scripted.url, "max_connections": 1, "retry": "never"}
    pool: Any = make_async_pool(**settings) if tasks else make_pool(**settings)
    client: Any = (AsyncRedis if tasks else Redis)(connection_pool=pool)

    def run(work: Callable[[], Any]) -> Any:
        async def task() -> Any:
            return await work()

        return asyncio.run(task()) if tasks else work()

    for _ in range(2):  # on a line that is new, and on one that is not
        run(client.ping)
        with pytest.raises(redis.ConnectionError) as kept:
            run(lambda: client.execute_command(name, "a", 0))
        forgotten = run(pool.acquire)
        del forgotten

        assert pool.stats().permits == 1
        del kept


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("tasks", [False, True])
def test_forgotten_after_a_line_was_cut(
    make_pool: MakePool, make_async_pool: MakeAsyncPool, tasks: bool
) -> None:
    """Nor does the error keep anything that tells who read that the pool was closed."""
    pool: Any = make_async_pool() if tasks else make_pool()

    async def task() -> weakref.ref[Lease]:
        connection = await pool.acquire()
        await connection.send_command("PING")
        connection.cut()
        with pytest.raises(redis.ConnectionError, match="The pool was closed"):
            await connection.read_response()
            await connection.read_response()
        pool.release(connection)
        mine = Lease(0.0)  # anything that the frame holds
        return weakref.ref(mine)

    def go_on() -> weakref.ref[Lease]:
        connection = pool.acquire()
        connection.send_command("PING")
        connection.cut()
        with pytest.raises(redis.ConnectionError, match="The pool was closed"):
            connection.read_response()
            connection.read_response()
        pool.release(connection)
        mine = Lease(0.0)  # anything that the frame holds
        return weakref.ref(mine)

    assert (asyncio.run(task()) if tasks else go_on())() is None


def test_forgotten_in_cycle(make_pool: MakePool, server: Valkey) -> None:
    """A lease in a reference cycle is back after the next collection."""
    pool = make_pool(max_connections=1)
    cycle: list[Any] = [pool.acquire()]
    cycle.append(cycle)
    del cycle

    with pytest.warns(ResourceWarning):
        gc.collect()

    assert (pool.stats().permits, pool.stats().reclaimed_total) == (1, 1)
    with pool.connection(timeout=1.0) as connection:
        assert ask(connection, "PING") == b"PONG"
    assert len(server.clients(pool.alias)) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_forgotten_in_the_cycle_of_a_generator(make_pool: MakePool) -> None:
    """A collection may end the slot before the ``with`` block: its place is not there twice."""
    pool = make_pool(max_connections=1)

    def hold() -> Iterator[None]:
        with pool.connection():
            yield

    class Holder:
        """Refers to itself."""

    for _ in range(20):
        holder = Holder()
        holder.self, holder.generator = holder, hold()  # type: ignore[attr-defined]
        next(holder.generator)  # type: ignore[attr-defined]
        del holder
        gc.collect()
        stats = pool.stats()
        assert (stats.idle + stats.permits, stats.in_use) == (1, 0)


def test_thread_dies_with_lease(pool: ConnectionPool) -> None:
    """What a thread held when an error ended it is back."""

    def die(_: int) -> None:
        _held = pool.acquire()
        raise ZeroDivisionError

    with pytest.warns(ResourceWarning):  # the warning comes when the error is gone
        with pytest.raises(ZeroDivisionError):
            run_threads(1, die)
        eventually(lambda: gc.collect() or pool.stats().permits == 2)


def test_thread_dies_with_lease_of_its_own(pool: ConnectionPool) -> None:
    """The same for what a thread kept in a ``threading.local``, however well it ended."""
    own = threading.local()

    def keep(_: int) -> None:
        own.connection = pool.acquire()

    with pytest.warns(ResourceWarning):
        run_threads(1, keep)
        eventually(lambda: pool.stats().permits == 2)
    assert pool.stats().reclaimed_total == 1


# In a finalizer


class Collected:
    """Gives its connection back when it is collected, as careless classes do."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.connection = pool.acquire()

    def __del__(self) -> None:
        self.pool.release(self.connection)
        self.pool.stats()
        with contextlib.suppress(PoolTimeout), self.pool.connection(timeout=0.0):
            pass


@pytest.mark.parametrize("places", [1, 2], ids=["waiting", "dialling"])
def test_release_inside_gc(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    """Garbage is collected anywhere: at each line of a checkout a finalizer may give back.

    Where the only connection comes back so, the very thread that waits for it gets it.
    """
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 0.001)
    pool = make_pool(max_connections=places)
    collected = 0
    for line in range(150):
        holder = [Collected(pool)]
        with at_line(line, holder.clear) as done:
            connection = pool.acquire()
        assert ask(connection, "ECHO", f"{line}") == f"{line}".encode()
        pool.release(connection)
        del connection
        collected += len(done)
        holder.clear()
        pool.recycle()

    assert collected > 50
    stats = pool.stats()
    assert (stats.in_use, stats.waiting, stats.idle + stats.permits) == (0, 0, places)


def test_release_inside_gc_while_others_wait(make_pool: MakePool) -> None:
    """With collections all the time, in all threads, nothing dead-locks and nothing is lost."""
    pool = make_pool(max_connections=3, timeout=30.0)
    thresholds = gc.get_threshold()

    def work(_: int) -> None:
        for _ in range(scale(1000, 50)):
            in_a_cycle: list[Any] = [Collected(pool)]
            in_a_cycle.append(in_a_cycle)
            del in_a_cycle
            with pool.connection() as connection:
                assert ask(connection, "PING") == b"PONG"

    gc.set_threshold(1, 1, 1)
    try:
        run_threads(3, work)
    finally:
        gc.set_threshold(*thresholds)

    gc.collect()
    stats = pool.stats()
    assert (stats.in_use, stats.waiting, stats.idle + stats.permits) == (0, 0, 3)
    assert stats.misuse_total == stats.reclaimed_total == 0


# Late


def test_leak_report_once(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection held beyond ``leak_threshold`` is logged once, with its place, then back."""
    clock = Clock(monkeypatch)
    pool = make_pool(leak_threshold=60.0)
    with pool.connection():
        clock.advance(59.0)
        assert pool.stats().leak_suspects == 0
        assert messages(caplog) == []
        clock.advance(2.0)
        for _ in range(3):
            assert pool.stats().leak_suspects == 1
        (said,) = messages(caplog)
        assert "held for 61.0 s by thread MainThread" in said
        assert f"taken at {__file__}:" in said
        assert "in test_leak_report_once" in said

    assert len(messages(caplog)) == 2
    assert "returned after 61.0 s" in messages(caplog)[1]
    assert f"taken at {__file__}:" in messages(caplog)[1]
    assert caplog.records[0].levelno == logging.WARNING
    assert pool.stats().leak_suspects == 0


# What the application hooks in


class RefusesToTell(redis.CredentialProvider):
    """Credentials that cannot be had."""

    def get_credentials(self) -> tuple[str]:
        raise ZeroDivisionError


def refuse_to_set_up(connection: PooledConnection) -> None:
    """A session that cannot be set up, after half the way."""
    connection.on_connect()
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "hook",
    [{"credential_provider": RefusesToTell()}, {"redis_connect_func": refuse_to_set_up}],
    ids=lambda hook: next(iter(hook)),
)
def test_raising_hooks(make_pool: MakePool, server: Valkey, hook: dict[str, Any]) -> None:
    """What the application adds to the handshake may raise whatever: that costs no place."""
    pool = make_pool(max_connections=2, **hook)
    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            pool.acquire()

    stats = pool.stats()
    assert (stats.permits, stats.failed_total) == (2, 10)
    eventually(lambda: not server.clients(pool.alias))


@pytest.fixture
def raising_log() -> Iterator[None]:
    """The logger ``redispool`` has a filter that raises."""

    def refuse_to_log(_: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    logger = logging.getLogger("redispool")
    logger.addFilter(refuse_to_log)
    yield
    logger.removeFilter(refuse_to_log)


@pytest.mark.usefixtures("raising_log")
def test_raising_hooks_of_the_log(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A filter of the log that raises keeps no connection from coming back; the error is shown."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, leak_threshold=60.0)

    with pool.connection() as kept:
        clock.advance(61.0)
        assert pool.stats().leak_suspects == 1

    assert kept.lease == []
    assert pool.stats().idle == 1
    assert capsys.readouterr().err.count("Traceback") == 2


@pytest.mark.usefixtures("raising_log")
def test_raising_hooks_of_the_log_in_an_outage(
    make_pool: MakePool, flushed: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does it hide from a caller why he gets none, or cost the connection that ends an outage.

    Both are logged by the caller whose dial it was.
    """
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(url=proxy.url, max_connections=1)
        proxy.refuse()
        with pytest.raises(redis.ConnectionError, match="refused"):
            pool.acquire(timeout=0.0)
        proxy.accept()

        with pool.connection() as connection:
            assert ask(connection, "PING") == b"PONG"

        stats = pool.stats()
        assert (stats.idle, stats.created_total, stats.create_failed_total) == (1, 1, 1)
    assert capsys.readouterr().err.count("Traceback") == 2


@pytest.mark.usefixtures("no_gc")
def test_raising_hooks_of_warnings(pool: ConnectionPool) -> None:
    """Where warnings are errors, what was forgotten is back all the same, whoever keeps them."""
    kept: list[Any] = []
    hook, sys.unraisablehook = sys.unraisablehook, kept.append
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pool.acquire()
    finally:
        sys.unraisablehook = hook

    assert len(kept) == 1
    assert pool.stats().permits == 2
    assert pool.stats().in_use == 0


# In the long run


def test_no_growth(make_pool: MakePool, server: Valkey) -> None:
    """Of a million checkouts one in a hundred goes wrong: no memory, descriptor or line is left."""
    refusing: list[bool] = []

    def set_up(connection: PooledConnection) -> None:
        connection.on_connect()
        if refusing:
            raise redis.ResponseError("not today")

    pool = make_pool(max_connections=1, redis_connect_func=set_up)
    wrongs = [forget, leave_unread, break_the_line, return_twice, want_too_much]

    def spin(cycles: int) -> None:
        for cycle in range(cycles):
            pool.release(pool.acquire())
            if cycle % 100 == 0:
                wrongs[cycle // 100 % len(wrongs)](pool)
            if cycle % 1000 == 0:
                pool.recycle()
                refusing.append(True)
                with pytest.raises(redis.ResponseError):
                    pool.acquire()
                refusing.clear()

    cycles = scale(1_000_000, 10_000)
    with warnings.catch_warnings(action="ignore"):
        tracemalloc.start()
        spin(min(cycles, 20_000))  # what is kept once and for all
        threads, descriptors, memory = in_the_process()
        spin(cycles)
        after = in_the_process()
        tracemalloc.stop()

    assert after[:2] == (threads, descriptors)
    assert after[2] - memory < 2000
    assert len(server.clients(pool.alias)) == 1
    assert len(pool.capacity.records()) == 1


WATCHED = [
    *(tracemalloc.Filter(True, f"{Path(p.__file__).parent}/*") for p in (redis, redispool)),
    *(tracemalloc.Filter(True, f"*/{name}.py") for name in ("threading", "weakref", "_weakrefset")),
    # hiredis comes to keep some 30 kB in the course of hundreds of connections, and then no more.
    tracemalloc.Filter(False, "*hiredis.py"),
]
"""Whose memory is measured: the test runner has its own."""


def in_the_process() -> tuple[int, int, int]:
    """Threads, descriptors, and bytes that Python has allocated for what is watched."""
    gc.collect()
    seen = tracemalloc.take_snapshot().filter_traces(WATCHED)
    return (
        threading.active_count(),
        sum(1 for _ in Path("/dev/fd").iterdir()),
        sum(trace.size for trace in seen.traces),
    )


def forget(pool: ConnectionPool) -> None:
    """Drop the last reference."""
    pool.acquire()


def leave_unread(pool: ConnectionPool) -> None:
    """Give back what owes a reply."""
    with pool.connection() as connection:
        connection.send_command("PING")


def break_the_line(pool: ConnectionPool) -> None:
    """Give back what is closed."""
    with pool.connection() as connection:
        connection.disconnect()


def return_twice(pool: ConnectionPool) -> None:
    """Give back what is back."""
    connection = pool.acquire()
    pool.release(connection)
    with pytest.raises(NotOwned):
        pool.release(connection)


def want_too_much(pool: ConnectionPool) -> None:
    """Ask while nothing is free."""
    with pool.connection(), pytest.raises(PoolTimeout):
        pool.acquire(timeout=0.0)
