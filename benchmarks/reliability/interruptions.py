"""Interruptions: an exception at every point of a command, and signals that raise all the time."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

import redis

from tests.support import storm
from tests.support.injection import count_points, every, strike

from ..contenders import Contender
from . import keyed
from .measures import Figures, filled_server, measure

BOUND = 4
EXHAUSTED = "PoolTimeout", "MaxConnectionsError", "No connection available"
"""What the three pools say when all their connections are out."""


@measure
def injections(contender: Contender, quick: bool) -> Figures:
    """One exception at each line of ``get``, with a connection open and with none."""
    outcomes: Counter[str] = Counter()
    with filled_server() as server:
        for opened in (True, False):
            make = partial(prepared, contender, server.url, opened)
            points = count_points(lambda make=make: make().get("key:1"), "line")
            for point in every(points, at_most=40 if quick else None):
                client = make()
                strike(partial(client.get, "key:1"), "line", point)
                outcomes[next_command(client)] += 1
                outcomes["points"] += 1
    return {
        "points": outcomes["points"],
        "wrong replies": outcomes["wrong"],
        "lost slots": outcomes["lost"] + outcomes["hangs"],
        "hangs": outcomes["hangs"],
        "errors after": outcomes["error"],
    }


def prepared(contender: Contender, url: str, opened: bool) -> redis.Redis:
    """A client with one place, and where `opened` a connection in it."""
    client = contender.make_client(contender.make_pool(url, 1, 0.1))
    if opened:
        client.get("key:0")
    return client


def next_command(client: redis.Redis) -> str:
    """What the next command comes to; it may wait for a lock that nobody will ever release."""
    outcome = ["hangs"]

    def ask() -> None:
        outcome[0] = after(client)
        with contextlib.suppress(Exception):
            client.connection_pool.disconnect()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(2.0)
    return outcome[0]


def after(client: redis.Redis) -> str:
    """What the next command finds: its own value, somebody else's, no free place, or an error."""
    try:
        found = client.get("key:2")
    except redis.ConnectionError as error:
        return "lost" if is_exhausted(error) else "error"
    except Exception:
        return "error"
    return "wrong" if found != keyed.value(2) else "right"


def is_exhausted(error: object) -> bool:
    """Whether a pool says, in an error or the repr of one, that all its connections are out."""
    said = f"{error} {error!r}"
    return any(words in said for words in EXHAUSTED)


@measure
def signal_storm(contender: Contender, quick: bool) -> Figures:
    """A signal handler that raises every 20 to 300 us, while one thread runs keyed commands."""
    total, lost = storm.Report(), 0
    with filled_server() as server:
        pool = contender.make_pool(server.url, BOUND, 0.1)
        until = time.monotonic() + (2.0 if quick else 20.0)
        with storm.raising_signals():
            while time.monotonic() < until:
                number, report = random.randrange(keyed.KEYS), storm.Report()
                get = partial(get_and_expected, contender.make_client(pool), number)
                storm.note(report, ("get", number), get, storm.once())
                total.completed += report.completed
                total.interrupted += report.interrupted
                total.wrong += report.wrong
                if any(map(is_exhausted, report.errors)):
                    lost += BOUND  # all places are: go on with a new pool
                    pool = contender.make_pool(server.url, BOUND, 0.1)
                else:
                    total.errors.update(report.errors)
        lost += BOUND - free_places(pool)
    return {
        "interrupted": total.interrupted,
        "answers": total.completed,
        "wrong replies": len(total.wrong),
        "lost slots": lost,
        "errors": total.errors.total(),
    }


def get_and_expected(client: redis.Redis, number: int) -> tuple[Any, bytes]:
    """What is found under a key, and what should be."""
    return client.get(keyed.key(number)), keyed.value(number)


def free_places(pool: Any) -> int:
    """How many connections the pool still lends."""
    lent = []
    with contextlib.suppress(redis.RedisError):
        for _ in range(BOUND):
            lent.append(pool.get_connection())
    return len(lent)
