"""Section H of the conformance list: the server or the network fails, and comes back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, PoolOptions, PoolTimeout, Redis, ServerUnavailable
from redispool.policy import Policy
from redispool.testing import FaultProxy
from tests.conftest import MakePool
from tests.support import Clock, ScriptedServer, Valkey, eventually, in_time, run_threads
from tests.support.callers import ask
from tests.support.scale import scale

READ_ONLY = b"-READONLY You can't write against a read only replica.\r\n"


@pytest.fixture
def proxy(flushed: Valkey) -> Iterator[FaultProxy]:
    """A network between the pool and the server that fails as told."""
    with FaultProxy(flushed.url) as proxy:
        yield proxy


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged so far."""
    return lambda: [record.getMessage() for record in caplog.records]


def client_of(pool: ConnectionPool) -> Redis:
    """A client on the pool."""
    return Redis(connection_pool=pool)


def dials_of(pool: ConnectionPool) -> int:
    """How often the pool has dialled."""
    stats = pool.stats()
    return stats.created_total + stats.create_failed_total


def answers(pool: ConnectionPool) -> bool:
    """Whether a command goes through."""
    try:
        return bool(client_of(pool).ping())
    except redis.ConnectionError:
        return False


# The server restarts, or its connections are killed


def test_restart_with_50_idle(make_pool: MakePool, own_server: Valkey) -> None:
    """Neither 50 commands one by one nor 50 at once notice a restart; at most 50 dials for it."""
    pool = make_pool(url=own_server.url, max_connections=50)
    for at_once in (False, True):
        pool.warm_up(50)
        own_server.stop()
        own_server.start()
        before = dials_of(pool)

        if at_once:
            assert all(run_threads(50, lambda _: client_of(pool).ping()))
        else:
            assert all(client_of(pool).ping() for _ in range(50))

        assert dials_of(pool) - before <= 50


@pytest.mark.parametrize("how", ["fin", "rst", "client_kill"])
def test_idle_connections_that_were_closed(
    make_pool: MakePool,
    proxy: FaultProxy,
    server: Valkey,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """rst_idle, fin_idle, client_kill_idle: they are replaced, and nobody gets an error."""
    clock = Clock(monkeypatch)
    pool = make_pool(url=proxy.url, max_connections=3)
    pool.warm_up(3)
    kill = {
        "fin": proxy.close_all,
        "rst": proxy.reset_all,
        "client_kill": lambda: server.kill_clients(pool.alias),
    }
    kill[how]()
    eventually(lambda: not any(held.alive() for held in pool.capacity.connections()))
    clock.advance(1.0)

    assert all(client_of(pool).ping() for _ in range(3))

    assert proxy.dials == 4
    assert pool.stats().closed_total["dead_at_checkout"] == 1


def test_suspect_mode(make_pool: MakePool, server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_kill_of_busy_connections(make_pool: MakePool, server: Valkey) -> None:
    """A read whose line is cut under it is sent again on another; nobody gets an error."""
    pool = make_pool(max_connections=4, retries=50)
    client = client_of(pool)
    client.set("key", "value")
    enough = threading.Event()

    def work(number: int) -> bool:
        if number == 0:
            for _ in range(scale(500, 20)):
                server.kill_clients(pool.alias)
            enough.set()
        while not enough.is_set():
            assert client.get("key") == b"value"
        return True

    assert all(run_threads(5, work))


# The network swallows, refuses, resets


def test_black_hole_idle(
    make_pool: MakePool, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line on which packets vanish is found by a PING of a second at most, and replaced."""
    clock = Clock(monkeypatch)
    pool = make_pool(url=proxy.url)

    def replace() -> None:
        proxy.black_hole()
        proxy.heal()  # for new lines; the old one stays dead
        clock.advance(60.0)
        assert client_of(pool).ping()

    client_of(pool).ping()
    assert in_time(replace, within=1.2)
    assert pool.stats().closed_total["dead_at_checkout"] == proxy.dials - 1


def test_black_hole_in_use(make_pool: MakePool, proxy: FaultProxy) -> None:
    """A write on a line on which packets vanish ends with ``socket_timeout``, its place free."""
    pool = make_pool(url=proxy.url, max_connections=1, socket_timeout=0.2, timeout=0.5)
    client_of(pool).ping()
    proxy.black_hole()

    with pytest.raises(redis.TimeoutError, match="may have executed"):
        client_of(pool).set("key", "value")

    stats = pool.stats()
    assert (stats.in_use, stats.idle, stats.permits) == (0, 0, 1)


def test_a_black_hole_is_an_outage(
    make_pool: MakePool, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where connecting hangs, two at most try at once, and each waits for his own time at most."""
    clock = Clock(monkeypatch)
    pool = make_pool(url=proxy.url, max_connections=4, timeout=1.0, socket_connect_timeout=0.2)
    pool.warm_up(1)
    proxy.black_hole()
    proxy.close_all()
    clock.advance(1.0)

    def work(_: int) -> float:
        started = time.monotonic()
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            pool.acquire()
        return time.monotonic() - started

    proxy.most_dialling = 0
    assert max(run_threads(20, work)) < 1.0 + 1.0
    assert proxy.most_dialling <= 2
    assert pool.stats().permits == 4
    proxy.heal()
    assert eventually(lambda: answers(pool))


def test_accept_then_reset(make_pool: MakePool, proxy: FaultProxy) -> None:
    """A port that accepts and resets is a server that is away: only a handshake ends that."""
    pool = make_pool(url=proxy.url, max_connections=2, timeout=0.3)
    proxy.reset_new()
    with pytest.raises(
        (redis.ConnectionError, redis.TimeoutError)
    ):  # which of them is time's choice
        client_of(pool).ping()
    assert pool.capacity.gate.outage is not None
    assert pool.capacity.gate.outage.failures > 1

    proxy.heal()

    assert eventually(lambda: answers(pool))
    assert pool.capacity.gate.outage is None


def test_half_a_reply(make_pool: MakePool, proxy: FaultProxy) -> None:
    """A reply that ends half-way is nobody's: the read is sent again, on another line."""
    pool = make_pool(url=proxy.url)
    client = client_of(pool)
    client.set("key", "value")
    proxy.cut_reply(4)

    assert client.get("key") == b"value"
    assert proxy.dials == 2


# The server is away


def test_reconnect_storm(
    make_pool: MakePool, proxy: FaultProxy, lines: Callable[[], list[str]]
) -> None:
    """Many callers wait while a server is away: one dials at a time, with pauses in between.

    Every one of them gets his answer, the first within a second of the server's return; the log has
    one line for the beginning and one for the end.
    """
    callers, away = scale(500, 60), scale(60.0, 1.5)
    pool = make_pool(url=proxy.url, max_connections=50, timeout=away + 30.0)
    pool.warm_up(50)
    proxy.refuse()
    proxy.close_all()
    before, proxy.most_dialling = dials_of(pool), 0
    back: list[float] = []

    def come_back() -> None:
        until = time.monotonic() + away
        eventually(lambda: time.monotonic() > until, within=away + 10.0)
        back.append(time.monotonic())
        assert dials_of(pool) - before < 8 + 4 * away  # 0.45 s lie between two, on the average
        proxy.accept()

    def work(number: int) -> float:
        if number == callers:
            come_back()
        assert client_of(pool).ping()
        return time.monotonic()

    answered = run_threads(callers + 1, work, within=away + 60.0)

    assert proxy.most_dialling <= 2
    assert min(answered) - back[0] < 1.0 + 0.5
    begin, end = lines()
    assert "cannot be reached" in begin
    assert "is back after" in end


def test_every_caller_is_answered_in_time(
    make_pool: MakePool,
    proxy: FaultProxy,
    lines: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In an outage that outlasts their patience each caller gets an error by his own deadline."""
    clock = Clock(monkeypatch)
    pool = make_pool(url=proxy.url, max_connections=4, timeout=0.3)
    pool.warm_up(4)
    proxy.refuse()
    proxy.close_all()
    clock.advance(1.0)

    def work(_: int) -> float:
        started = time.monotonic()
        with pytest.raises(redis.ConnectionError):
            pool.acquire()
        return time.monotonic() - started

    assert max(run_threads(40, work)) < 0.3 + 1.0
    assert len(lines()) == 1
    proxy.accept()
    assert eventually(lambda: answers(pool))
    assert len(lines()) == 2


def test_fail_fast_when_open(
    make_pool: MakePool, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once an outage is established callers get the last error at once, and do not dial for it."""
    pool = make_pool(url=proxy.url, max_connections=1)
    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        pool.acquire()
    dials = dials_of(pool)
    monkeypatch.setattr("redispool.queueing.Waiter.sleep", nobody_waits)
    monkeypatch.setattr("redispool.gate.Gate.opens_in", lambda *_: 0.9)

    for _ in range(5):
        with pytest.raises(ServerUnavailable, match="refused") as caught:
            pool.acquire()
        assert isinstance(caught.value.__cause__, redis.ConnectionError)

    assert dials_of(pool) == dials
    assert pool.stats().failed_total == 6
    assert pool.stats().away_seconds > 0
    assert "refused" in pool.stats().away_reason
    monkeypatch.undo()
    proxy.accept()
    assert eventually(lambda: answers(pool))
    assert (pool.stats().away_seconds, pool.stats().away_reason) == (0.0, "")
    with pool.connection(timeout=0):  # the first success has opened the way for all
        pass


def nobody_waits(*_: Any) -> None:
    """Stands where a caller would fall asleep."""
    raise AssertionError("a caller waits")


def test_a_wrong_address_is_told_after_the_tries(make_pool: MakePool, proxy: FaultProxy) -> None:
    """A server that never was there is not waited for as long as one that will come back."""
    pool = make_pool(url=proxy.url, timeout=60.0, retries=2)
    proxy.refuse()

    with pytest.raises(redis.ConnectionError, match="refused"):
        pool.acquire()

    assert pool.stats().create_failed_total == 3


def test_a_caller_in_a_hurry_proves_nothing(
    make_pool: MakePool, proxy: FaultProxy, lines: Callable[[], list[str]]
) -> None:
    """A dial that its own caller cut off says nothing of the server, and shuts the gate to none."""
    pool = make_pool(url=proxy.url)
    proxy.delay(0.2)
    for _ in range(3):
        with pytest.raises(redis.TimeoutError):
            pool.acquire(timeout=0.01)

    assert pool.capacity.gate.outage is None
    assert lines() == []
    with pool.connection():
        pass


def test_backoff_jitter() -> None:
    """A hundred pools that lost their server together do not come back together."""
    policy = Policy.of(PoolOptions())
    drawn = [policy.pause_before_dial(20) for _ in range(5000)]
    buckets = Counter(int(pause / 0.05) for pause in drawn)

    assert max(buckets.values()) < 0.1 * len(drawn)


# The server answers, and refuses


def test_readonly_after_failover(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica's READONLY renews every connection, for the name is looked up again by that.

    The write, which was refused, is sent again.
    """
    clock = Clock(monkeypatch)
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=3)
    pool.warm_up(3)
    clock.advance(2.0)
    scripted.answer("SET", READ_ONLY)

    assert client_of(pool).set("key", "value")

    stats = pool.stats()
    assert (stats.closed_total["read_only"], stats.closed_total["drained"]) == (1, 2)
    assert (scripted.received["SET"], scripted.connections) == (2, 4)


def test_a_replica_by_intention(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write to what always was a replica fails with the server's words, and renews no others."""
    clock = Clock(monkeypatch)
    scripted.always("SET", READ_ONLY)
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=3)
    pool.warm_up(3)
    clock.advance(2.0)

    for _ in range(2):
        with pytest.raises(redis.exceptions.ReadOnlyError, match="read only replica"):
            client_of(pool).set("key", "value")

    assert pool.stats().closed_total["drained"] == 2  # those of before, once


@pytest.mark.parametrize("transaction", [True, False])
def test_readonly_in_a_pipeline(
    make_pool: MakePool, scripted: ScriptedServer, transaction: bool
) -> None:
    """What a replica refuses within a pipeline renews the connection too."""
    pool = make_pool(host=scripted.host, port=scripted.port)
    scripted.always("SET", READ_ONLY)
    scripted.always("EXEC", b"-EXECABORT Transaction discarded because of previous errors.\r\n")
    pipeline = client_of(pool).pipeline(transaction)
    pipeline.set("key", "value")

    with pytest.raises(redis.ResponseError):
        pipeline.execute()

    assert pool.stats().closed_total["read_only"] == 1


def test_loading(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """A server that still loads its data is waited for; nothing was run, so writes wait too."""
    pool = make_pool(host=scripted.host, port=scripted.port, retries=1)
    scripted.answer("INCRBY", *[b"-LOADING Redis is loading the dataset in memory\r\n"] * 4)

    assert client_of(pool).incr("hits") == 1
    assert scripted.received["INCRBY"] == 5


def test_maxclients(make_pool: MakePool, own_server: Valkey) -> None:
    """Where the server takes no more connections, the pool lives on those that it has."""
    pool = make_pool(url=own_server.url, max_connections=10, timeout=20.0)
    pool.warm_up(2)
    with own_server.outside() as outside:
        outside.config_set("maxclients", len(outside.client_list()) - 1)  # it leaves itself
    first, second = pool.acquire(), pool.acquire()
    with pytest.raises(redis.ConnectionError, match=r"max number of clients|reset|roken|closed"):
        pool.acquire(timeout=0.2)
    pool.release(first)
    pool.release(second)

    def work(number: int) -> bool:
        return all(client_of(pool).ping() for _ in range(30))

    assert all(run_threads(8, work))
    assert pool.stats().created_total == 2


def test_noauth(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """A server that wants a password is told at once, with the setting; it is no outage."""
    scripted.always("CLIENT", b"-NOAUTH Authentication required.\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port, alias="sessions")

    for _ in range(2):
        with pytest.raises(redis.AuthenticationError) as caught:
            client_of(pool).ping()
        assert "Authentication required" in str(caught.value)
        assert 'REDISPOOL["sessions"]["PASSWORD"]' in str(caught.value)

    assert scripted.connections == 2
    assert pool.capacity.gate.outage is None


# Age


def test_lifetime_jitter() -> None:
    """Connections that were born together are not renewed together."""
    policy = Policy.of(PoolOptions(max_lifetime=10.0))
    buckets = Counter(int(policy.expires_at(0.0) / 0.05) for _ in range(5000))

    assert max(buckets.values()) < 0.1 * 5000
    assert {9, 10} == {int(0.05 * bucket) for bucket in buckets}


def test_expiry_under_load(make_pool: MakePool) -> None:
    """Connections that live for a moment only, and a full queue: nobody's time runs out for it."""
    pool = make_pool(max_connections=2, max_lifetime=0.05, timeout=20.0)

    def work(number: int) -> bool:
        while pool.counts["closed lifetime"] < 10:
            if client_of(pool).echo(f"{number}") != b"%d" % number:
                return False
        return True

    assert all(run_threads(8, work, within=30.0))
    stats = pool.stats()
    assert (stats.timeouts_total, stats.failed_total) == (0, 0)


def test_idle_timeout_keeps_min_idle(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Returns close what was idle for too long, the coldest first, and never below ``min_idle``."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=5, max_idle=10.0, min_idle=2)
    pool.warm_up(5)
    for _ in range(6):
        client_of(pool).ping()
        clock.advance(2.0)

    stats = pool.stats()
    assert (stats.idle, stats.permits, stats.closed_total["idle"]) == (2, 3, 3)


def test_min_idle_refills_after_kill(
    make_pool: MakePool, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who needs a killed connection gets a new one in its place; nobody opens one before."""
    clock = Clock(monkeypatch)
    pool = make_pool(max_connections=2, min_idle=2)
    pool.warm_up()
    server.kill_clients(pool.alias)
    clock.advance(1.0)

    with pool.connection(), pool.connection():
        pass

    assert pool.stats().idle == 2
    assert len(server.clients(pool.alias)) == 2


def test_warm_up_fails_loudly(make_pool: MakePool, proxy: FaultProxy) -> None:
    """What could not be opened ahead is told to who asked for it, and costs no place."""
    pool = make_pool(url=proxy.url, max_connections=3)
    proxy.refuse()
    with pytest.raises(redis.ConnectionError, match="refused"):
        pool.warm_up(3)
    proxy.accept()
    eventually(lambda: answers(pool))
    with pool.connection(), pytest.raises(PoolTimeout):
        pool.warm_up(3, timeout=0.2)

    stats = pool.stats()
    assert stats.idle + stats.permits == 3
