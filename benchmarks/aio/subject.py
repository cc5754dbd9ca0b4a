"""The subject: clients for asyncio, and what redispool is to reach beside them."""

from __future__ import annotations

from collections.abc import Iterator

from ..speed.goals import Goal
from ..speed.suite import COUNT, MICROSECONDS, MILLISECONDS, Beside, Suite
from .contenders import CONTENDERS, REDIS_PY, SHARED, SHARED_FLOOR
from .measures import COMMANDS, LOOPS, REQUESTS, THREADS, VIEWS
from .views import patterns

CPU = tuple(f"{loop}-{tasks}-get" for loop in LOOPS for tasks in (1, 50, 500))
"""The measures whose time on the processor has a table."""

BURSTS = tuple(name for name, view in VIEWS.items() if view.requests)
LOADS = tuple(name for name, view in VIEWS.items() if not view.requests)


def all_goals() -> Iterator[Goal]:
    """In the order of the tables."""
    for loop in LOOPS:
        yield Goal(f"GET, one task, {loop}", f"{loop}-1-get", REDIS_PY, "≤", 0.70)
        many = f"{loop}-50-get"
        yield Goal(f"GET, 50 tasks, {loop}", many, REDIS_PY, "≤", 0.65)
        title = f"GET, 50 tasks, {loop}, multiplex"
        yield Goal(title, many, REDIS_PY, "≤", 0.12, ours=SHARED)
        yield Goal(title, many, SHARED_FLOOR, "≤", 1.5, ours=SHARED)
    # "A WSGI view of one GET" can be read with its server and without.
    yield Goal("one GET through async_to_sync", "short-async-to-sync", REDIS_PY, "≤", 0.25)
    yield Goal("Flask view of one GET, no server", "short-flask", REDIS_PY, "≤", 0.25)
    for word, name in (("flask", "Flask"), ("django", "Django")):
        # A quarter of the time for each is four times as many.
        title = f"{name} view of one GET, gunicorn, requests/s"
        yield Goal(title, f"wsgi-{word}", patterns.PER_LOOP, "≥", 4)
    for word, name in (("flask", "Flask"), ("django", "Django")):
        burst, title = (
            f"burst-{word}",
            f"{REQUESTS:,} requests to the {name} view, {THREADS} threads",
        )
        yield Goal(title, burst, "", "≤", 0, key="errors", unit="failures")
        yield Goal(title, burst, "", "≤", THREADS, key="made", unit="connections made")


SUITE = Suite(
    package="benchmarks.aio",
    contenders=CONTENDERS,
    commands=COMMANDS,
    views=VIEWS,
    goals=tuple(all_goals()),
    bases=(REDIS_PY, patterns.PER_LOOP, patterns.GLOBAL),
    besides=(
        Beside("Failures in the burst of requests", "errors", COUNT, BURSTS),
        Beside("Connections made in the burst of requests", "made", COUNT, BURSTS),
        Beside("CPU time of the client's process for each GET", "cpu", MICROSECONDS, CPU),
        Beside("99 of 100 requests were answered within", "p99", MILLISECONDS, LOADS),
    ),
    mark="asyncio",
)
