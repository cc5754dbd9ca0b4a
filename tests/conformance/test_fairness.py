"""Section B of the conformance list: first come, first served, and nobody is forgotten."""

from __future__ import annotations

import random
import threading
import time
from queue import SimpleQueue

import pytest

from redispool import ConnectionPool, PoolTimeout, queueing
from redispool.connection import PooledConnection
from redispool.gate import Gate
from tests.conftest import MakePool
from tests.support import ScriptedServer, eventually, run_threads
from tests.support.callers import Waiting
from tests.support.moments import at_line
from tests.support.scale import scale


@pytest.mark.usefixtures("no_second_look")
def test_fifo_handoff(make_pool: MakePool) -> None:
    """Callers get their connections in the order in which they came, at once, from each return."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    waiting = [Waiting(pool) for _ in range(20)]

    pool.release(connection)
    for turn, one in enumerate(waiting):
        eventually(lambda one=one: one.ended)
        assert [other.ended for other in waiting[turn + 1 :]] == [False] * (19 - turn)
        one.give_back()


def test_no_starvation(make_pool: MakePool) -> None:
    """With four times as many threads as connections, all get their turns alike."""
    pool = make_pool(max_connections=4)
    pool.warm_up(4)
    end = time.monotonic() + scale(2.0, 0.5)
    turns = [0] * 16

    def work(number: int) -> None:
        while time.monotonic() < end:
            with pool.connection():
                turns[number] += 1
                time.sleep(0.00005)

    run_threads(16, work)

    assert min(turns) >= 0.8 * sum(turns) / len(turns)


@pytest.mark.usefixtures("no_second_look")
def test_fifo_handoff_at_every_line(make_pool: MakePool) -> None:
    """Who queues at the very moment of a return, between any two lines of it, is served at once."""
    pool = make_pool(max_connections=1)
    line, came_to_that = 0, [True]
    while came_to_that:
        waiting: list[Waiting] = []
        connection = pool.acquire()
        with at_line(line, lambda: waiting.append(Waiting(pool))) as came_to_that:
            pool.release(connection)
        for one in waiting:
            one.give_back()
        line += 1

    assert line > 5
    assert pool.stats().created_total == 1


@pytest.mark.usefixtures("no_second_look")
def test_fifo_handoff_at_every_line_of_a_wait(make_pool: MakePool) -> None:
    """Nor does who queues miss a return between any two lines of that: he does not fall asleep."""
    pool = make_pool(max_connections=1)
    line, patience = 0, 0.5
    while True:
        held, moments = [pool.acquire(timeout=0.0)], [time.monotonic()]

        def give_back(held: list[PooledConnection] = held, moments: list[float] = moments) -> None:
            moments.append(time.monotonic())
            pool.release(held.pop())

        with at_line(line, give_back):
            held.append(pool.acquire(timeout=patience))
        pool.release(held.pop())
        started, returned = moments
        if returned - started >= patience:  # he was asleep before he came to this line
            break
        assert time.monotonic() - started < patience, line
        line += 1

    assert line > 10
    assert pool.stats().created_total == 1


@pytest.mark.usefixtures("no_second_look")
def test_no_barging(make_pool: MakePool) -> None:
    """Who gives back and asks again at once comes after the one who waited already, every time."""
    pool = make_pool(max_connections=1)
    rounds, order = scale(10_000, 500), []

    def wait_in_line() -> None:
        for _ in range(rounds):
            with pool.connection():
                order.append("queued")

    connection = pool.acquire()
    queued = threading.Thread(target=wait_in_line, daemon=True)
    queued.start()
    for _ in range(rounds):
        until_one_waits(pool)
        pool.release(connection)
        connection = pool.acquire()
        order.append("newcomer")
    pool.release(connection)
    queued.join(10)

    assert order == ["queued", "newcomer"] * rounds


def until_one_waits(pool: ConnectionPool) -> None:
    """Return when somebody is in the queue, with less delay than `eventually`."""
    end = time.monotonic() + 10.0
    while not pool.capacity.queue.waiters:
        assert time.monotonic() < end
        time.sleep(0)


def test_no_barging_in_one_step(make_pool: MakePool) -> None:
    """What is given back is the waiting caller's before the return is over."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    waiting = Waiting(pool)

    pool.release(connection)
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout=0.0)

    waiting.give_back()


@pytest.mark.usefixtures("no_second_look")
def test_no_barging_at_the_gate(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a newcomer get the place for which somebody waits until he may dial."""
    pool = make_pool(max_connections=1)
    with monkeypatch.context() as shut:
        shut.setattr(Gate, "opens_in", lambda *_: 60.0)
        waiting = Waiting(pool)
    # The gate is open now, and who waits has not noticed yet.

    with pytest.raises(PoolTimeout):
        pool.acquire(timeout=0.0)

    waiting.give_back()


@pytest.mark.parametrize("end", ["timed out", "interrupted"])
def test_dead_waiter_skipped(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """What comes back after the first in the queue has left is there for the next one."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 0.01)  # an interrupt is seen when a waiter looks up
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    dead = Waiting(pool, timeout=0.05 if end == "timed out" else None)
    alive = Waiting(pool)
    if end == "interrupted":
        dead.interrupt()
    eventually(lambda: dead.ended)
    assert pool.stats().waiting == 1

    monkeypatch.setattr(queueing, "LOOK_AGAIN", 60.0)
    pool.release(connection)

    alive.give_back()
    stats = pool.stats()
    assert isinstance(dead.error, PoolTimeout if end == "timed out" else KeyboardInterrupt)
    assert (stats.waiting, stats.timeouts_total + stats.cancelled_total) == (0, 1)


@pytest.mark.usefixtures("no_second_look", "frequent_switches")
def test_deadline_vs_handoff(make_pool: MakePool) -> None:
    """What comes back in the very moment of a time-out has one owner, and is never lost."""
    pool = make_pool(max_connections=1)
    pool.warm_up(1)
    deadlines: SimpleQueue[float] = SimpleQueue()
    outcomes: SimpleQueue[bool] = SimpleQueue()
    holders: list[PooledConnection] = []

    def wait_until_the_deadline() -> None:
        while deadline := deadlines.get():
            try:
                holders.append(pool.acquire(timeout=deadline - time.monotonic()))
            except PoolTimeout:
                outcomes.put(False)
            else:
                assert len(holders) == 1
                pool.release(holders.pop())
                outcomes.put(True)

    waiter = threading.Thread(target=wait_until_the_deadline, daemon=True)
    waiter.start()
    served, rounds = 0, scale(100_000, 1500)
    for _ in range(rounds):
        holders.append(pool.acquire(timeout=0.0))  # is there, whatever came of the round before
        deadline = time.monotonic() + 0.0003
        deadlines.put(deadline)
        moment = deadline + random.uniform(-0.00005, 0.00005)
        while time.monotonic() < moment:
            time.sleep(0)
        pool.release(holders.pop())
        served += outcomes.get(timeout=10.0)
    deadlines.put(0.0)
    waiter.join(10)

    assert 0 < served < rounds, "the two never met"
    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.waiting, stats.created_total) == (1, 0, 0, 1)
    assert stats.acquired_total == 1 + rounds + served
    assert stats.timeouts_total == rounds - served


@pytest.mark.usefixtures("no_second_look")
def test_deadline_vs_handoff_at_every_line_of_a_return(make_pool: MakePool) -> None:
    """The same where the time is over between any two lines of the return."""
    pool = make_pool(max_connections=1)
    line, came_to_that = 0, [True]
    while came_to_that:
        connection = pool.acquire(timeout=0.0)
        waiting = Waiting(pool, timeout=0.02)
        with at_line(line, lambda: eventually(lambda: waiting.ended)) as came_to_that:
            pool.release(connection)
        eventually(lambda: waiting.ended)
        if waiting.error is None:
            waiting.give_back()
        assert (pool.stats().idle, pool.stats().waiting) == (1, 0)
        line += 1

    assert line > 5
    assert pool.stats().created_total == 1


@pytest.mark.usefixtures("no_second_look")
def test_deadline_vs_handoff_at_every_line_of_a_wait(make_pool: MakePool) -> None:
    """The same where the return comes between any two lines of giving up."""
    pool = make_pool(max_connections=1)
    line, served, came_to_that = 0, 0, [True]
    while came_to_that:
        held = [pool.acquire(timeout=0.0)]
        with at_line(line, lambda: pool.release(held.pop())) as came_to_that:
            try:
                held.append(pool.acquire(timeout=1e-9))
                served += 1
            except PoolTimeout:
                pass
        if held:
            pool.release(held.pop())
        assert (pool.stats().idle, pool.stats().waiting) == (1, 0)
        line += 1

    assert 0 < served < line
    assert pool.stats().created_total == 1


def test_deadline_vs_handoff_among_many(make_pool: MakePool) -> None:
    """The same in a crowd, all of which has little time."""
    pool = make_pool(max_connections=1)
    pool.warm_up(1)

    def work(_: int) -> None:
        for _ in range(scale(2000, 100)):
            try:
                with pool.connection(timeout=0.002):
                    time.sleep(0.001)
            except PoolTimeout:
                pass

    run_threads(6, work)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.waiting) == (1, 0, 0)
    assert stats.requests_total == 1 + 6 * scale(2000, 100)


@pytest.mark.usefixtures("no_second_look")
@pytest.mark.parametrize("places", [3, 8])
def test_returns_beat_slow_connects(
    make_pool: MakePool, scripted: ScriptedServer, places: int
) -> None:
    """While others dial a slow server, callers in the queue are served by what comes back.

    That holds too where there are places left to open further connections.
    """
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=places)
    connection = pool.acquire()
    gate = threading.Event()
    scripted.always("CLIENT", lambda: gate.wait(10) and b"+OK\r\n")
    dialling = [Waiting(pool) for _ in range(2)]
    eventually(lambda: pool.stats().connecting == 2)
    waiting = [Waiting(pool) for _ in range(10)]

    pool.release(connection)
    for one in waiting:
        one.give_back()

    assert [one.ended for one in dialling] == [False, False]
    assert (pool.stats().connecting, pool.stats().created_total) == (2, 1)
    gate.set()
    for one in dialling:
        one.give_back()


@pytest.mark.usefixtures("no_second_look")
def test_failed_creator_passes_on(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """Where the first in the queue cannot connect, the next one may try at once."""
    gate = threading.Event()
    scripted.answer("SELECT", lambda: gate.wait(10) and b"-ERR not you\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1, retries=0, db=1)
    first = Waiting(pool)
    eventually(lambda: scripted.received["SELECT"])
    second = Waiting(pool)

    gate.set()

    second.give_back()
    assert "not you" in str(first.error)
