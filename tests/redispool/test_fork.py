from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, ForkedLease, PoolClosed, PoolFactory, Redis, fork, scope
from tests.conftest import MakeFactory, MakePool
from tests.support import eventually, in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def refused(work: Callable[[], Any]) -> bool:
    """Whether `work` ends in ForkedLease."""
    try:
        work()
    except ForkedLease:
        return True
    return False


def test_a_child_keeps_the_bound_that_was_set(pool: ConnectionPool) -> None:
    """After `resize`, the child has the size of the moment."""
    pool.resize(7)

    assert in_child(lambda: pool.stats().permits) == 7


def test_a_mistake_of_one_spares_no_other(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one does at a fork may raise: all others let go of what is the parent's."""

    class Mistaken:
        def after_fork_in_child(self) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # Python would print it there
    mistaken = [Mistaken() for _ in range(3)]
    for each in mistaken:
        fork.register(each)
    clients = [Redis(connection_pool=make_pool()) for _ in range(4)]
    parents = [client.client_id() for client in clients]

    childs = in_child(lambda: [client.client_id() for client in clients])

    assert not {*childs} & {*parents}


def test_a_pin_of_the_parents_is_refused(pool: ConnectionPool) -> None:
    """A pinned client works on in the parent only."""
    with Redis(connection_pool=pool).pinned() as pinned:
        pinned.set("a", "A")
        before = pinned.client_id()

        assert in_child(lambda: refused(lambda: pinned.get("a")))
        assert pinned.client_id() == before


def test_a_pin_that_another_thread_uses_is_refused_at_once(pool: ConnectionPool) -> None:
    """A child does not wait for its turn after a thread that it does not have."""
    with Redis(connection_pool=pool).pinned() as pinned:
        thread = threading.Thread(target=lambda: pinned.blpop("list", timeout=0))
        thread.start()
        eventually(lambda: pool.stats().acquired_total and not pin_is_free(pinned))

        assert in_child(lambda: refused(pinned.ping))

        with redis.Redis(host=pool.options.host, port=pool.options.port) as other:
            other.rpush("list", "x")
        thread.join()


def pin_is_free(pinned: Redis) -> bool:
    """Whether nobody has the turn."""
    turn = pinned.connection_pool._turn
    free: bool = turn.acquire(blocking=False)
    if free:
        turn.release()
    return free


@pytest.mark.parametrize("client_class", [Redis, redis.Redis])
def test_a_single_connection_of_the_parents_is_refused(
    pool: ConnectionPool, client_class: type[redis.Redis]
) -> None:
    """A client with one connection for its life does not share it with a child."""
    client = client_class(connection_pool=pool, single_connection_client=True)
    before = client.client_id()

    assert in_child(lambda: refused(client.ping))

    assert client.client_id() == before
    client.close()


def test_a_transaction_of_the_parents_goes_on(pool: ConnectionPool) -> None:
    """What the parent watches, the child's end does not unwatch."""
    client = Redis(connection_pool=pool)
    client.set("n", 1)
    with client.pipeline() as pipe:
        pipe.watch("n")
        pipe.multi()
        pipe.incr("n")

        assert in_child(lambda: refused(pipe.execute))
        assert pipe.execute() == [2]


def test_a_child_of_a_scope_ends_quietly(pool: ConnectionPool) -> None:
    """A scope that held a pin of the parent's may be closed in the child; it raises nothing."""
    client = Redis(connection_pool=pool)
    with scope() as current, client.pinned() as pinned:
        assert in_child(current.close) is None
        assert pinned.ping()


def test_a_closed_pool_is_closed_in_the_child(pool: ConnectionPool) -> None:
    """A fork opens no closed pool again."""
    pool.close()

    def in_the_child() -> bool:
        with pytest.raises(PoolClosed):
            pool.acquire()
        return pool.closed

    assert in_child(in_the_child)


def test_a_fork_while_a_pool_is_made(make_factory: MakeFactory) -> None:
    """A lock of the factory that another thread holds at the fork does not hold the child."""
    factory = make_factory()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with factory._making:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(lambda: factory.client().ping())
    finally:
        release.set()
        thread.join()


def test_a_fork_while_a_pool_is_resized(pool: ConnectionPool) -> None:
    """The same for the lock of a resize."""
    with pool.capacity._resizing:

        def in_the_child() -> int:
            pool.resize(5)
            return pool.max_connections

        assert in_child(in_the_child) == 5


def test_a_factory_goes_on_in_the_child(factory: PoolFactory) -> None:
    """Pools made before the fork work after it, and so do those made in the child."""
    parents = factory.client().client_id()

    assert in_child(lambda: factory.client().client_id()) != parents
    assert factory.client().client_id() == parents
