from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redispool import PoolFactory, PoolTimeout, Redis, TooManyWaiting, logs
from redispool.announcer import ANNOUNCER, MOST_WAITING, Announcer
from redispool.events import (
    KINDS,
    Closed,
    Connected,
    Event,
    Hooks,
    LeakSuspected,
    OutageBegan,
    OutageEnded,
    TimedOut,
)
from tests.conftest import MakeAsyncPool, MakeFactory, MakePool
from tests.support import Clock, Valkey, eventually
from tests.support.forks import in_child
from tests.support.injection import count_points, every, strike
from tests.support.loops import Run
from tests.support.scale import scale


def listen(hooks: Hooks, *kinds: type[Event]) -> list[Any]:
    """Hear everything of `kinds`, or all there is."""
    heard: list[Any] = []
    for kind in kinds or KINDS:
        getattr(hooks, kind.hook)(heard.append)
    return heard


def all_told() -> None:
    """Wait until the listeners have heard all that has happened."""
    assert ANNOUNCER.wait(10.0)


@pytest.fixture(autouse=True)
def _nothing_left_over() -> Iterator[None]:
    yield
    all_told()


def test_every_kind_is_told(own_server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool tells of connections opened and closed, time-outs, leaks, outages and their ends."""
    clock = Clock(monkeypatch)
    with PoolFactory({"a": {"url": own_server.url, "max_connections": 1}}) as factory:
        pool = factory.pool("a")
        heard = listen(factory)
        with pool.connection():
            clock.advance(61.0)
            with pytest.raises(PoolTimeout):
                pool.acquire(timeout=0.01)
        own_server.stop()
        clock.advance(2.0)  # so that the line is looked at
        with pytest.raises(redis.ConnectionError):
            pool.acquire(timeout=0.0)
        own_server.start()
        clock.advance(60.0)
        pool.release(pool.acquire())
        all_told()
        told = [*heard]  # before the end of the pool, which is told as well

    kinds = [type(event) for event in told]
    assert kinds[:3] == [Connected, LeakSuspected, TimedOut]
    assert kinds[3:] == [Closed, OutageBegan, Connected, OutageEnded]
    assert {(event.alias, event.face) for event in told} == {("a", "threads")}
    assert told[0].server == pool.options.server
    leak, timed_out, closed, began, _, ended = told[1:]
    assert leak.seconds >= 61.0
    assert f"{__file__}:" in leak.place
    assert timed_out.reason == "timeout"
    assert (timed_out.in_use, timed_out.max_connections, timed_out.waiting) == (1, 1, 0)
    assert timed_out.place.endswith("in test_every_kind_is_told")
    assert closed.reason == "dead_at_checkout"
    assert began.reason == ended.reason
    assert ended.failures == 1
    assert ended.seconds >= 60.0


def test_pools_for_asyncio_tell_the_same(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Connections, their ends and time-outs of a pool for asyncio are told, with their places."""
    pool = make_async_pool(max_connections=1, alias="loop")
    heard = listen(pool)

    async def work() -> None:
        async with pool.connection():
            with pytest.raises(PoolTimeout):
                await pool.acquire(timeout=0.01)
        pool.recycle()

    run(work())
    all_told()

    assert [type(event) for event in heard] == [Connected, TimedOut, Closed]
    assert heard[1].place.endswith("in work")
    assert heard[2].reason == "drained"
    assert {event.face for event in heard} == {"asyncio"}


def test_who_is_turned_away_at_once_is_told_apart(make_pool: MakePool) -> None:
    """A full queue is a time-out with a reason of its own."""
    pool = make_pool(max_connections=1, max_waiting=1)
    heard = listen(pool, TimedOut)
    with pool.connection():
        waiter = threading.Thread(target=lambda: pool.release(pool.acquire()))
        waiter.start()
        eventually(lambda: pool.stats().waiting)
        with pytest.raises(TooManyWaiting):
            pool.acquire()
    waiter.join()
    all_told()

    assert [event.reason for event in heard] == ["too_many_waiting"]


def test_subscriptions_are_told_as_such(make_pool: MakePool) -> None:
    """The pool of subscriptions tells the listeners of the pool that it belongs to."""
    pool = make_pool()
    heard = listen(pool, Connected)
    with Redis(connection_pool=pool).pubsub() as pubsub:
        pubsub.subscribe("news")
    all_told()

    assert [event.subscriptions for event in heard] == [True]


def test_a_factory_hears_all_its_pools(make_factory: MakeFactory, server: Valkey, run: Run) -> None:
    """Listeners of a factory hear pools made before and after, for threads and asyncio, once."""
    factory = make_factory({"a": server.url, "b": server.url})
    factory.pool("a")
    heard = listen(factory, Connected)
    listen_twice = heard.append
    factory.on_connect(listen_twice)

    factory.client("a").ping()
    factory.client("b").ping()
    run(factory.async_client("a").ping())
    all_told()

    told = [(event.alias, event.face) for event in heard]
    assert told == [("a", "threads"), ("b", "threads"), ("a", "asyncio")]


def test_listeners_outlast_a_reopening(make_factory: MakeFactory) -> None:
    """After `close` and `reopen` the listeners of a factory hear the new pools."""
    factory = make_factory()
    heard = listen(factory, Connected)
    factory.client().ping()
    factory.close()
    factory.reopen()
    factory.client().ping()
    all_told()

    assert len(heard) == 2


def test_a_listener_can_be_forgotten(make_pool: MakePool) -> None:
    """What was forgotten hears nothing any more."""
    pool = make_pool()
    heard = listen(pool)
    pool.forget_listener(heard.append)
    pool.warm_up(1)
    all_told()

    assert heard == []


def test_a_coroutine_function_is_refused(make_pool: MakePool) -> None:
    """There is no loop that would run it; the mistake is told at once."""

    async def listener(event: Event) -> None: ...

    with pytest.raises(TypeError, match="coroutine function"):
        make_pool().on_connect(listener)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_raising_listener_harms_nobody(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """Whatever one raises: caller, pool and the other listeners do not notice; the log does."""
    pool = make_pool(max_connections=1)

    def fail(event: Event) -> None:
        raise error("on purpose")

    for kind in KINDS:
        getattr(pool, kind.hook)(fail)
    heard = listen(pool)
    for _ in range(3):
        pool.warm_up(1)
        pool.recycle()
    all_told()

    assert len(heard) == 6
    assert pool.stats().permits == 1
    failed = [record for record in caplog.records if vars(record).get("event") == "listener_failed"]
    assert len(failed) == 6
    assert all(record.exc_info and vars(record)["reason"] == error.__name__ for record in failed)


def test_a_listener_may_use_the_pool(make_pool: MakePool) -> None:
    """Not even in a pool of one connection, which its cause holds, does a listener dead-lock."""
    pool = make_pool(max_connections=1)
    client = Redis(connection_pool=pool)
    got: list[Any] = []

    @pool.on_connect
    def use(event: Connected) -> None:
        got.append(client.incr("connected"))

    with pool.connection():
        pass
    all_told()

    assert got == [1]


def test_what_listeners_cause_is_not_told(make_pool: MakePool) -> None:
    """A listener that opens a connection at each one that is opened does so once."""
    pool = make_pool(max_connections=1)
    heard = []

    @pool.on_close
    def open_and_close(event: Closed) -> None:
        heard.append(event)
        pool.warm_up(1)
        pool.recycle()

    pool.warm_up(1)
    pool.recycle()
    all_told()

    assert len(heard) == 1


def test_a_finalizer_only_adds_to_the_queue(make_pool: MakePool) -> None:
    """What is dropped is told by another thread, though the finalizer ran in the caller's."""
    pool = make_pool()
    threads: list[int] = []
    reasons: list[str] = []

    @pool.on_close
    def note(event: Closed) -> None:
        threads.append(threading.get_ident())
        reasons.append(event.reason)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        connection = pool.acquire()
        del connection
        gc.collect()
    all_told()

    assert reasons == ["dropped"]
    assert threads != [threading.get_ident()]


def test_no_thread_stays(make_pool: MakePool) -> None:
    """Once all is told no thread is left, which would be in the way of a fork."""
    pool = make_pool()
    ended: list[Callable[[], bool]] = []

    @pool.on_connect
    def note(event: Connected) -> None:
        task = os.getpid(), threading.get_native_id()
        ended.append(lambda: not os.path.exists("/proc/{}/task/{}".format(*task)))  # noqa: PTH110

    pool.warm_up(1)
    all_told()

    eventually(lambda: ended[0]())


def test_a_forked_child_tells_its_own(make_pool: MakePool) -> None:
    """Listeners are a child's too; it tells what happens there, though a parent's was at work."""
    pool = make_pool()
    heard: list[int] = []
    busy, go_on = threading.Event(), threading.Event()

    @pool.on_close
    def dawdle(event: Closed) -> None:
        busy.set()
        assert go_on.wait(30.0)

    @pool.on_connect
    def note(event: Connected) -> None:
        heard.append(os.getpid())

    def in_the_child() -> tuple[int, list[int]]:
        heard.clear()
        pool.warm_up(1)
        all_told()
        return os.getpid(), heard

    pool.warm_up(1)
    pool.recycle()
    assert busy.wait(10.0)
    try:
        child, heard_there = in_child(in_the_child)
    finally:
        go_on.set()

    assert heard_there == [child]
    assert heard == [os.getpid()]


def test_too_many_for_slow_listeners_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """The queue has a bound; the log says that something was lost, and what follows is told."""
    announcer, go_on = Announcer(), threading.Event()
    heard: list[Any] = []

    def listener(event: Any) -> None:
        assert go_on.wait(30.0)
        heard.append(event)

    announcer.tell("first", [listener])
    eventually(lambda: not announcer._queue)
    for number in range(MOST_WAITING + 5):
        announcer.tell(number, [listener])
    go_on.set()
    assert announcer.wait(10.0)
    announcer.tell("last", [listener])
    assert announcer.wait(10.0)

    assert heard == ["first", *range(MOST_WAITING), "last"]
    assert [vars(record)["event"] for record in caplog.records] == ["events_dropped"]


def test_a_process_that_ends_tells_what_it_has_to(server: Valkey) -> None:
    """What happened last in a script reaches its listeners before the end of the process."""
    script = (
        "import redispool, sys, time\n"
        f"pool = redispool.ConnectionPool(url={server.url!r})\n"
        "pool.on_connect(lambda event: (time.sleep(0.2), print(event.hook)))\n"
        "pool.warm_up(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "on_connect\n"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["line", "opcode"])
def test_an_interruption_where_something_is_told_costs_nothing(
    make_pool: MakePool, kind: Any
) -> None:
    """Wherever a caller is interrupted: no place is lost, and later events are told."""
    pool = make_pool(max_connections=1, timeout=2.0)
    client = Redis(connection_pool=pool)
    heard = listen(pool)

    def cold() -> Any:
        pool.recycle()
        return client.get("key")

    points = [count_points(cold, kind) for _ in range(3)][-1]
    for point in every(points, at_most=scale(1000, 30)):
        outcome = strike(cold, kind, point)
        gc.collect()
        assert not outcome.error, point
        assert client.get("key") is None, point
        stats = pool.stats()
        assert stats.idle + stats.permits == stats.max_connections, point

    all_told()
    heard.clear()
    cold()
    all_told()
    assert [type(event) for event in heard] == [Closed, Connected]


def test_each_record_names_its_event(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records carry a stable name and the figures as fields of their own."""
    clock = Clock(monkeypatch)
    caplog.set_level(logging.DEBUG, "redispool")
    pool = make_pool(max_connections=1)
    with pool.connection():
        clock.advance(61.0)
        with pytest.raises(PoolTimeout):
            pool.acquire(timeout=0.01)
    pool.recycle()

    records = {vars(each)["event"]: vars(each) for each in caplog.records}
    assert list(records) == [
        "connection_opened",
        "leak_suspected",
        "pool_timeout",
        "returned_late",
        "connection_closed",
    ]
    assert {record["alias"] for record in records.values()} == {pool.alias}
    assert records["leak_suspected"]["seconds"] >= 61.0
    assert records["pool_timeout"]["max_connections"] == 1
    assert records["connection_closed"]["reason"] == "drained"
    assert {each.filename for each in caplog.records}.isdisjoint({"logs.py"})


def test_a_log_that_raises_harms_nobody(
    make_pool: MakePool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A filter of the application that raises costs neither a connection nor an event."""

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter of the application")

    pool = make_pool(max_connections=1)
    heard = listen(pool)
    before = logs.logger.level
    logs.logger.addFilter(refuse)
    logs.logger.setLevel(logging.DEBUG)
    try:
        pool.warm_up(1)
        pool.recycle()
    finally:
        logs.logger.removeFilter(refuse)
        logs.logger.setLevel(before)
    all_told()

    assert [type(event) for event in heard] == [Connected, Closed]
    assert pool.stats().permits == 1
    assert "a filter of the application" in capsys.readouterr().err


def test_nothing_is_told_of_a_command(make_pool: MakePool) -> None:
    """On a connection that is open commands reach no channel, with listeners or without."""
    pool = make_pool()
    client = Redis(connection_pool=pool)
    client.ping()
    heard, asked = listen(pool), []
    pool.channel.tell = lambda *_, **__: asked.append(1)  # type: ignore[method-assign]
    for _ in range(100):
        client.ping()

    assert (heard, asked) == ([], [])
