"""Section F of the conformance list: a child never touches what is its parent's."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redispool import ConnectionPool, ForkedLease, Redis, fork
from redispool.connection import PooledConnection
from tests.conftest import MakePool
from tests.support import Valkey, eventually, in_child, run_threads
from tests.support.callers import Waiting, ask
from tests.support.moments import at_line
from tests.support.scale import scale

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def refused(work: Callable[[], Any]) -> bool:
    """Whether `work` ends in ForkedLease."""
    try:
        work()
    except ForkedLease:
        return True
    return False


def ids_of_all(pool: ConnectionPool) -> list[int]:
    """The server's numbers of as many connections as the pool has places, held at once."""
    held = [pool.acquire() for _ in range(pool.max_connections)]
    ids = [ask(connection, "CLIENT", "ID") for connection in held]
    for connection in held:
        pool.release(connection)
    return sorted(ids)


def test_fork_idle(make_pool: MakePool, server: Valkey) -> None:
    """Idle connections stay the parent's: the child's are all new, the parent's are unbroken."""
    pool = make_pool(max_connections=5)
    parents = ids_of_all(pool)

    def in_the_child() -> tuple[list[int], int, int]:
        childs = ids_of_all(pool)
        known = len(server.clients(pool.alias))
        pool.close()
        return childs, pool.stats().created_total, known

    childs, created, known = in_child(in_the_child)

    assert not {*childs} & {*parents}
    assert (len({*childs}), created, known) == (5, 5, 10)
    assert ids_of_all(pool) == parents
    assert pool.stats().created_total == 5


def test_fork_idle_names(pool: ConnectionPool) -> None:
    """The names of the connections tell parent and child apart."""
    client = Redis(connection_pool=pool)

    assert in_child(client.client_getname) != client.client_getname()


def test_fork_idle_twice(pool: ConnectionPool) -> None:
    """Each generation has connections of its own."""
    client = Redis(connection_pool=pool)

    def in_the_child() -> tuple[int, int]:
        return client.client_id(), in_child(client.client_id)

    ids = {client.client_id(), *in_child(in_the_child)}

    assert len(ids) == 3


def test_fork_interrupted_at_every_line(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal that strikes a child as it comes into being leaves nothing of its parent's to it."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # Python would print it there
    # The pools of other tests, which may not have been collected yet, have lines of their own.
    monkeypatch.setattr(fork, "_references", set())
    pools = [make_pool(max_connections=2) for _ in range(3)]
    line, came_to_that = 0, True
    while came_to_that:
        held = [pool.acquire() for pool in pools]
        for pool in pools:
            pool.release(pool.acquire())

        def in_the_child(
            held: list[PooledConnection] = held,
        ) -> tuple[bool, list[bool], list[list[int]]]:
            sys.settrace(None)
            uses = [refused(partial(connection.send_command, "PING")) for connection in held]
            return bool(struck), uses, [ids_of_all(pool) for pool in pools]

        with at_line(line, interrupt) as struck:
            came_to_that, uses, childs = in_child(in_the_child)
        for pool, connection in zip(pools, held, strict=True):
            pool.release(connection)
        assert uses == [True] * 3, line
        for pool, ids in zip(pools, childs, strict=True):
            assert len({*ids, *ids_of_all(pool)}) == 4, line
        line += scale(1, 7)

    assert line > 20


def interrupt() -> None:
    """Be the handler of a signal."""
    raise KeyboardInterrupt


def test_fork_storm(make_pool: MakePool) -> None:
    """Whatever eight busy threads of the parent are at, each child works at once, and they go on.

    They take, wait, give back, make new connections, ask for the figures and change the size: at
    some moment of each of these a child comes into being.
    """
    pool = make_pool(max_connections=3)
    with busy_threads(pool):
        for _ in range(scale(200, 20)):
            assert in_child(lambda: seconds_of_a_ping(pool)) < 1.0

    stats = pool.stats()
    assert (stats.in_use, stats.connecting, stats.waiting) == (0, 0, 0)
    assert stats.idle + stats.permits == pool.max_connections


def a_checkout(pool: ConnectionPool) -> None:
    """Take what is idle, and give it back."""
    pool.release(pool.acquire())


def a_dial(pool: ConnectionPool) -> None:
    """Take what has to be opened, and give it back."""
    pool.recycle()
    pool.release(pool.acquire())


def a_resize(pool: ConnectionPool) -> None:
    """Change the bound, both ways."""
    pool.resize(1)
    pool.resize(3)


@pytest.mark.parametrize(
    ("work", "step"), [(a_checkout, 2), (a_dial, 17), (a_resize, 5), (ConnectionPool.stats, 67)]
)
def test_fork_storm_at_every_line(
    make_pool: MakePool, work: Callable[[ConnectionPool], Any], step: int
) -> None:
    """The same for a fork between any two lines of what the pool does; in haste, some of them."""
    pool = make_pool(max_connections=3)
    pool.warm_up(2)
    line, came_to_that = 0, [True]
    while came_to_that:
        with at_line(line, lambda: in_child(lambda: seconds_of_a_ping(pool))) as came_to_that:
            work(pool)
        assert pool.stats().idle + pool.stats().permits == 3
        line += scale(1, step)

    assert line > 10
    assert Redis(connection_pool=pool).ping()


def seconds_of_a_ping(pool: ConnectionPool) -> float:
    """How long the first command takes in a child, which finds nothing there but what it opens."""
    started = time.monotonic()
    assert Redis(connection_pool=pool).ping()
    took, stats = time.monotonic() - started, pool.stats()
    assert (stats.idle, stats.in_use, stats.connecting, stats.waiting) == (1, 0, 0, 0)
    return took


@contextmanager
def busy_threads(pool: ConnectionPool) -> Iterator[None]:
    """Eight threads that use `pool` in all ways while the block runs, and see no wrong value."""
    client = Redis(connection_pool=pool)
    done = threading.Event()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        turn = 0
        try:
            while not done.is_set():
                turn += 1
                assert client.set(f"key{number}", turn)
                assert client.get(f"key{number}") == str(turn).encode()
                if number == 0:
                    pool.resize(2 + turn % 3)
                    pool.stats()
                if number == 1 and turn % 20 == 0:
                    pool.recycle()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_fork_with_lease(pool: ConnectionPool) -> None:
    """The child can neither use, reopen nor give back what the parent holds; the parent goes on."""
    with pool.connection() as connection:
        connection.send_command("ECHO", "hello")

        def in_the_child() -> list[bool]:
            return [
                refused(lambda: connection.send_command("PING")),
                refused(connection.read_response),
                refused(connection.connect),
                refused(lambda: pool.release(connection)),
            ]

        assert in_child(in_the_child) == [True] * 4
        assert connection.read_response() == b"hello"
    assert (pool.stats().idle, pool.stats().created_total) == (1, 1)


def test_fork_with_lease_in_a_block(pool: ConnectionPool) -> None:
    """A child that leaves the parent's with block is told, and takes its own connections then."""
    with pool.connection() as connection:
        parents = ask(connection, "CLIENT", "ID")
        block = pool.connection(timeout=0.0)
        held = block.__enter__()
        held.send_command("ECHO", "hello")

        def in_the_child() -> tuple[bool, list[int]]:
            return refused(lambda: block.__exit__(None, None, None)), ids_of_all(pool)

        told, childs = in_child(in_the_child)
        assert told
        assert parents not in childs
        assert held.read_response() == b"hello"
        block.__exit__(None, None, None)
        assert ask(connection, "CLIENT", "ID") == parents


def test_fork_drops_waiters_and_stats(make_pool: MakePool) -> None:
    """What waits, is out or was counted in the parent does not count in the child."""
    pool = make_pool(max_connections=2)
    with pool.connection(), pool.connection():
        waiting = Waiting(pool)
        pool.subscriptions.warm_up(1)
        stats = in_child(pool.stats)
    waiting.give_back()

    assert (stats.idle, stats.in_use, stats.connecting, stats.permits) == (0, 0, 0, 2)
    assert (stats.waiting, stats.pubsub, stats.oldest_lease_seconds) == (0, 0, 0.0)
    assert (stats.requests_total, stats.created_total, stats.misuse_total) == (0, 0, 0)
    assert not any(stats.closed_total.values())
    assert pool.stats().acquired_total == 3


def test_fork_while_the_server_is_away(make_pool: MakePool, own_server: Valkey) -> None:
    """The child waits for a server that its parent knew, longer than for a wrong address."""
    pool = make_pool(url=own_server.url, timeout=20.0)
    pool.release(pool.acquire())
    own_server.stop()
    reader, writer = os.pipe()

    def start_when_told() -> None:
        os.read(reader, 1)
        own_server.start()

    def tell_when_it_gave_every_try() -> None:
        gate = pool.capacity.gate
        eventually(lambda: gate.outage and gate.outage.failures > pool.options.retries + 1)
        os.write(writer, b"!")

    def in_the_child() -> bool:
        threading.Thread(target=tell_when_it_gave_every_try).start()
        pool.release(pool.acquire())
        return True

    starter = threading.Thread(target=start_when_told)
    starter.start()
    try:
        assert in_child(in_the_child, within=30.0)
    finally:
        os.write(writer, b"!")
        starter.join()
        os.close(reader)
        os.close(writer)


def test_maintenance_restarts_lazily(make_pool: MakePool) -> None:
    """There is no thread to restart: neither parent nor child has one that it did not start."""
    before = {*threading.enumerate()}
    pool = make_pool(max_connections=2, min_idle=1, max_idle=10.0, max_lifetime=10.0)
    pool.warm_up(2)
    with Redis(connection_pool=pool).pubsub() as pubsub:
        pubsub.subscribe("news")
        assert {*threading.enumerate()} == before

        def in_the_child() -> tuple[int, int]:
            assert Redis(connection_pool=pool).ping()
            return threading.active_count(), count_tasks()

        assert in_child(in_the_child) in {(1, 1), (1, 0)}
    pool.recycle()
    assert pool.close() == 0
    eventually(lambda: {*threading.enumerate()} == before)


def count_tasks() -> int:
    """The threads of this process as the system counts them; 0 where it does not tell."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 0


class Forkable:
    """What a pool is to a fork, and nothing else, so that many are made in no time."""

    def after_fork_in_child(self) -> None:
        """Have nothing to let go of."""


@pytest.mark.usefixtures("frequent_switches")
def test_pools_are_listed_while_others_are_made() -> None:
    """A fork finds all that were there, whatever other threads make and drop meanwhile."""
    first = [Forkable() for _ in range(200)]
    for each in first:
        fork.register(each)
    rounds = scale(2000, 200)

    def work(number: int) -> bool:
        if number == 0:
            return all({*first} <= {*fork.registered()} for _ in range(rounds))
        for _ in range(rounds):
            others = [Forkable() for _ in range(20)]
            for each in others:
                fork.register(each)
        return True

    assert all(run_threads(4, work))


def test_what_is_dropped_is_not_listed(server: Valkey) -> None:
    """The list keeps no pool alive."""
    pool = ConnectionPool(url=server.url)
    assert pool in fork.registered()
    before = len(fork.registered())
    pool.close(0)
    del pool

    assert len(fork.registered()) == before - 1
