"""Section D of the conformance list: what is given back twice, to the wrong pool, or too late."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, NotOwned, PoolClosed, Redis
from redispool.connection import PooledConnection
from redispool.scopes import Scope
from tests.conftest import MakePool
from tests.support import ScriptedServer, Valkey, eventually, run_threads
from tests.support.callers import ask
from tests.support.moments import at_line
from tests.support.scale import scale


@pytest.mark.parametrize("kept", [True, False])
def test_double_release(pool: ConnectionPool, kept: bool) -> None:
    """A connection given back twice is there once, whether the first return kept or closed it."""
    connection = pool.acquire()
    if not kept:
        connection.send_command("PING")
    pool.release(connection)

    with pytest.raises(NotOwned, match="second time"):
        pool.release(connection)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.misuse_total) == (int(kept), 2 - kept, 1)
    with pool.connection(timeout=0.0) as first, pool.connection(timeout=0.0) as second:
        assert first is not second


def test_double_release_of_what_was_lent_again(make_pool: MakePool) -> None:
    """Who kept a connection can give it back under its next holder: who is told, and shares it not.

    The pool tells holders apart by the connection alone; that is redis-py's interface.
    """
    pool = make_pool(max_connections=1)
    first = pool.acquire()
    pool.release(first)
    second = pool.acquire()
    assert second is first

    pool.release(first)

    with pytest.raises(NotOwned):
        pool.release(second)
    with pytest.raises(NotOwned):
        second.send_command("PING")
    assert pool.stats().idle == 1


@pytest.mark.usefixtures("frequent_switches")
def test_double_release_two_threads(make_pool: MakePool) -> None:
    """Two threads return the same connection at once: one of them does, the other is refused."""
    pool = make_pool(max_connections=2)
    rounds = scale(100_000, 1000)
    taken: list[PooledConnection] = []
    together = threading.Barrier(2)

    def work(number: int) -> list[bool]:
        succeeded = []
        for _ in range(rounds):
            if number == 0:
                taken[:] = [pool.acquire(timeout=0.0)]
            together.wait(10)
            succeeded.append(gives_back(pool, taken[0]))
            together.wait(10)
        return succeeded

    ours, theirs = run_threads(2, work, within=600.0)

    assert [a + b for a, b in zip(ours, theirs, strict=True)] == [1] * rounds
    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.created_total) == (1, 1, 1)
    assert stats.misuse_total == rounds


def test_double_release_at_every_line(make_pool: MakePool) -> None:
    """The same where the second return comes between any two lines of the first."""
    pool = make_pool(max_connections=2)
    line, came_to_that = 0, [True]
    while came_to_that:
        connection = pool.acquire(timeout=0.0)
        others: list[bool] = []
        with at_line(line, lambda: others.append(gives_back(pool, connection))) as came_to_that:
            ours = gives_back(pool, connection)
        assert ours + sum(others) == 1
        assert pool.stats().idle + pool.stats().permits == 2
        line += 1

    assert line > 5
    assert pool.stats().created_total == 1


def gives_back(pool: ConnectionPool, connection: PooledConnection) -> bool:
    """Whether the pool took it."""
    try:
        pool.release(connection)
    except NotOwned:
        return False
    return True


def test_foreign_release(make_pool: MakePool) -> None:
    """A connection of another pool, or of redis-py, is refused; both pools keep what they have."""
    ours, theirs = make_pool(max_connections=1), make_pool(max_connections=1)
    refused = pytest.raises(NotOwned, match=f"{ours.alias}.*{theirs.alias}.*another pool")
    with theirs.connection() as connection:
        with refused:
            ours.release(connection)
        assert ask(connection, "PING") == b"PONG"
    with pytest.raises(NotOwned, match="never lent"):
        ours.release(redis.Connection())
    with pytest.raises(NotOwned, match="never lent"):
        ours.release(None)

    assert ours.stats().permits == 1
    assert theirs.stats().idle == 1
    assert ours.stats().misuse_total == 3


def test_release_from_other_thread(pool: ConnectionPool) -> None:
    """A connection may be handed from thread to thread, as pipelines and generators do."""
    connection = pool.acquire()

    run_threads(1, lambda _: pool.release(connection))

    stats = pool.stats()
    assert (stats.idle, stats.misuse_total) == (1, 0)


def a_raw_connection(pool: ConnectionPool) -> Callable[[], Any]:
    """What was lent for a with block."""
    with pool.connection() as connection:
        pass
    return lambda: connection.send_command("ECHO", "late")


def a_raw_connection_to_read(pool: ConnectionPool) -> Callable[[], Any]:
    """The same; reading would take the reply of its next holder."""
    with pool.connection() as connection:
        pass
    return connection.read_response


def a_pin(pool: ConnectionPool) -> Callable[[], Any]:
    """A client whose with block has ended."""
    with Redis(connection_pool=pool).pinned() as pinned:
        pass
    return lambda: pinned.execute_command("ECHO", "late")


def a_pipeline_of_a_pin(pool: ConnectionPool) -> Callable[[], Any]:
    """The same for what was made of it."""
    with Redis(connection_pool=pool).pinned() as pinned:
        pipeline = pinned.pipeline(transaction=False)
    return pipeline.execute_command("ECHO", "late").execute


@pytest.mark.parametrize(
    "give", [a_raw_connection, a_raw_connection_to_read, a_pin, a_pipeline_of_a_pin]
)
def test_use_after_release(
    make_pool: MakePool, scripted: ScriptedServer, give: Callable[[ConnectionPool], Any]
) -> None:
    """Who uses what was given back gets an error, and not a byte of it is sent or read."""
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)
    use_late = give(pool)

    with pytest.raises(NotOwned):
        use_late()

    with pool.connection() as connection:
        assert ask(connection, "GET", "key") == b"value"
    assert scripted.received["ECHO"] == 0
    assert (pool.stats().idle, pool.stats().created_total) == (1, 1)


@pytest.mark.parametrize("give", [a_pin, a_pipeline_of_a_pin])
def test_use_after_release_under_the_next_holder(
    make_pool: MakePool, scripted: ScriptedServer, give: Callable[[ConnectionPool], Any]
) -> None:
    """A pin that has ended is refused too while somebody else holds what was its connection."""
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)
    use_late = give(pool)
    with pool.connection() as connection:
        connection.send_command("GET", "key")
        with pytest.raises(NotOwned):
            use_late()
        assert connection.read_response() == b"value"

    assert scripted.received["ECHO"] == 0


def test_use_after_release_at_every_line(make_pool: MakePool) -> None:
    """Nor do two get each other's replies where a pin ends in the midst of a thread's command."""
    pool = make_pool(max_connections=1)
    client = Redis(connection_pool=pool)
    line, refused, came_to_that = 0, 0, [True]
    while came_to_that:
        block, next_ones = client.pinned(), list[PooledConnection]()
        pinned = block.__enter__()

        def end_and_lend(
            _: int, block: Any = block, next_ones: list[PooledConnection] = next_ones
        ) -> None:
            block.__exit__(None, None, None)
            next_ones.append(pool.acquire())
            next_ones[0].send_command("ECHO", "of the next")

        with at_line(line, lambda work=end_and_lend: run_threads(1, work)) as came_to_that:
            try:
                assert pinned.echo("of the pin") == b"of the pin", line
            except redis.ConnectionError:
                refused += 1
        for connection in next_ones:
            assert connection.read_response() == b"of the next", line
            pool.release(connection)
        block.__exit__(None, None, None)
        assert pool.stats().idle + pool.stats().permits == 1
        line += 1

    assert 10 < refused < line


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_use_after_the_scope_at_every_line(make_pool: MakePool) -> None:
    """Nor where another thread ends the scope in the midst of a watching pipeline's command."""
    pool = make_pool(max_connections=1, timeout=0.05)
    client = Redis(connection_pool=pool)
    client.set("a", "of the pipeline")
    line, refused, came_to_that = 0, 0, [True]
    while came_to_that:
        scope, next_ones = Scope(), list[PooledConnection]()
        scope.enter()
        pipe = client.pipeline()
        pipe.watch("a")

        def end_and_lend(
            _: int, scope: Scope = scope, next_ones: list[PooledConnection] = next_ones
        ) -> None:
            scope.close()
            next_ones.append(pool.acquire(timeout=0))
            next_ones[0].send_command("ECHO", "of the next")

        with at_line(line, lambda work=end_and_lend: run_threads(1, work)) as came_to_that:
            try:
                # Before its first look it finds that it watches no more, and queues the command.
                assert pipe.get("a") in (b"of the pipeline", pipe), line
            except redis.ConnectionError:
                refused += 1
        for connection in next_ones:
            assert connection.read_response() == b"of the next", line
            pool.release(connection)
        scope.close()
        pipe.reset()
        line += 1

    assert 5 < refused < line


def test_use_after_close(pool: ConnectionPool) -> None:
    """A closed pool lends nothing, through whatever client; the error names it."""
    client = redis.Redis(connection_pool=pool)
    pool.warm_up(2)
    pool.close()

    with pytest.raises(PoolClosed, match=f"{pool.alias!r} is closed"):
        pool.acquire()
    with pytest.raises(PoolClosed):
        client.ping()
    with pytest.raises(PoolClosed):
        pool.subscriptions.acquire()
    stats = pool.stats()
    assert stats.rejected_total == 2
    assert (stats.idle, stats.in_use, stats.connecting, stats.permits) == (0, 0, 0, 0)


def test_close_twice(pool: ConnectionPool) -> None:
    """Closing again does nothing, and says nothing."""
    pool.warm_up(2)

    assert [pool.close() for _ in range(3)] == [0, 0, 0]
    assert pool.stats().closed_total["pool_closed"] == 2


def test_reopen_refused(pool: ConnectionPool, server: Valkey) -> None:
    """Neither `connect`, nor a command, nor a new size opens anything of a closed pool again."""
    connection = pool.acquire()
    pool.close(timeout=0)
    connection.disconnect()
    for use in (connection.connect, lambda: connection.send_command("PING")):
        with pytest.raises(PoolClosed):
            use()
    pool.release(connection)

    for renew in (lambda: pool.resize(5), pool.recycle, pool.reset, pool.disconnect):
        renew()
        with pytest.raises(PoolClosed):
            pool.acquire()

    eventually(lambda: not server.clients(pool.alias))
    assert pool.stats().permits == 0
