"""Section K of the conformance list: the figures add up, and asking for them disturbs nobody."""

from __future__ import annotations

import gc
import random
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, NotOwned, PoolStats, PoolTimeout, TooManyWaiting
from redispool.connection import PooledConnection
from tests.conftest import MakePool
from tests.support import eventually, run_threads
from tests.support.callers import Waiting, in_background
from tests.support.scale import scale


class User:
    """One of many threads that do with a pool whatever can be done, and keep their own books."""

    def __init__(self, pool: ConnectionPool, seed: int) -> None:
        self.pool = pool
        self.outcomes: Counter[str] = Counter()
        self.held: list[PooledConnection] = []
        self._random = random.Random(seed)

    def work(self) -> None:
        """Do one thing, picked at random."""
        take = self.take
        self._random.choice([take, take, take, *[self.give_back] * 4, *MISCHIEF])(self)

    def take(self, _: Any = None) -> None:
        """Ask for a connection, with more or less patience."""
        if len(self.held) == 2:  # all of them would wait for each other
            return
        try:
            self.held.append(self.pool.acquire(self._random.choice([0.0, 0.0005, 0.02])))
            self.outcomes["acquired"] += 1
        except TooManyWaiting:
            self.outcomes["rejected"] += 1
        except PoolTimeout:
            self.outcomes["timeouts"] += 1
        except (redis.TimeoutError, redis.ResponseError):
            self.outcomes["failed"] += 1
        except KeyboardInterrupt:
            self.outcomes["cancelled"] += 1

    def give_back(self, _: Any = None) -> None:
        """Give back what was taken last, if anything was."""
        if self.held:
            self.pool.release(self.held.pop())


def leave_unread(user: User) -> None:
    """Give a connection back that owes a reply."""
    if user.held:
        user.held[-1].send_command("PING")
        user.give_back()


def break_the_line(user: User) -> None:
    """Give a connection back that is closed."""
    if user.held:
        user.held[-1].disconnect()
        user.give_back()


def forget(user: User) -> None:
    """Drop a connection."""
    if user.held:
        user.outcomes["reclaimed"] += 1
        user.held.pop()


def return_nothing(user: User) -> None:
    """Give back what was never lent."""
    with pytest.raises(NotOwned):
        user.pool.release(None)
    user.outcomes["misuse"] += 1


def renew(user: User) -> None:
    """Replace all connections."""
    user.pool.recycle()


MISCHIEF: list[Callable[[User], None]] = [
    leave_unread,
    break_the_line,
    forget,
    return_nothing,
    renew,
]


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_conservation(make_pool: MakePool) -> None:
    """Whatever sixteen threads do: at rest every place and every request is accounted for.

    Idle, in use, connecting and permits are as many as the pool has places; every request was
    served, timed out, turned away, interrupted or failed, exactly as often as its caller saw it.
    """
    dials = random.Random(7)

    def set_up(connection: PooledConnection) -> None:
        connection.on_connect()
        luck = dials.random()
        if luck < 0.1:
            raise redis.ResponseError("not today")
        if luck > 0.9:
            raise KeyboardInterrupt

    pool = make_pool(max_connections=5, max_waiting=8, redis_connect_func=set_up)
    users = [User(pool, seed) for seed in range(16)]
    rest = threading.Barrier(len(users))

    def work(number: int) -> None:
        for _ in range(scale(200, 10)):
            for _ in range(100):
                users[number].work()
            rest.wait(60)
            if number == 0:
                assert_conserved(pool, users)
            rest.wait(60)
        while users[number].held:
            users[number].give_back()

    def work_or_let_go(number: int) -> None:
        try:
            work(number)
        except BaseException:
            rest.abort()  # the others would wait for this one
            raise

    run_threads(len(users), work_or_let_go, within=600.0)

    assert_conserved(pool, users)
    assert pool.stats().in_use == 0
    assert all(total(users)[outcome] for outcome in ENDS)


ENDS = ("acquired", "timeouts", "rejected", "cancelled", "failed")


def assert_conserved(pool: ConnectionPool, users: list[User]) -> None:
    """Nobody is at work: compare the pool's books with those of its users."""
    stats, seen = pool.stats(), total(users)
    assert places(stats) == pool.max_connections == len(pool.capacity.slots())
    assert stats.in_use == sum(len(user.held) for user in users)
    assert (stats.waiting, stats.connecting) == (0, 0)
    assert {end: getattr(stats, f"{end}_total") for end in ENDS} == {end: seen[end] for end in ENDS}
    assert stats.requests_total == sum(seen[end] for end in ENDS)
    assert (stats.reclaimed_total, stats.misuse_total) == (seen["reclaimed"], seen["misuse"])
    closed = sum(stats.closed_total.values()) + stats.reclaimed_total
    assert stats.created_total == closed + stats.idle + stats.in_use


def total(users: list[User]) -> Counter[str]:
    """What all of them saw together."""
    return sum((user.outcomes for user in users), Counter())


def places(stats: PoolStats) -> int:
    """How many places there are, wherever they are."""
    return stats.idle + stats.in_use + stats.connecting + stats.permits


def test_stats_is_lock_free_and_cheap(make_pool: MakePool) -> None:
    """Nobody can hold up who asks for the figures, nor one who takes a connection and returns it.

    Here somebody holds every lock that the pool has.
    """
    pool = make_pool(max_connections=3)
    pool.warm_up(2)
    pool.subscriptions.warm_up(1)
    taken = [lock for lock in locks_of(pool) if lock.acquire(blocking=False)]
    try:
        asked = in_background(pool.stats)
        assert places(eventually(lambda: asked)[0]) == 3
        served = Waiting(pool, 0.0)
        served.give_back()
        assert served.ended
    finally:
        for lock in taken:
            lock.release()

    assert pool.capacity._resizing in taken, "the search for locks finds those that there are"


LOCKS = (type(threading.Lock()), type(threading.RLock()))
NO_PART = (type, types.ModuleType, types.FunctionType, types.FrameType, threading.Thread)


def locks_of(pool: ConnectionPool) -> list[Any]:
    """Every lock that can be reached from `pool`, be it through its parts."""
    found, seen, left = [], set(), [pool]
    while left:
        part = left.pop()
        if id(part) in seen or isinstance(part, NO_PART):
            continue
        seen.add(id(part))
        if isinstance(part, LOCKS):
            found.append(part)
        left += gc.get_referents(part)
    return found


def test_stats_cost_the_same_after_long_use(make_pool: MakePool) -> None:
    """Asking takes as many steps after thousands of checkouts and replacements as after a few."""
    pool = make_pool(max_connections=3)
    pool.warm_up(3)
    few = steps(pool.stats)
    for turn in range(scale(100_000, 5000)):
        with pool.connection() as connection:
            if turn % 100 == 0:
                connection.disconnect()
            elif turn % 20 == 1:
                pool.resize(2)
                pool.resize(3)
    pool.warm_up(3)

    assert steps(pool.stats) <= few * 1.2


def steps(work: Callable[[], Any]) -> int:
    """How many calls `work` makes."""
    calls = 0

    def note(_frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    work()  # what it does only once
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls
