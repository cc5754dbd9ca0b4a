from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.retry import Retry

from redispool import ConnectionPool, NotOwned, Redis, express, queueing, telemetry
from redispool.connection import PooledConnection
from redispool.express import ELSEWHERE
from redispool.queueing import Waiter
from tests.conftest import MakePool
from tests.support import Clock, Valkey, eventually
from tests.support.callers import in_background
from tests.support.injection import count_points, every, strike
from tests.support.moments import at_line


def express_of(pool: ConnectionPool) -> Callable[..., Any]:
    """The lane of a pool, with a command that is known to be plain, and a warm connection."""
    client = Redis(connection_pool=pool)
    client.get("a")
    client.get("a")
    lane = pool.express
    assert lane is not None
    return lambda name="GET": lane.ask(pool, (name, "a"), queueing.monotonic())


@pytest.fixture
def at_the_end(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Lets something happen when the reply is there, while its command has the connection."""

    def arrange(act: Callable[[], Any]) -> None:
        def now() -> float:
            act()
            return queueing.monotonic()

        monkeypatch.setattr(express, "monotonic", now)

    return arrange


def test_a_fresh_connection_is_used_at_once(pool: ConnectionPool) -> None:
    """A plain command on it is answered; the connection is back, and was used now."""
    ask = express_of(pool)
    (connection,) = pool.capacity.queue.idle
    used, acquired = connection.last_used, pool.stats().acquired_total

    assert ask() is None
    assert list(pool.capacity.queue.idle) == [connection]
    assert connection.last_used > used
    assert pool.stats().acquired_total == acquired + 1


def test_others_go_elsewhere(pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not plain, who would pass a waiting caller, and what was idle for a while."""
    ask = express_of(pool)
    idle = list(pool.capacity.queue.idle)

    assert ask("WATCH") is ELSEWHERE

    waiter = Waiter()
    waiter.gone = True
    pool.capacity.queue.waiters.append(waiter)
    assert ask() is ELSEWHERE
    pool.capacity.queue.waiters.clear()

    Clock(monkeypatch).advance(2.0)
    assert ask() is ELSEWHERE
    assert list(pool.capacity.queue.idle) == idle
    assert not idle[0].lease

    idle[0].express = None
    assert ask() is ELSEWHERE
    pool.recycle()
    assert ask() is ELSEWHERE


def test_pools_of_ones_own_are_asked(make_pool: MakePool) -> None:
    """A subclass that overrides how a pool lends has no lane; nor one with redis-py's retry."""

    class Own(ConnectionPool):
        def acquire(self, timeout: Any = ...) -> Any:
            return super().acquire(timeout)

    pool = make_pool()
    assert pool.express is not None
    assert Own(alias="own").express is None
    pool.set_retry(Retry(NoBackoff(), 1))
    assert pool.express is None


def lines(act: Callable[[], Any], command: Callable[[], Any]) -> Iterator[int]:
    """Do `act` at each line of `command`, one after the other; gives the number of the line."""
    line, came_to_that = 0, [True]
    while came_to_that:
        with at_line(line, act) as came_to_that:
            command()
        yield line
        line += 1
    assert line > 5


@pytest.mark.parametrize("fresh", [True, False])
def test_who_queues_in_the_midst_is_served(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """At whatever line of a command another asks for the only connection: he gets it after it."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 60.0)
    pool = make_pool(max_connections=1, timeout=60.0)
    ask, client, queue = express_of(pool), Redis(connection_pool=pool), pool.capacity.queue
    served: list[list[Any]] = []

    def queue_up() -> None:
        served.append(in_background(lambda: pool.release(pool.acquire())))
        eventually(lambda: queue.waiters or served[-1])

    def command() -> None:
        if fresh:
            client.get("a")
        elif queue.idle:
            queue.idle[-1].express = None
            ask()

    for line in lines(queue_up, command):
        assert all(eventually(lambda each=each: each) == [None] for each in served), line


@pytest.mark.parametrize("end", [ConnectionPool.recycle, lambda pool: pool.close(0.0)])
def test_what_ends_in_the_midst_is_not_kept(
    make_pool: MakePool, end: Callable[[ConnectionPool], None]
) -> None:
    """At whatever line of a command the pool is renewed or closed: no old connection stays."""
    pools: list[ConnectionPool] = []

    def command() -> None:
        with contextlib.suppress(redis.ConnectionError):  # that the pool is closed
            Redis(connection_pool=pools[-1]).get("a")

    line, came_to_that = 0, [True]
    while came_to_that:
        pool = make_pool(max_connections=1)
        pools.append(pool)
        command()
        command()
        with at_line(line, lambda pool=pool: end(pool)) as came_to_that:
            command()
        idle = list(pool.capacity.queue.idle)
        assert all(each.batch is pool.fitness.batch for each in idle), line
        assert not (pool.closed and idle), line
        line += 1
    assert line > 20


@pytest.mark.parametrize("change", ["resize", "recycle"])
def test_a_change_in_the_midst_is_noticed(
    make_pool: MakePool, at_the_end: Callable[..., None], change: str
) -> None:
    """A connection that is one too many, or an old one, goes; and it alone."""
    pool = make_pool(max_connections=3)
    ask = express_of(pool)
    others = [pool.acquire(), pool.acquire()] if change == "resize" else []
    pool.warm_up(1)

    def act() -> None:
        if change == "resize":
            pool.resize(2)
        else:
            pool.recycle()
            pool.warm_up(2)

    at_the_end(act)

    assert ask() is None
    assert len(pool.capacity.slots()) == (2 if others else 3)
    assert pool.stats().idle == (0 if others else 2)
    for other in others:
        pool.release(other)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda connection: setattr(connection, "expires_at", 0.0), "lifetime"),
        (lambda connection: connection.ledger.stain(), "dirty_tainted"),
        (lambda connection: setattr(connection.ledger, "owed", 1), "dirty_pending"),
    ],
)
def test_what_is_not_fit_is_closed(
    pool: ConnectionPool,
    at_the_end: Callable[..., None],
    happens: Callable[[PooledConnection], None],
    reason: str,
) -> None:
    """A connection that grew too old in the command, or was left in some state, goes."""
    ask = express_of(pool)
    (connection,) = pool.capacity.queue.idle
    at_the_end(lambda: happens(connection))

    assert ask() is None
    assert pool.stats().closed_total[reason] == 1
    assert not pool.capacity.queue.idle


def test_no_interruption_makes_more_uses_than_leases(make_pool: MakePool) -> None:
    """Wherever a command is interrupted: no use is counted without the lease that it ended."""
    pool = make_pool(max_connections=1)
    client = Redis(connection_pool=pool)
    client.get("a")
    client.get("a")
    for point in every(count_points(lambda: client.get("a"), "opcode"), at_most=None):
        strike(lambda: client.get("a"), "opcode", point)
        client.get("a")
        stats = pool.stats()
        assert sum(stats.use_buckets) <= stats.acquired_total, point


def test_a_sweep_is_made_in_time(make_pool: MakePool) -> None:
    """Who gives back on this lane looks for what was idle too long, as all who give back."""
    pool = make_pool(max_connections=2)
    ask = express_of(pool)
    pool.warm_up(2)
    pool.capacity.queue.idle[0].last_used = pool.evictor.next_sweep = -1e9

    assert ask() is None
    assert pool.stats().closed_total["idle"] == 1


def test_a_return_in_the_midst_is_noticed(
    pool: ConnectionPool, at_the_end: Callable[..., None]
) -> None:
    """Who gives back what another uses does not make it be lent twice."""
    ask = express_of(pool)
    (connection,) = pool.capacity.queue.idle
    at_the_end(lambda: pool.release(connection))

    with pytest.raises(NotOwned):
        ask()
    assert len(pool.capacity.queue.idle) == 1
    stats = pool.stats()
    assert sum(stats.use_buckets) == stats.acquired_total


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode_responses", [True, False])
def test_options_count_on_all_ways(
    make_pool: MakePool, server: Valkey, protocol: int, decode_responses: bool
) -> None:
    """redis-py's options for replies mean the same on a warm connection, a cold one, and there."""
    settings: Any = {"protocol": protocol, "decode_responses": decode_responses}
    pool = make_pool(**settings)
    client = Redis(connection_pool=pool)
    with redis.Redis(host=server.host, port=server.port, **settings) as plain:
        plain.set("a", "A")
        plain.hset("h", "f", "v")
        for options in ({}, {NEVER_DECODE: True}, {EMPTY_RESPONSE: "nothing"}):
            for args in (("GET", "a"), ("get", "a"), (b"GET", b"a"), ("HGETALL", "h")):
                expected = plain.execute_command(*args, **options)
                for _ in range(2):
                    assert client.execute_command(*args, **options) == expected, (args, options)
                pool.recycle()


def test_a_client_with_one_connection_uses_that(pool: ConnectionPool) -> None:
    """The lane is for clients that hold none: an idle connection of the pool is not theirs."""
    client = Redis(connection_pool=pool, single_connection_client=True)
    pool.warm_up(1)
    client.get("a")
    own = client.client_id()

    assert [client.client_id(), client.execute_command("CLIENT ID")] == [own, own]
    assert client.get("a") is None
    assert pool.stats().acquired_total == 2  # of the client, and of warm_up
    client.close()


def test_commands_that_are_measured_go_redis_pys_way(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where redis-py's OpenTelemetry is on, its code sees each command."""
    ask = express_of(pool)
    assert ask() is None
    client, asked = Redis(connection_pool=pool), list[Any]()
    with monkeypatch.context() as patched:
        patched.setattr(telemetry, "is_on", lambda: True)
        patched.setattr(redis.Redis, "_execute_command", lambda _, *args, **__: asked.append(args))
        client.get("a")

    assert asked == [("GET", "a")]


def test_a_pool_that_overrides_redis_pys_name_is_asked() -> None:
    """`get_connection` is how redis-py's subclasses do it."""

    class Own(ConnectionPool):
        def get_connection(self, *args: Any, **options: Any) -> Any:
            return super().get_connection(*args, **options)

    assert Own(alias="own").express is None


def test_who_runs_commands_in_a_way_of_his_own_is_asked(pool: ConnectionPool) -> None:
    """A class beside ours in the order of methods, and a subclass that overrides redis-py's."""
    asked: list[Any] = []

    class Beside(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            asked.append(args)
            return super().execute_command(*args, **options)

    class Both(Redis, Beside):
        pass

    class Below(Redis):
        def _execute_command(self, *args: Any, **options: Any) -> Any:
            asked.append(args)
            return super()._execute_command(*args, **options)

    express_of(pool)
    for kind in (Both, Below):
        client = kind(connection_pool=pool)
        client.get("a")
        client.get("b")
        assert asked == [("GET", "a"), ("GET", "b")]
        asked.clear()


def test_a_connection_that_is_closed_has_no_lane(pool: ConnectionPool) -> None:
    """What is idle with a closed line is not taken for a fresh one."""
    ask = express_of(pool)
    (connection,) = pool.capacity.queue.idle
    connection.disconnect()

    assert connection.express is None
    assert ask() is ELSEWHERE
