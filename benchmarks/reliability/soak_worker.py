"""A worker of the soak: eight threads, signals, forks, and a pool that is resized and recycled."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import redis

from redispool import ConnectionPool, Redis
from redispool.testing import eventually

from . import keyed
from .children import tries_of_child

THREADS = 8

THINKS = 2e-3
"""Seconds between two pieces of work of a thread, on the average.

Without them the main thread stands in the queue most of the time, and its signals find it there.
"""


CHILD_WITHIN = 5.0
"""Seconds until a forked child hangs: the pool promises a reply or an error within three."""

CHILD_PATIENCE = 10.0
"""Seconds for which a child tries again after an error, as the threads do. One fault after another
may take each of a few tries from it, but not from all of so many; what it inherited does.
"""


class Alarm(BaseException):
    """What the signal handler raises in the main thread."""


def main(url: str, seconds: float, seed: int, bound: int) -> dict[str, Any]:
    """Work for so many seconds, and count what came of it."""
    random.seed(seed)
    warnings.simplefilter("ignore", ResourceWarning)  # interrupted work is dropped, and says so
    warnings.simplefilter("ignore", DeprecationWarning)  # forks beside threads are the point here
    sys.unraisablehook = lambda _: None  # of finalizers that were interrupted
    logging.getLogger("redispool").addHandler(logging.NullHandler())
    pool = ConnectionPool(
        url=url, max_connections=bound, timeout=2.0, socket_timeout=1.0, max_lifetime=5.0
    )
    client, counts = Redis(connection_pool=pool), Counter[str]()
    until = time.monotonic() + seconds
    own = [Counter[str]() for _ in range(THREADS)]
    threads = [
        threading.Thread(target=work, args=(client, count, until), daemon=True) for count in own
    ]
    for thread in threads:
        thread.start()
    disturb(pool, client, counts, until)
    for thread in threads:
        thread.join(30.0)
    for count in own:
        counts.update(count)
    counts["hung threads"] = sum(thread.is_alive() for thread in threads)
    counts["threads not served at the end"] = sum(not count["served at the end"] for count in own)
    del counts["served at the end"]
    counts["lost slots"] = lost_slots(pool, bound)
    broken = (
        "wrong",
        "hung threads",
        "lost slots",
        "threads not served at the end",
        "bad children",
    )
    counts["connections cut at the end"] = pool.close(1.0)
    return {**counts, "kept": not any(counts[name] for name in broken)}


def work(client: Redis, count: Counter[str], until: float) -> None:
    """Run one keyed piece of work after another."""
    while (now := time.monotonic()) < until:
        number = random.randrange(keyed.KEYS)
        piece = random.choice(PIECES)
        try:
            right = piece(client, number)
        except redis.RedisError as error:
            count[f"{type(error).__name__}"] += 1
            pause()
            continue
        count["right" if right else "wrong"] += 1
        time.sleep(random.expovariate(1 / THINKS))
        if until - now < 1.5:
            count["served at the end"] = 1


def pause() -> None:
    """What an application does after an error: while the server is away, nobody asks all the time.

    Else most of what is counted would be errors that are raised at once.
    """
    time.sleep(random.uniform(0.01, 0.1))


def get(client: Redis, number: int) -> bool:
    """A read."""
    return not keyed.is_wrong(number, client.get(keyed.key(number)))


def write(client: Redis, number: int) -> bool:
    """A write."""
    return client.set(keyed.key(number), keyed.value(number)) is True


def echo(client: Redis, number: int) -> bool:
    """A reply that no other command has."""
    said = f"{number} {random.random()}"
    return client.echo(said) == said.encode()


def transact(client: Redis, number: int) -> bool:
    """MULTI and EXEC."""
    pipe = client.pipeline()
    first, second, third = (
        pipe.get(keyed.key(number)).echo("x").get(keyed.key(number + 1)).execute()
    )
    wrong = keyed.is_wrong(number, first) or keyed.is_wrong(number + 1, third)
    return second == b"x" and not wrong


def watch(client: Redis, number: int) -> bool:
    """A value that is watched."""
    with client.pipeline() as pipe:
        pipe.watch(keyed.key(number))
        found = pipe.get(keyed.key(number))
        pipe.multi()
        pipe.echo(str(number))
        try:
            return pipe.execute() == [str(number).encode()] and not keyed.is_wrong(number, found)
        except redis.WatchError:
            return not keyed.is_wrong(number, found)


def pin(client: Redis, number: int) -> bool:
    """Another database, on a pinned connection."""
    with client.pinned() as pinned:
        pinned.execute_command("SELECT", 1)
        return pinned.get(keyed.key(number)) is None


def block(client: Redis, number: int) -> bool:
    """A blocking command that finds nothing."""
    return client.blpop([f"nothing:{number}"], timeout=0.01) is None


def abandon(client: Redis, number: int) -> bool:
    """A command whose reply nobody reads, and a transaction that nobody ends."""
    with client.connection_pool.connection() as connection:
        connection.send_command(*random.choice([("GET", keyed.key(number)), ("MULTI",)]))
    return True


PIECES: list[Callable[[Redis, int], bool]] = [
    get, get, get, write, echo, transact, watch, pin, block, abandon,
]  # fmt: skip


def disturb(pool: ConnectionPool, client: Redis, counts: Counter[str], until: float) -> None:
    """In the main thread: commands under a storm of signals, forks, resizes, renewals."""
    signal.signal(signal.SIGALRM, partial(interrupt, pool, counts))
    bound = pool.max_connections
    while time.monotonic() < until - 2.0:
        for _ in range(200):
            interrupted(client, counts)
        chance = random.random()
        if chance < 0.1:
            pool.recycle()
        elif chance < 0.2:
            pool.resize(random.randint(1, 2 * bound))
        elif chance < 0.25:
            counts["forks"] += 1
            *before, trouble = tries_of_child(client, CHILD_WITHIN, CHILD_PATIENCE)
            counts["errors of children"] += len(before)
            if trouble:
                counts["bad children"] += 1
                counts[f"bad children: {trouble}"] += 1
    pool.resize(bound)


def interrupted(client: Redis, counts: Counter[str]) -> None:
    """One command, and a signal that comes before it, during it or after it."""
    number = random.randrange(keyed.KEYS)
    with contextlib.suppress(Alarm):  # one that comes late
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(20e-6, 1e-3))
            right = random.choice(PIECES)(client, number)
            signal.setitimer(signal.ITIMER_REAL, 0)
            counts["right" if right else "wrong"] += 1
        except Alarm:
            counts["interrupted"] += 1
        except redis.RedisError as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            counts[type(error).__name__] += 1
            pause()
    signal.setitimer(signal.ITIMER_REAL, 0)


def interrupt(pool: ConnectionPool, counts: Counter[str], *_: Any) -> None:
    """Be the signal handler; note whether a command is in flight that it interrupts."""
    counts["interrupted in flight"] += awaits_reply(pool)
    raise Alarm


def awaits_reply(pool: ConnectionPool) -> bool:
    """Whether this thread has sent a command that was not answered in full."""
    own = threading.get_ident()
    return any(
        connection.ledger.owed > 0 and any(lease.thread == own for lease in list(connection.lease))
        for connection in pool.capacity.connections()
    )


def lost_slots(pool: ConnectionPool, bound: int) -> int:
    """How many places are missing once all is quiet."""

    def all_there() -> bool:
        stats = pool.stats()
        return stats.idle + stats.permits == bound

    with contextlib.suppress(AssertionError):
        eventually(all_there, within=10.0)
        return 0
    stats = pool.stats()
    return bound - stats.idle - stats.permits


if __name__ == "__main__":
    _, url, seconds, seed, bound = sys.argv
    print(json.dumps(main(url, float(seconds), int(seed), int(bound))), flush=True)
    os._exit(0)  # hung threads, if there are any, must not keep it
