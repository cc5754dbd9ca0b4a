from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from redispool import ConnectionPool, Redis
from redispool.testing import all_pools, assert_all_returned, eventually
from redispool.testing.returns import assert_returned, held_of
from tests.conftest import MakeFactory, MakePool


def complaint(*pools: ConnectionPool) -> str:
    """What the assertion says at once."""
    with pytest.raises(AssertionError) as raised:
        assert_all_returned(*pools, within=0.0)
    return str(raised.value)


def test_who_holds_nothing_passes(make_pool: MakePool) -> None:
    """A pool that was never used, and one that was, pass at once; so does no pool at all."""
    pool = make_pool()
    assert_all_returned(pool, within=0.0)
    Redis(connection_pool=pool).ping()
    assert_all_returned(pool, within=0.0)
    assert_all_returned(within=0.0)


def test_what_is_held_is_named(make_pool: MakePool) -> None:
    """The message has the pool, the thread, how long, and the line of code that took it."""
    pool = make_pool()
    with pool.connection():
        said = complaint(pool)

    (line,) = said.splitlines()[1:]
    assert said.startswith("not given back: 1\n")
    assert f"pool {pool.alias!r}: held for 0.0 s by thread MainThread, taken at {__file__}:" in line
    assert line.endswith("in test_what_is_held_is_named")


def test_each_has_its_line(make_pool: MakePool) -> None:
    """Several connections, of several pools and threads: each is named, and no other."""
    first, second, idle = make_pool(), make_pool(), make_pool()
    with ThreadPoolExecutor(1, thread_name_prefix="worker") as threads:
        taken = threads.submit(second.acquire).result()
        with first.connection(), first.connection():
            said = complaint(first, second, idle)
        second.release(taken)

    assert said.count(f"pool {first.alias!r}") == 2
    assert said.count(f"pool {second.alias!r}") == 1
    assert "by thread worker_0, which is now at" in said
    assert idle.alias not in said


def test_a_bare_acquire_is_not_looked_for_in_the_assertion(make_pool: MakePool) -> None:
    """Where the place was not noted, the line that asserts is not blamed for it."""
    pool = make_pool()
    taken = pool.acquire()
    said = complaint(pool)
    pool.release(taken)

    assert said.endswith("by thread MainThread, taken with acquire()")


def test_a_subscription_counts(make_pool: MakePool) -> None:
    """A subscription that was not closed is held like any other, and named once."""
    pool = make_pool()
    with Redis(connection_pool=pool).pubsub() as pubsub:
        pubsub.subscribe("news")
        for pools in [pool], [pool, pool.subscriptions]:
            assert complaint(*pools).startswith("not given back: 1\n")

    assert_all_returned(pool, within=0.0)


def test_a_factory_stands_for_its_pools(make_factory: MakeFactory, make_pool: MakePool) -> None:
    """Of a factory all pools are looked at, and none is made for it."""
    url = make_factory().options["default"].url
    factory = make_factory({"default": url, "queue": url})
    assert_all_returned(factory, within=0.0)
    assert factory._pools == {}

    with factory.client("queue").pinned() as pinned:
        pinned.ping()
        with pytest.raises(AssertionError, match="pool 'queue': held for"):
            assert_all_returned(factory, make_pool(), within=0.0)


def test_who_is_about_to_return_has_time(pool: ConnectionPool) -> None:
    """The assertion waits while somebody holds a connection, and passes when it comes back."""
    looked = threading.Event()

    def look() -> list[object]:
        held = held_of([pool])
        looked.set()
        return held

    taken = pool.acquire()
    with ThreadPoolExecutor(1) as threads:
        asserting = threads.submit(assert_returned, look, within=60.0)
        assert looked.wait(10.0)
        assert not asserting.done()
        pool.release(taken)
        asserting.result(10.0)


def test_looking_changes_nothing(pool: ConnectionPool) -> None:
    """The holder goes on, the figures stay, and no pool for subscriptions comes of it."""
    with pool.connection() as held:
        before = pool.capacity, len(pool.capacity.queue.idle), dict(pool.counts)
        complaint(pool)
        held.send_command("PING")
        assert held.read_response() == b"PONG"
        assert (pool.capacity, len(pool.capacity.queue.idle), dict(pool.counts)) == before

    assert pool._subscriptions == {}


def test_all_pools_of_the_process_are_known(make_pool: MakePool) -> None:
    """A pool is listed from its making until it is gone, and its subscriptions with it."""
    pool = make_pool()
    assert pool in all_pools()
    assert pool.subscriptions in all_pools()

    ConnectionPool(alias="passing")
    eventually(lambda: "passing" not in [each.alias for each in all_pools()])
