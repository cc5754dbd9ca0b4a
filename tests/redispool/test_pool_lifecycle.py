from __future__ import annotations

import functools
import gc
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import redis

import redispool
from redispool import (
    ConnectionPool,
    InvalidOption,
    NotOwned,
    PoolClosed,
    PoolTimeout,
    Redis,
    queueing,
)
from redispool.queueing import Bell
from tests.conftest import MakePool
from tests.support import HANG, ScriptedServer, Valkey, eventually, in_child, run_threads
from tests.support.callers import ask, in_background

# The end


def test_the_end_closes_what_is_idle(pool: ConnectionPool, server: Valkey) -> None:
    """`close` leaves no connection on the server, and says that it had to cut none."""
    pool.warm_up(2)

    assert pool.close() == 0
    assert pool.closed
    eventually(lambda: not server.clients(pool.alias))
    assert pool.stats().closed_total["pool_closed"] == 2


def test_two_who_close_are_both_told(pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that close the pool, say a signal handler and ``atexit``, neither waits in vain."""
    connection, sleep, asleep = pool.acquire(), Bell.sleep, set()

    def noted_sleep(bell: Bell, seconds: float) -> None:
        asleep.add(threading.get_ident())
        sleep(bell, seconds)

    monkeypatch.setattr(Bell, "sleep", noted_sleep)
    closing = [in_background(lambda: pool.close(timeout=30.0)) for _ in range(2)]
    eventually(lambda: len(asleep) == 2)

    pool.release(connection)

    for one in closing:
        assert eventually(lambda one=one: one) == [0]


def test_what_is_being_opened_at_the_end_is_not_lent(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """A caller whose connection is ready only after `close` gets `PoolClosed`."""
    gate = threading.Event()
    scripted.answer("CLIENT", lambda: gate.wait(10) and b"+OK\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port)
    dialling = in_background(pool.acquire)
    eventually(lambda: scripted.received["CLIENT"])
    closing = in_background(pool.close)
    eventually(lambda: pool.closed)

    gate.set()

    assert isinstance(eventually(lambda: dialling)[0], PoolClosed)
    assert eventually(lambda: closing) == [0]


def test_a_return_at_the_very_end_is_closed(pool: ConnectionPool, server: Valkey) -> None:
    """A connection that comes back between the looks of `close` does not stay open."""
    connection = pool.acquire()
    give = pool.capacity.queue.give

    def close_and_give(free: Any) -> None:
        pool.close(timeout=0)
        give(free)

    pool.capacity.queue.give = close_and_give  # type: ignore[method-assign]
    pool.release(connection)

    assert pool.capacity.slots() == []
    assert not connection.is_open


def test_the_end_under_load(make_pool: MakePool) -> None:
    """Sixteen busy threads: each sees its own values or `PoolClosed`, and nothing is left over."""
    pool = make_pool(max_connections=4)
    client = redis.Redis(connection_pool=pool)

    def work(number: int) -> str:
        if number == 0:
            eventually(lambda: pool.stats().acquired_total > 200)
            pool.close()
            return "closed"
        try:
            while True:
                assert client.set(f"key{number}", number)
                assert client.get(f"key{number}") == str(number).encode()
        except PoolClosed:
            return "told"

    assert run_threads(16, work) == ["closed"] + ["told"] * 15
    assert pool.capacity.slots() == []


def test_a_pool_may_be_used_in_a_with_block(make_pool: MakePool) -> None:
    """At the end of the block the pool is closed."""
    with make_pool() as pool:
        assert redis.Redis(connection_pool=pool).ping()

    assert pool.closed


@pytest.mark.parametrize("held", ["", "held = pool.acquire()", "pubsub.subscribe('news')"])
def test_nothing_is_printed_at_the_end_of_the_interpreter(server: Valkey, held: str) -> None:
    """A program may end with its pool open, and with connections out."""
    program = f"""
import redispool
pool = redispool.ConnectionPool(host={server.host!r}, port={server.port})
client = redispool.Redis(connection_pool=pool)
pubsub = client.pubsub()
assert client.ping()
{held}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# Renewal


def test_who_waits_while_recycling_gets_a_new_connection(make_pool: MakePool) -> None:
    """A connection that is to be renewed is not handed on to the queue."""
    pool = make_pool(max_connections=1)
    connection = pool.acquire()
    before = ask(connection, "CLIENT", "ID")
    waiting = in_background(pool.acquire)
    eventually(lambda: pool.stats().waiting)

    pool.recycle()
    pool.release(connection)

    served = eventually(lambda: waiting)[0]
    assert ask(served, "CLIENT", "ID") != before
    pool.release(served)


def test_what_is_being_opened_while_recycling_is_renewed_too(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """A connection whose credentials were asked for before `recycle` is not kept after it."""
    gate = threading.Event()
    scripted.answer("CLIENT", lambda: gate.wait(10) and b"+OK\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port)
    dialling = in_background(pool.acquire)
    eventually(lambda: scripted.received["CLIENT"])

    pool.recycle()
    gate.set()
    pool.release(eventually(lambda: dialling)[0])

    assert pool.stats().closed_total["drained"] == 1


def test_redis_pys_ways_to_renew_work(pool: ConnectionPool) -> None:
    """`disconnect`, `reset` and new credentials renew connections and end nothing."""
    client = redis.Redis(connection_pool=pool)
    for renew in (pool.disconnect, pool.reset, lambda: pool.re_auth_callback(None)):
        before = client.client_id()
        renew()
        assert client.client_id() != before


# Size


def test_resizing_under_load(make_pool: MakePool, server: Valkey) -> None:
    """While threads work, the bound may change again and again; the last one holds."""
    pool = make_pool(max_connections=2)
    client = redis.Redis(connection_pool=pool)

    def work(number: int) -> None:
        for turn in range(60):
            if number == 0:
                pool.resize(1 + turn % 5)
            else:
                assert client.set(f"key{number}", turn)
                assert client.get(f"key{number}") == str(turn).encode()

    run_threads(8, work)
    pool.resize(2)
    client.ping()

    stats = pool.stats()
    assert stats.idle + stats.permits == 2
    assert len(server.clients(pool.alias)) <= 2


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", None])
def test_a_size_must_make_sense(pool: ConnectionPool, size: Any) -> None:
    """Nonsense is refused by the option's name, and changes nothing."""
    with pytest.raises(InvalidOption, match="max_connections"):
        pool.resize(size)

    assert pool.max_connections == 2


# Warmth


def test_warming_up(make_pool: MakePool) -> None:
    """`warm_up` opens ``min_idle`` connections, or as many as it is told, less those open."""
    pool = make_pool(max_connections=5, min_idle=2)
    pool.warm_up()
    assert pool.stats().idle == 2

    pool.warm_up(4)
    assert (pool.stats().idle, pool.stats().created_total) == (4, 4)


def test_warming_up_fails_loudly_and_in_time(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """Where the server does not answer, the application's start says so, and nothing is held."""
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=5)
    scripted.answer("CLIENT", *([b"+OK\r\n"] * 6))  # two handshakes
    scripted.always("CLIENT", HANG)
    started = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        pool.warm_up(4, timeout=0.2)

    assert time.monotonic() - started < 0.7
    assert (pool.stats().idle, pool.stats().permits) == (2, 3)


def test_warming_up_too_late_fails(
    make_pool: MakePool, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the time is over before the last connection, that one is not opened without limit."""
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=5, retries=0)

    with pytest.raises(redis.TimeoutError):
        pool.warm_up(2, timeout=0.0)

    assert pool.stats().permits == 5


# Subscriptions


def test_subscriptions_have_their_own_bound(make_pool: MakePool) -> None:
    """Subscriptions take nothing from ``max_connections``; they are bounded by ``max_pubsub``."""
    pool = make_pool(max_connections=1, max_pubsub=2, timeout=0.5)
    client = Redis(connection_pool=pool)
    first, second, third = (client.pubsub() for _ in range(3))
    first.subscribe("a")
    second.psubscribe("b*")

    assert client.ping()
    assert pool.stats().pubsub == 2
    with pytest.raises(PoolTimeout, match="2 of 2"):
        third.subscribe("c")

    first.close()
    third.subscribe("c")
    second.close()
    third.close()
    assert pool.stats().pubsub == 0


def test_the_end_ends_subscriptions(make_pool: MakePool, server: Valkey) -> None:
    """`close` cuts a listening subscription too."""
    pool = make_pool()
    pubsub = Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    listening = in_background(lambda: next(pubsub.listen()))
    eventually(lambda: len(server.clients(pool.alias)) == 1)

    assert pool.close(timeout=0.05) == 1

    assert isinstance(eventually(lambda: listening)[0], redis.ConnectionError)
    pubsub.close()


def test_a_silent_subscription_outlasts_the_socket_timeout(
    make_pool: MakePool, server: Valkey
) -> None:
    """`listen` waits for the next message as long as it takes."""
    pool = make_pool(socket_timeout=0.1)
    pubsub = Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    listening = in_background(lambda: next(pubsub.listen())["data"])
    time.sleep(0.3)  # longer than the time-out
    with server.outside() as other:
        other.publish("news", "at last")

    assert eventually(lambda: listening) == [b"at last"]
    pubsub.close()


# Nothing lost


def in_a_thread_of_its_own(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test where its interrupts cannot leave a half-handled exception behind for others."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        run_threads(1, lambda _: test(**arguments))

    return run


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@in_a_thread_of_its_own
def test_an_interrupt_at_any_line_does_no_harm(make_pool: MakePool, warm: bool) -> None:
    """A signal handler may raise at each line of a GET: the next is right, and nothing is lost."""
    pool = make_pool(max_connections=1)
    client = Redis(connection_pool=pool)
    client.mset({"a": "A", "b": "B"})
    lines = 0
    while interrupted(lambda: client.get("a"), lines):
        lines += 1
        assert client.get("b") == b"B"
        assert_whole(pool)
        if not warm:
            pool.recycle()

    assert lines > 50


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@in_a_thread_of_its_own
def test_an_interrupt_at_any_line_of_a_wait_does_no_harm(make_pool: MakePool) -> None:
    """The same for a caller in the queue: what is given back is not lost on who left."""
    pool = make_pool(max_connections=1)
    lines, came_to_that = 0, True
    while came_to_that:
        connection = pool.acquire()
        timer = threading.Timer(0.002, pool.release, [connection])
        timer.start()
        del connection
        came_to_that = interrupted(lambda: pool.release(pool.acquire()), lines)
        timer.join()
        del timer
        assert_whole(pool)
        lines += 1

    assert lines > 50


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@in_a_thread_of_its_own
def test_an_interrupt_at_any_line_of_a_return_does_no_harm(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for who gives back while somebody waits: that one is served all the same."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 0.02)
    pool = make_pool(max_connections=1)
    lines, came_to_that = 0, True
    while came_to_that:
        connection = [pool.acquire()]
        waiting = in_background(lambda: pool.release(pool.acquire()))
        eventually(lambda: pool.stats().waiting)
        came_to_that = interrupted(lambda: pool.release(connection[0]), lines)
        connection.clear()
        assert eventually(lambda: waiting) == [None]
        assert_whole(pool)
        lines += 1

    assert lines > 20


class Alarm(BaseException):
    """What the signal handler raises."""


def test_a_storm_of_signals_does_no_harm(make_pool: MakePool) -> None:
    """For a second a real signal handler raises all the time: no wrong value, no place lost."""
    pool = make_pool(max_connections=2, timeout=1.0)
    client = Redis(connection_pool=pool)
    client.mset({f"key{number}": number for number in range(10)})

    # In a child, so that a signal which strikes elsewhere does not hurt other tests.
    interrupts, wrong, places = in_child(lambda: brave_a_storm(client, pool))

    assert interrupts > 20
    assert wrong == []
    assert places == (0, 2, 0, 0)


def brave_a_storm(client: Redis, pool: ConnectionPool) -> tuple[int, list[Any], tuple[int, ...]]:
    """How many commands were interrupted, the wrong values, and where the places are in the end."""
    warnings.simplefilter("ignore", ResourceWarning)
    # What strikes a finalizer is swallowed by Python, and told on this hook.
    sys.unraisablehook = lambda _: None

    def handle(_: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename != __file__:
            raise Alarm

    signal.signal(signal.SIGALRM, handle)
    interrupts, wrong = 0, []
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        number = interrupts % 10
        first, interval = random.uniform(2e-5, 1e-3), random.uniform(2e-5, 1e-3)
        try:
            signal.setitimer(signal.ITIMER_REAL, first, interval)
            value = client.get(f"key{number}")
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        except BaseException:  # parts of redis-py 7 turn the interrupt into another error
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            interrupts += 1
        else:
            wrong += [] if value == str(number).encode() else [(number, value)]
    gc.collect()
    with pool.connection(), pool.connection():
        stats = pool.stats()
        return interrupts, wrong, (stats.idle, stats.in_use, stats.connecting, stats.permits)


def assert_whole(pool: ConnectionPool) -> None:
    """The pool of one lends a connection that works, and nobody waits."""
    with pool.connection(timeout=1.0) as connection:
        assert ask(connection, "PING") == b"PONG"
    stats = pool.stats()
    assert (stats.idle, stats.in_use, stats.connecting, stats.permits) == (1, 0, 0, 0)
    assert stats.waiting == 0


INTERRUPTED = tuple(str(Path(package.__file__).parent) for package in (redis, redispool))


def interrupted(work: Callable[[], Any], line: int) -> bool:
    """Raise KeyboardInterrupt at traced line number `line` of `work`; whether it came to that."""
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line" and frame.f_code.co_filename.startswith(INTERRUPTED):
            left -= 1
            if left < 0 and not in_finalizer(frame):
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    except BaseException:
        assert left < 0  # that of redis-py 7 may turn the interrupt into another error
    finally:
        sys.settrace(None)
    return left < 0


def in_finalizer(frame: FrameType | None) -> bool:
    """Whether Python would swallow what is raised there."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def test_a_connection_that_its_holder_closed_frees_its_place(pool: ConnectionPool) -> None:
    """A raw connection may be disconnected by its holder; its place is a permit again."""
    with pool.connection() as connection:
        connection.disconnect()

    assert pool.stats().permits == 2
    with pytest.raises(NotOwned):
        pool.release(connection)
