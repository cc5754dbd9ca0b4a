"""What is measured of each contender: a function each, which gives figures by name."""

from __future__ import annotations

import contextlib
import threading
import time
import timeit
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import redis

from redispool.testing import FaultProxy, Server

from ..contenders import Contender
from . import keyed
from .children import tries_of_child

Figures: TypeAlias = dict[str, float | int | str]

MEASURES: dict[str, Callable[[Contender, bool], Figures]] = {}
"""By name, in the order of the table."""


def measure(function: Callable[[Contender, bool], Figures]) -> Callable[[Contender, bool], Figures]:
    """Put `function` on the list; it is given a contender, and whether it has to be quick."""
    MEASURES[function.__name__] = function
    return function


@contextlib.contextmanager
def filled_server() -> Iterator[Server]:
    """A server with the keyed values in it."""
    with Server() as server:
        keyed.fill(server.url)
        yield server


@measure
def unread_replies(contender: Contender, quick: bool) -> Figures:
    """Who leaves a reply unread gives its connection back; the next one asks for another key."""
    outcomes: Counter[str] = Counter()
    with filled_server() as server:
        for number in range(20 if quick else 200):
            # The first half answers before the connection is lent again, the other half after.
            late = number % 2
            pool = contender.make_pool(server.url, 1, 1.0)
            connection = pool.get_connection()
            connection.send_command(
                *(("BLPOP", "nothing", "0.02") if late else ("GET", keyed.key(number)))
            )
            pool.release(connection)
            try:
                found = contender.make_client(pool).get(keyed.key(number + 1))
                outcomes["wrong" if found != keyed.value(number + 1) else "right"] += 1
            except redis.RedisError:
                outcomes["errors"] += 1
            pool.disconnect()
    return {"wrong replies": outcomes["wrong"], "errors": outcomes["errors"]}


@measure
def fairness(contender: Contender, quick: bool) -> Figures:
    """Sixteen threads on four connections, each held for 50 microseconds."""
    with filled_server() as server:
        pool = contender.make_pool(server.url, 4, 20.0)
        turns, errors = [0] * 16, [0] * 16
        start, end = threading.Barrier(16), time.monotonic() + (1.0 if quick else 4.0)

        def work(number: int) -> None:
            start.wait()
            while time.monotonic() < end:
                try:
                    connection = pool.get_connection()
                except redis.ConnectionError:
                    errors[number] += 1
                    continue
                time.sleep(50e-6)
                pool.release(connection)
                turns[number] += 1

        run(work, 16)
    return {
        "slowest thread / mean": round(min(turns) / (sum(turns) / 16 or 1), 2),
        "errors": sum(errors),
    }


@measure
def deadlines(contender: Contender, quick: bool) -> Figures:
    """How late a caller is told, who gave himself 0.2 s, or 1 s where the network is dead."""
    with filled_server() as server:
        pool = contender.make_pool(server.url, 1, 0.2)
        pool.get_connection()
        exhausted = max(overshoot(pool.get_connection, 0.2) for _ in range(3 if quick else 20))
        with FaultProxy(server.url) as proxy:
            proxy.black_hole()
            dead = contender.make_pool(proxy.url, 1, 1.0)
            hanging = max(overshoot(dead.get_connection, 1.0) for _ in range(1 if quick else 3))
    return {"late, pool exhausted (ms)": round(exhausted), "late, black hole (ms)": round(hanging)}


def overshoot(call: Callable[[], Any], allowed: float) -> float:
    """Milliseconds beyond `allowed` seconds that `call` took to fail."""
    started = time.monotonic()
    with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
        call()
    return max(time.monotonic() - started - allowed, 0.0) * 1000


@measure
def restart(contender: Contender, quick: bool) -> Figures:
    """The server restarts under fifty idle connections; then fifty threads send a command each."""
    with filled_server() as server:
        pool = contender.make_pool(server.url, 50, 5.0)
        held = [pool.get_connection() for _ in range(50)]
        for connection in held:
            pool.release(connection)
        server.restart()
        client, errors = contender.make_client(pool), [0] * 50

        def work(number: int) -> None:
            try:
                client.get(keyed.key(number))
            except redis.RedisError:
                errors[number] = 1

        run(work, 50)
    return {"errors": sum(errors)}


@measure
def outage(contender: Contender, quick: bool) -> Figures:
    """A hundred threads, which ask every 20 ms, and a server that is away for three seconds."""
    seconds, outcomes, longest = (1.0 if quick else 3.0), Counter[str](), [0.0] * 100
    over, back, answered = threading.Event(), [0.0], [0.0] * 100
    with filled_server() as server, FaultProxy(server.url) as proxy:
        pool = contender.make_pool(proxy.url, 50, 5.0)
        client = contender.make_client(pool)

        def work(number: int) -> None:
            while not over.wait(0.02):
                started = time.monotonic()
                try:
                    client.get(keyed.key(number))
                    outcomes["answers"] += 1
                    if back[0] and started and not answered[number]:
                        answered[number] = time.monotonic() - back[0]
                except redis.RedisError:
                    outcomes["errors"] += 1
                longest[number] = max(longest[number], time.monotonic() - started)

        def fail() -> None:
            time.sleep(0.5)
            outcomes.clear()
            proxy.refuse()
            proxy.close_all()
            proxy.most_dialling, dials = 0, proxy.dials
            time.sleep(seconds)
            outcomes["errors while away"] = outcomes["errors"]
            back[0] = time.monotonic()
            proxy.accept()
            time.sleep(3.0)
            outcomes["dials after"] = proxy.dials - dials
            over.set()

        run(lambda number: fail() if number == 100 else work(number), 101)
        most = proxy.most_dialling
    first = [seconds for seconds in answered if seconds]
    return {
        "errors": outcomes["errors"],
        "dials at once": most,
        "all served after (s)": round(max(first), 2) if len(first) == 100 else "never",
        "longest call (s)": round(max(longest), 1),
    }


@measure
def returned_twice(contender: Contender, quick: bool) -> Figures:
    """A connection is given back twice, and one of another pool is given back here."""
    with filled_server() as server:
        pool, other = (contender.make_pool(server.url, 3, 0.1) for _ in range(2))
        held, connection, foreign = (
            pool.get_connection(),
            pool.get_connection(),
            other.get_connection(),
        )
        lent = [held]
        for stray in (connection, connection):
            with contextlib.suppress(Exception):
                pool.release(stray)
        with contextlib.suppress(redis.ConnectionError):
            lent += [pool.get_connection() for _ in range(2)]
        shared = len(lent) - len({id(one) for one in lent})
        with contextlib.suppress(Exception):
            pool.release(foreign)
        with contextlib.suppress(redis.ConnectionError):
            lent.append(pool.get_connection())
        return {"lent to two at once": shared, "of another pool lent": int(foreign in lent)}


@measure
def forks(contender: Contender, quick: bool) -> Figures:
    """A process forks while eight of its threads are busy; each child sends a command."""
    hung = 0
    with filled_server() as server:
        pool = contender.make_pool(server.url, 4, 5.0)
        client, over = contender.make_client(pool), threading.Event()

        def busy(number: int) -> None:
            while not over.is_set():
                with contextlib.suppress(redis.RedisError):
                    client.get(keyed.key(number))
                    pool.disconnect(inuse_connections=False)

        def fork_often() -> None:
            nonlocal hung
            for _ in range(20 if quick else 100):
                hung += tries_of_child(client)[-1] != ""
            over.set()

        run(lambda number: fork_often() if number == 8 else busy(number), 9)
    return {"children that hang or fail": hung}


@measure
def checkout(contender: Contender, quick: bool) -> Figures:
    """Taking a connection and giving it back in one thread: the best of many short rounds."""
    rounds, repeats = 3_000, 50 if quick else 500
    with filled_server() as server:
        pool = contender.make_pool(server.url, 4, 1.0)
        best = min(
            timeit.repeat(
                lambda: pool.release(pool.get_connection()), number=rounds, repeat=repeats
            )
        )
    return {"checkout and return (us)": round(best / rounds * 1e6, 2)}


def run(work: Callable[[int], None], count: int) -> None:
    """Run `work(0)` to `work(count - 1)` in threads, to their end."""
    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
