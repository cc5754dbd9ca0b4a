from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, PoolTimeout, Redis, leases
from redispool.leases import Lease
from tests.conftest import MakePool
from tests.support import Clock, eventually, run_threads
from tests.support.forks import in_child
from tests.support.injection import count_points, strike
from tests.support.moments import at_line


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the logger ``redispool`` was told."""
    return [record.getMessage() for record in caplog.records if record.name == "redispool"]


def test_who_waits_brings_it_to_light(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to ask for statistics: the first caller who has to wait reports the leak."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, leak_threshold=60.0)
    with pool.connection():
        clock.advance(61.0)
        with pytest.raises(PoolTimeout):
            pool.acquire(timeout=0.01)
        assert len(messages(caplog)) == 1


def test_not_each_of_many_who_wait_looks_for_leaks(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits looks at all leases only where nobody did for a tenth of the threshold."""
    clock, looks = Clock(monkeypatch), list[float]()
    monkeypatch.setattr(leases, "report_leaks", lambda pool, now: looks.append(now))
    pool = make_pool(max_connections=1, leak_threshold=60.0)
    with pool.connection():
        for seconds in (0.0, 5.9, 0.2, 5.9, 0.2):
            clock.advance(seconds)
            with pytest.raises(PoolTimeout):
                pool.acquire(timeout=0.0)

    assert len(looks) == 3


def test_a_long_command_is_no_leak(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single command may block for as long as it likes."""
    clock = Clock(monkeypatch)
    pool = make_pool(leak_threshold=60.0)
    client = Redis(connection_pool=pool)
    thread = threading.Thread(target=lambda: client.blpop("list", timeout=0))
    thread.start()
    eventually(lambda: pool.stats().in_use)
    clock.advance(100.0)

    assert pool.stats().leak_suspects == 0
    assert pool.stats().oldest_lease_seconds > 99.0
    client.rpush("list", "x")
    thread.join()
    assert messages(caplog) == []


def test_none_switches_the_reports_off(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``leak_threshold=None`` a lease may last for ever."""
    clock = Clock(monkeypatch)
    pool = make_pool(leak_threshold=None)
    with pool.connection():
        clock.advance(1e6)
        assert pool.stats().leak_suspects == 0

    assert messages(caplog) == []


@pytest.mark.parametrize("kind", ["pinned", "pipeline", "pubsub"])
def test_everything_held_for_longer_knows_its_place(make_pool: MakePool, kind: str) -> None:
    """Pins, watching pipelines and subscriptions note the application's line that took them."""
    pool = make_pool()
    client = Redis(connection_pool=pool)
    with getattr(client, kind)() as holder:
        if kind == "pipeline":
            holder.watch("a")
        if kind == "pubsub":
            holder.subscribe("news")
        held = leases.current(pool) + leases.current(pool.subscriptions)
        (lease,) = held

    assert lease.place.startswith(f"{__file__}:")
    assert lease.place.endswith("in test_everything_held_for_longer_knows_its_place")


def test_leases_come_oldest_first(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has been out for longest is the first to be named."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=3)
    taken = []
    for _ in range(3):
        taken.append(pool.acquire())
        clock.advance(10.0)

    since = [lease.since for lease in leases.current(pool)]
    assert since == sorted(since)
    assert 29.0 < pool.stats().oldest_lease_seconds < 35.0
    for connection in taken:
        pool.release(connection)
    assert leases.current(pool) == []


def test_a_thread_that_has_ended_is_said_to_have(pool: ConnectionPool) -> None:
    """A lease may outlive its thread: the words say so, and nothing fails."""
    (connection,) = run_threads(1, lambda _: pool.acquire())
    eventually(lambda: not leases.where_is(connection.lease[0].thread))

    assert "(ended)" in connection.lease[0].describe(connection.lease[0].since + 1.0)
    pool.release(connection)


def test_a_lease_in_words() -> None:
    """How long, by whom, and where it was taken; else where its thread is now."""
    lease = Lease(100.0)
    assert lease.describe(102.5).startswith("held for 2.5 s by thread MainThread, which is now at ")
    assert __file__ in lease.describe(102.5)

    lease.place = "app.py:7 in view"
    assert lease.describe(102.5) == "held for 2.5 s by thread MainThread, taken at app.py:7 in view"


def test_only_the_own_folders_are_passed_over() -> None:
    """A package whose name begins like ours or redis-py's is the application's."""
    for start in leases.NOT_THE_APPLICATION:
        assert start.endswith((".py", "/", "\\"))
    ours = redis.__file__
    assert ours.startswith(leases.NOT_THE_APPLICATION)
    assert not ours.replace("/redis/", "/redis_om/").startswith(leases.NOT_THE_APPLICATION)


def test_noting_the_place_of_a_connection_that_is_back_does_nothing(pool: ConnectionPool) -> None:
    """Where there is no lease there is nothing to note."""
    connection = pool.acquire()
    pool.release(connection)

    leases.note_place(connection)

    assert connection.lease == []


def test_the_name_of_a_thread_takes_no_lock() -> None:
    """What an interruption left locked in `threading` stops nobody who notes a lease."""
    main, go, names = threading.get_ident(), threading.Event(), list[str]()

    def name() -> None:
        assert go.wait(10.0)
        names.append(leases.thread_name(main))

    thread = threading.Thread(target=name)
    thread.start()
    with threading._active_limbo_lock:  # type: ignore[attr-defined]
        go.set()
        eventually(lambda: names)
    thread.join()

    assert names == [threading.current_thread().name]
    assert leases.thread_name(-1) == "-1 (ended)"


def test_nothing_is_collected_while_frames_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer there could stop the interpreter; who comes meanwhile does without, once."""
    frames, me, seen = sys._current_frames, threading.get_ident(), list[Any]()

    def look() -> dict[int, FrameType]:
        seen.append((gc.isenabled(), elsewhere(lambda: leases.where_is(me))))
        return frames()

    monkeypatch.setattr(sys, "_current_frames", look)

    assert leases.where_is(me).endswith(" in look")
    assert leases.where_is(me).endswith(" in look")
    assert seen == [(False, ""), (False, "")]
    assert gc.isenabled()


@pytest.mark.parametrize("interrupted", ["in a thread that ends", "in one that goes on"])
def test_a_look_that_is_interrupted_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    """At whatever step: others see something again, at once or soon, and garbage is collected."""
    clock, me = Clock(monkeypatch), threading.get_ident()
    ends = interrupted == "in a thread that ends"
    for _ in range(2):  # Python 3.13 shows opcodes from the second run on
        points = count_points(lambda: leases.where_is(me), "opcode")
    assert points > 50

    for point in range(1, points + 1):
        with contextlib.nullcontext() if ends else threads_are_taken_for_alive(monkeypatch):
            strike(lambda: leases.where_is(me), "opcode", point)
            clock.advance(0.0 if ends else leases.LEFT_BEHIND)
            assert leases.where_is(me), point
        assert gc.isenabled(), point


def test_a_look_within_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that looks, too, does without, and all is collected again afterwards."""
    me, line, came_to_that = threading.get_ident(), 0, [True]
    while came_to_that:
        with at_line(line, lambda: leases.where_is(me)) as came_to_that:
            leases.where_is(me)
        assert gc.isenabled(), line
        line += 1
    assert line > 10


def test_a_child_that_is_forked_within_a_look_collects(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread of the parent has stopped for a moment goes on in the child."""
    frames, found = sys._current_frames, list[bool]()

    def look() -> dict[int, FrameType]:
        found.append(in_child(gc.isenabled))
        return frames()

    monkeypatch.setattr(sys, "_current_frames", look)
    leases.where_is(threading.get_ident())

    assert found == [True]


@contextlib.contextmanager
def threads_are_taken_for_alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let all threads go on, as far as `threading` says."""

    class All(dict[int, threading.Thread]):
        def __contains__(self, ident: object) -> bool:
            return True

    with monkeypatch.context() as patched:
        patched.setattr(threading, "_active", All(threading._active))  # type: ignore[attr-defined]
        yield


def elsewhere(work: Callable[[], Any]) -> Any:
    """What `work` gives in another thread."""
    found: list[Any] = []
    run_threads(1, lambda _: found.append(work()))
    return found[0]
