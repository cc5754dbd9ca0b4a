from __future__ import annotations

import re
import socket
import threading
import time
from typing import Any

import pytest
import redis
from redis.exceptions import MaxConnectionsError

from redispool import (
    ConnectionPool,
    NotOwned,
    PoolClosed,
    PoolOptions,
    PoolTimeout,
    TooManyWaiting,
    policy,
    slots,
)
from redispool.connection import PooledConnection
from redispool.transports import Connection
from tests.conftest import MakePool
from tests.support import HANG, Clock, ScriptedServer, Valkey, eventually, run_threads


class Waiting:
    """A thread that wants a connection; it keeps it until it is told to give it back."""

    def __init__(self, pool: ConnectionPool, timeout: float | None = 10.0) -> None:
        self.pool = pool
        self.error: BaseException | None = None
        self.connection: PooledConnection | None = None
        self._done = threading.Event()
        before = self._state()
        self._thread = threading.Thread(target=self._acquire, args=(timeout,), daemon=True)
        self._thread.start()
        eventually(lambda: self._state() != before or self.ended)

    def _state(self) -> tuple[int, ...]:
        queue = self.pool.capacity.queue
        return len(queue.waiters), len(queue.idle), len(queue.permits)

    def _acquire(self, timeout: float | None) -> None:
        try:
            self.connection = self.pool.acquire(timeout)
        except BaseException as error:
            self.error = error
        finally:
            self._done.set()

    @property
    def ended(self) -> bool:
        """Whether it has a connection or an error."""
        return self._done.is_set()

    def give_back(self) -> None:
        """Wait until it has a connection, and give that back."""
        assert self._done.wait(10)
        assert self.connection is not None, self.error
        connection, self.connection = self.connection, None
        self.pool.release(connection)


def ask(connection: PooledConnection, *command: Any) -> Any:
    """Send one command and read its reply."""
    connection.send_command(*command)
    return connection.read_response()


# Making one


def test_a_pool_takes_options_one_by_one_as_a_whole_or_in_a_url() -> None:
    """All ways to make a pool lead to the same options, and none opens a socket."""
    nobody = "redis://nobody.invalid:1/2?max_connections=3"
    pools = [
        ConnectionPool(host="nobody.invalid", port=1, db=2, max_connections=3),
        ConnectionPool(PoolOptions(host="nobody.invalid", port=1, db=2, max_connections=3)),
        ConnectionPool(url=nobody),
        ConnectionPool.from_url(nobody),
        ConnectionPool.from_url("redis://nobody.invalid:1/2", max_connections=3),
    ]

    assert {pool.options.server for pool in pools} == {"nobody.invalid:1/2"}
    assert {pool.max_connections for pool in pools} == {3}


def test_options_are_given_in_one_way_only() -> None:
    """Options as a whole and beside it would contradict each other."""
    with pytest.raises(TypeError, match="not both"):
        ConnectionPool(PoolOptions(), max_connections=3)


# Capacity


def test_the_bound_is_hard(make_pool: MakePool, server: Valkey) -> None:
    """Forty threads on five connections: never more than five, in the process and on the server."""
    pool = make_pool(max_connections=5)
    in_use: set[PooledConnection] = set()
    most = []

    def work(number: int) -> int:
        for turn in range(15):
            with pool.connection() as connection:
                in_use.add(connection)
                most.append(len(in_use))
                key = f"key{number}"
                assert ask(connection, "SET", key, f"{number}.{turn}") == b"OK"
                assert ask(connection, "GET", key) == f"{number}.{turn}".encode()
                in_use.discard(connection)
            if number == 0:
                most.append(len(server.clients(pool.alias)))
        return number

    run_threads(40, work)

    assert max(most) == 5
    assert pool.stats().created_total <= 5


def test_slow_connects_count(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """Connections that are still being opened are within the bound."""
    gate = threading.Event()
    scripted.always("CLIENT", lambda: gate.wait(10) and b"+OK\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=2)
    waiting = [Waiting(pool) for _ in range(3)]
    eventually(lambda: scripted.received["CLIENT"] == 2)

    stats = pool.stats()
    assert (stats.connecting, stats.permits, stats.waiting) == (2, 0, 1)
    assert scripted.connections == 2

    gate.set()
    for one in waiting:
        one.give_back()


def test_it_grows_only_as_far_as_needed(pool: ConnectionPool) -> None:
    """A thousand commands of one caller take one connection."""
    client = redis.Redis(connection_pool=pool)
    for _ in range(1000):
        client.ping()

    assert pool.stats().created_total == 1


def test_the_connection_used_last_is_lent_first(make_pool: MakePool) -> None:
    """Of several idle connections one is kept busy, so that the others may age out."""
    pool = make_pool(max_connections=3)
    pool.warm_up(3)

    lent = set()
    for _ in range(10):
        with pool.connection() as connection:
            lent.add(connection)

    assert len(lent) == 1


# Waiting


def test_first_come_first_served(make_pool: MakePool) -> None:
    """Callers get their connections in the order in which they came, at once, from each return."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    waiting = [Waiting(pool) for _ in range(6)]

    pool.release(connection)
    for turn, one in enumerate(waiting):
        eventually(lambda one=one: one.ended)
        assert [other.ended for other in waiting[turn + 1 :]] == [False] * (5 - turn)
        one.give_back()


def test_a_newcomer_never_passes_those_who_wait(make_pool: MakePool) -> None:
    """Who gives back and asks again at once queues behind those who wait already."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    waiting = Waiting(pool)

    pool.release(connection)
    with pytest.raises(PoolTimeout):
        pool.acquire(timeout=0.01)

    waiting.give_back()


def test_nobody_starves(make_pool: MakePool) -> None:
    """With four times as many threads as connections, all get their turns alike."""
    pool = make_pool(max_connections=2)
    end = time.monotonic() + 0.5
    turns = [0] * 8

    def work(number: int) -> None:
        while time.monotonic() < end:
            with pool.connection():
                turns[number] += 1
                time.sleep(0.001)

    run_threads(8, work)

    assert min(turns) >= 0.8 * (sum(turns) / len(turns))


def test_a_caller_who_gave_up_swallows_nothing(make_pool: MakePool) -> None:
    """The connection that comes back after somebody's time-out is there for the next."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    impatient, patient = Waiting(pool, timeout=0.05), Waiting(pool)
    eventually(lambda: impatient.ended)

    pool.release(connection)

    patient.give_back()
    assert isinstance(impatient.error, PoolTimeout)
    assert pool.stats().waiting == 0


def test_returns_at_the_deadline_have_one_owner(make_pool: MakePool) -> None:
    """Whatever comes back in the very moment of a time-out is either lent or idle, never lost."""
    pool = make_pool(max_connections=1)
    pool.warm_up(1)

    def work(number: int) -> None:
        for _ in range(150):
            try:
                with pool.connection(timeout=0.002):
                    time.sleep(0.001)
            except PoolTimeout:
                pass

    run_threads(6, work)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.waiting) == (1, 0, 0)
    assert stats.requests_total == 901


def test_the_deadline_holds(make_pool: MakePool) -> None:
    """A caller is told in time, not long after, that nothing came free."""
    pool = make_pool(max_connections=1, timeout=0.2)
    with pool.connection():
        started = time.monotonic()
        with pytest.raises(PoolTimeout):
            pool.acquire()

        assert 0.2 <= time.monotonic() - started < 0.7


def test_a_call_may_have_its_own_deadline(make_pool: MakePool) -> None:
    """The argument goes before the option, be it shorter or longer."""
    pool = make_pool(max_connections=1, timeout=0.05)
    with pool.connection(), pytest.raises(PoolTimeout) as caught:
        pool.acquire(timeout=0.2)
    assert caught.value.waited >= 0.2


def test_no_time_means_one_try(make_pool: MakePool) -> None:
    """``timeout=0`` takes what is free, opens what may be opened, and never waits for others."""
    pool = make_pool(max_connections=1, timeout=0.0)
    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"
        started = time.monotonic()
        with pytest.raises(PoolTimeout):
            pool.acquire()
        assert time.monotonic() - started < 0.1
    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"


def test_none_waits_as_long_as_it_takes(make_pool: MakePool) -> None:
    """``timeout=None`` waits until something comes back; the end of the pool ends it too."""
    pool = make_pool(max_connections=1, timeout=None)
    connection = pool.acquire()
    served, hopeless = Waiting(pool, None), Waiting(pool, None)

    pool.release(connection)
    eventually(lambda: served.ended)
    closing = threading.Thread(target=pool.close)
    closing.start()
    eventually(lambda: hopeless.ended)

    assert isinstance(hopeless.error, PoolClosed)
    served.give_back()
    closing.join()


def test_one_too_many_is_turned_away_at_once(make_pool: MakePool) -> None:
    """Who finds ``max_waiting`` callers in the queue does not join them."""
    pool = make_pool(max_connections=1, max_waiting=2)
    connection = pool.acquire()
    waiting = [Waiting(pool) for _ in range(2)]
    started = time.monotonic()

    with pytest.raises(TooManyWaiting, match="MAX_WAITING is 2") as caught:
        pool.acquire()

    assert time.monotonic() - started < 0.1
    assert isinstance(caught.value, PoolTimeout)
    assert caught.value.waiting == 2
    pool.release(connection)
    for one in waiting:
        one.give_back()
    assert pool.stats().rejected_total == 1


# Errors that teach


def test_a_time_out_tells_everything(make_pool: MakePool) -> None:
    """The error says which pool, how long, how many, and who holds the oldest since when."""
    pool = make_pool(max_connections=2, timeout=0.1)
    with pool.connection():
        other = Waiting(pool)
        eventually(lambda: other.ended)
        waiting = Waiting(pool, timeout=5.0)
        with pytest.raises(PoolTimeout) as caught:
            pool.acquire()
        pool.release(other.connection)
        waiting.give_back()

    error = caught.value
    assert (error.alias, error.in_use, error.max_connections) == (pool.alias, 2, 2)
    assert error.waiting == 1
    assert 0.1 <= error.waited < 0.6
    assert re.search(
        r"held for 0\.\d s by thread MainThread, taken at .*test_pool\.py:\d+", error.oldest
    )
    assert error.oldest in str(error)
    assert f"pool {pool.alias!r}: no connection came free within 0.1" in str(error)
    assert "2 of 2 are in use and 1 others wait" in str(error)
    assert f'raise REDISPOOL["{pool.alias}"]["MAX_CONNECTIONS"]' in str(error)


def test_a_time_out_tells_where_an_unnamed_holder_is(make_pool: MakePool) -> None:
    """Of a connection taken for one command, the error says where the code of its thread is now."""
    pool = make_pool(max_connections=1)
    client = redis.Redis(connection_pool=pool)
    thread = threading.Thread(target=lambda: client.blpop("list", timeout=0), name="reader")
    thread.start()
    eventually(lambda: pool.stats().in_use)

    with pytest.raises(PoolTimeout, match=r"by thread reader, which is now at .*test_pool\.py:"):
        pool.acquire(timeout=0.01)

    (connection,) = pool.capacity.connections()
    with redis.Redis(host=pool.options.host, port=pool.options.port) as other:
        other.rpush("list", "x")
    thread.join()
    assert connection.is_open


def test_a_time_out_hints_at_the_own_thread(make_pool: MakePool) -> None:
    """A thread that waits for itself is told so; one that waits for others is not."""
    pool = make_pool(max_connections=2)
    with pool.connection(), pool.connection():
        with pytest.raises(PoolTimeout, match="this very thread holds 2 of them"):
            pool.acquire(timeout=0.01)
        stranger = Waiting(pool, timeout=0.01)
        eventually(lambda: stranger.ended)
        assert "this very thread" not in str(stranger.error)


def test_old_except_clauses_go_on_working(make_pool: MakePool) -> None:
    """The errors of waiting are redis-py's MaxConnectionsError, and so ConnectionErrors."""
    pool = make_pool(max_connections=1)
    with pool.connection():
        with pytest.raises(MaxConnectionsError):
            pool.acquire(timeout=0)
        with pytest.raises(redis.ConnectionError):
            pool.acquire(timeout=0)


# Connecting


def test_the_deadline_covers_connecting(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """A server that accepts and never answers costs the caller's time-out, and no place."""
    scripted.always("CLIENT", HANG)
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1, timeout=0.2)
    started = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        pool.acquire()

    assert time.monotonic() - started < 0.7
    assert pool.stats().permits == 1


def test_the_deadline_covers_waiting_and_connecting_together(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """Who got a place late has only the rest of the time to connect."""
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)
    connection = pool.acquire()
    scripted.always("CLIENT", HANG)
    started = time.monotonic()
    waiting = Waiting(pool, timeout=0.4)
    eventually(lambda: time.monotonic() > started + 0.3)
    connection.disconnect()
    pool.release(connection)

    eventually(lambda: waiting.ended)

    assert isinstance(waiting.error, redis.TimeoutError)
    assert time.monotonic() - started < 0.8


def test_a_refused_connection_is_tried_again_within_the_deadline(make_pool: MakePool) -> None:
    """A server that comes up while the caller has time is found."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pool = make_pool(host="127.0.0.1", port=port, retries=50, timeout=10.0)
    waiting = threading.Thread(target=redis.Redis(connection_pool=pool).ping)
    waiting.start()
    eventually(lambda: pool.stats().create_failed_total >= 2)
    with ScriptedServer(port) as late:
        waiting.join()
        assert late.received["PING"] == 1


def test_refused_connections_lose_no_place(make_pool: MakePool) -> None:
    """However often the server is not reached: each caller gets the error, no place is lost."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pool = make_pool(host="127.0.0.1", port=port, max_connections=3, retries=0)

    def work(number: int) -> None:
        for _ in range(20):
            with pytest.raises(redis.ConnectionError, match="refused"):
                pool.acquire()

    run_threads(10, work)

    stats = pool.stats()
    assert (stats.permits, stats.waiting, stats.failed_total) == (3, 0, 200)


def test_a_dial_that_failed_half_way_is_over_before_the_next(
    make_pool: MakePool, server: Valkey
) -> None:
    """What a failed try has opened is closed before another is made, whatever the error."""
    open_lines = []

    def set_up(connection: PooledConnection) -> None:
        connection.on_connect()
        open_lines.append(len(server.clients(pool.alias)))
        if len(open_lines) == 1:
            raise OSError("half-way")

    pool = make_pool(redis_connect_func=set_up, max_connections=1)
    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"

    assert open_lines == [1, 1]


def test_an_error_in_the_constructor_loses_no_place(make_pool: MakePool) -> None:
    """A connection class that cannot even be made fails each caller and none of the places."""

    class Broken(Connection):
        def __init__(self, **kwargs: Any) -> None:
            raise ZeroDivisionError

    pool = make_pool(connection_class=Broken, max_connections=2)
    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            pool.acquire()

    assert pool.stats().permits == 2


def test_a_failed_dial_passes_its_place_on(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """Where the first in the queue cannot connect, the next one may try at once."""
    gate = threading.Event()
    scripted.answer("CLIENT", lambda: gate.wait(10) and b"-ERR not you\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1, retries=0)
    first = Waiting(pool)
    eventually(lambda: scripted.received["CLIENT"])
    second = Waiting(pool)

    gate.set()

    second.give_back()
    assert "not you" in str(first.error)


def test_an_error_that_is_kept_keeps_no_place(make_pool: MakePool, server: Valkey) -> None:
    """The traceback of a failed dial may live long; what is lent meanwhile is still reclaimed."""
    pool = make_pool(max_connections=1, retries=0)
    pool._connection_kwargs["port"] = 1
    with pytest.raises(redis.ConnectionError) as kept:
        pool.acquire()
    pool._connection_kwargs["port"] = server.port
    eventually(lambda: pool.capacity.gate.has_room(time.monotonic()))

    with pytest.warns(ResourceWarning):
        pool.acquire()

    assert kept.value.__traceback__ is not None
    assert pool.stats().permits == 1


def test_an_interrupt_after_connecting_leaves_no_connection_behind(
    make_pool: MakePool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened in vain is closed before its place is free, while the interrupt lives on."""
    pool = make_pool(max_connections=1)
    monkeypatch.setattr(policy.Policy, "expires_at", interrupt)
    with pytest.raises(KeyboardInterrupt) as kept:
        pool.acquire()
    monkeypatch.undo()

    assert kept.value.__traceback__ is not None
    with pool.connection():
        assert eventually(lambda: len(server.clients(pool.alias)) == 1)
    assert pool.stats().cancelled_total == 1


def interrupt(*_: Any) -> None:
    """Be a signal handler."""
    raise KeyboardInterrupt


# Checking before lending


def test_an_idle_connection_that_the_server_closed_is_replaced(
    pool: ConnectionPool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLIENT KILL on idle connections is not noticed by anybody."""
    clock = Clock(monkeypatch)
    client = redis.Redis(connection_pool=pool)
    pool.warm_up(2)
    assert server.kill_clients(pool.alias) == 2
    clock.advance(1.0)

    for _ in range(3):
        assert client.ping()

    assert pool.stats().closed_total["dead_at_checkout"] == 1
    assert pool.stats().checks_total["look"] >= 1


def test_a_restart_is_not_noticed(
    make_pool: MakePool, own_server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the server every command goes through, with idle connections or none."""
    clock = Clock(monkeypatch)
    pool = make_pool(host=own_server.host, port=own_server.port, max_connections=8)
    pool.warm_up(8)
    own_server.stop()
    own_server.start()
    clock.advance(1.0)
    client = redis.Redis(connection_pool=pool)

    assert all(run_threads(8, lambda _: client.ping()))


def test_one_dead_connection_makes_the_others_suspect(
    make_pool: MakePool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once one is found dead, the others are looked at even if they were used just before."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=3)
    held = [pool.acquire() for _ in range(3)]
    pool.release(held[0])
    clock.advance(0.4)
    pool.release(held[1])
    server.kill_clients(pool.alias)
    eventually(lambda: not held[0].alive())
    clock.advance(0.2)
    pool.capacity.queue.idle.rotate(1)  # the older one is next
    with pool.connection():
        assert pool.stats().closed_total["dead_at_checkout"] == 1
        with pool.connection() as other:  # its 0.5 s have not passed
            assert ask(other, "PING") == b"PONG"

    assert pool.stats().closed_total["dead_at_checkout"] == 2
    pool.release(held[2])


def test_what_was_idle_for_long_is_pinged(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ``health_check_interval`` the server is asked, and who does not answer is replaced."""
    clock = Clock(monkeypatch)
    pool = make_pool(host=scripted.host, port=scripted.port, health_check_interval=30.0)
    client = redis.Redis(connection_pool=pool)
    client.get("a")

    clock.advance(29.0)
    client.get("a")
    assert scripted.received["PING"] == 0

    clock.advance(31.0)
    client.get("a")
    assert (scripted.received["PING"], scripted.connections) == (1, 1)

    scripted.answer("PING", HANG)
    clock.advance(31.0)
    started = time.monotonic()
    client.get("a")
    assert (scripted.received["PING"], scripted.connections) == (2, 2)
    assert time.monotonic() - started < policy.PING_WITHIN + 0.5


def test_a_ping_stays_within_the_deadline(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who has little time waits no longer than that for the health check."""
    clock = Clock(monkeypatch)
    pool = make_pool(host=scripted.host, port=scripted.port, timeout=0.1)
    with pool.connection():
        pass
    scripted.always("PING", HANG)
    clock.advance(31.0)
    started = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        pool.acquire()

    assert time.monotonic() - started < 0.5


def test_a_connection_being_checked_has_no_old_holder(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is pinged, statistics and errors of others do not call it held since long ago."""
    clock = Clock(monkeypatch)
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)
    with pool.connection():
        pass
    gate = threading.Event()
    scripted.answer("PING", lambda: gate.wait(10) and b"+PONG\r\n")
    clock.advance(31.0)
    waiting = Waiting(pool)
    eventually(lambda: scripted.received["PING"])

    assert pool.stats().oldest_lease_seconds < 10.0

    gate.set()
    waiting.give_back()


def test_stray_bytes_are_noticed(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that nobody asked for, on an idle connection, is nobody's."""
    clock = Clock(monkeypatch)
    scripted.answer("GET", b"$5\r\nvalue\r\n$5\r\nstray\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port)
    client = redis.Redis(connection_pool=pool)
    client.get("a")
    clock.advance(1.0)

    assert client.get("a") == b"value"
    assert scripted.connections == 2


# Age


def test_old_connections_are_renewed(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``max_lifetime`` a connection is replaced, at a checkout or a return, never in use."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, max_lifetime=100.0, max_idle=None)
    with pool.connection() as connection:
        clock.advance(120.0)
        assert ask(connection, "PING") == b"PONG"
    assert pool.stats().closed_total["lifetime"] == 1

    with pool.connection():
        pass
    clock.advance(120.0)
    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"
    assert pool.stats().closed_total["lifetime"] == 2
    assert pool.stats().created_total == 3


def test_a_lifetime_is_observed_even_just_after_use(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was used a moment ago is renewed all the same when its time is over."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, max_lifetime=100.0)
    with pool.connection() as connection:
        clock.advance(connection.expires_at - clock.now() - 0.1)
    assert pool.stats().idle == 1

    clock.advance(0.2)
    with pool.connection():
        assert pool.stats().closed_total["lifetime"] == 1


@pytest.mark.parametrize("max_idle", [200.0, 0.1])
def test_what_was_idle_for_too_long_is_not_lent(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, max_idle: float
) -> None:
    """After ``max_idle`` a load balancer may have dropped the flow: the connection is replaced."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=1, max_idle=max_idle)
    for _ in range(2):
        with pool.connection():
            pass
        clock.advance(max_idle + 0.05)

    assert pool.stats().closed_total["idle"] == 1


def test_returns_close_what_nobody_needs(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one connection is busy, the others are closed after ``max_idle``, but ``min_idle``."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=5, max_idle=10.0, min_idle=2)
    pool.warm_up(5)
    for _ in range(6):
        with pool.connection() as connection:
            assert ask(connection, "PING") == b"PONG"
        clock.advance(2.0)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.closed_total["idle"]) == (2, 3, 3)


def test_who_comes_during_a_sweep_is_served_after_it(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who finds nothing because a sweep looks at the only connection gets it then."""
    monkeypatch.setattr(slots, "LOOK_AGAIN", 30.0)
    pool = make_pool(max_connections=1)
    waiting: list[Waiting] = []
    connection = pool.acquire()

    def not_idle_too_long(*_: Any) -> bool:
        waiting.append(Waiting(pool))
        return False

    monkeypatch.setattr(policy.Policy, "idle_too_long", not_idle_too_long)
    pool.release(connection)
    monkeypatch.undo()

    waiting[0].give_back()


def test_sweeping_under_load_loses_nobody(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sweeping all the time, among threads that wait, costs no place and nobody's turn."""
    pool = make_pool(max_connections=3, max_idle=0.02)
    monkeypatch.setattr(policy.Policy, "sweep_interval", lambda self: 0.0)

    def work(number: int) -> None:
        for turn in range(40):
            with pool.connection() as connection:
                assert ask(connection, "ECHO", f"{number}") == f"{number}".encode()
            if turn % 10 == number % 10:
                time.sleep(0.02)

    run_threads(8, work)

    stats = pool.stats()
    assert stats.idle + stats.permits == 3
    assert stats.acquired_total == 320


# Misuse


def test_a_second_return_is_refused(pool: ConnectionPool) -> None:
    """A connection given back twice is there once."""
    connection = pool.acquire()
    pool.release(connection)

    with pytest.raises(NotOwned, match="second time"):
        pool.release(connection)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.misuse_total) == (1, 1, 1)


def test_a_second_return_of_a_closed_connection_is_refused(pool: ConnectionPool) -> None:
    """That holds too where the first return closed it."""
    connection = pool.acquire()
    connection.send_command("PING")
    pool.release(connection)

    with pytest.raises(NotOwned, match="second time"):
        pool.release(connection)

    assert pool.stats().permits == 2


def test_of_two_threads_that_give_back_one_succeeds(make_pool: MakePool) -> None:
    """Two threads return the same connection at once: one of them does, the other is refused."""
    pool = make_pool(max_connections=3)
    for _ in range(300):
        connection = pool.acquire()

        def give_back(number: int, connection: PooledConnection = connection) -> int:
            try:
                pool.release(connection)
            except NotOwned:
                return 0
            return 1

        assert sum(run_threads(2, give_back)) == 1

    assert pool.stats().idle + pool.stats().permits == 3


def test_a_foreign_connection_is_refused(make_pool: MakePool) -> None:
    """A connection of another pool, or of redis-py, is refused; both pools keep what they have."""
    ours, theirs = make_pool(max_connections=1), make_pool(max_connections=1)
    refused = pytest.raises(NotOwned, match=f"{ours.alias}.*{theirs.alias}.*another pool")
    with theirs.connection() as connection, refused:
        ours.release(connection)
    with pytest.raises(NotOwned, match="never lent"):
        ours.release(redis.Connection())
    with pytest.raises(NotOwned, match="never lent"):
        ours.release(None)

    assert ours.stats().permits == 1
    assert theirs.stats().idle == 1


def test_another_thread_may_give_back(pool: ConnectionPool) -> None:
    """A connection may be handed from thread to thread, as pipelines and generators do."""
    connection = pool.acquire()

    run_threads(1, lambda _: pool.release(connection))

    assert pool.stats().idle == 1


def test_whose_a_connection_is(make_pool: MakePool) -> None:
    """`owns_connection` tells own from foreign, lent from ended."""
    ours, theirs = make_pool(), make_pool()
    with ours.connection() as connection:
        assert ours.owns_connection(connection)
        assert not theirs.owns_connection(connection)
    assert not ours.owns_connection(redis.Connection())
