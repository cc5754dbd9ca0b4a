"""The subject: clients for threads, and what redispool is to reach beside them."""

from __future__ import annotations

from collections.abc import Iterator

from .contenders import CONTENDERS, FLOOR, OURS, PACKING, REDIS_PY
from .goals import Goal
from .measures import COMMANDS, VIEWS
from .suite import MICROSECONDS, MILLISECONDS, Beside, Suite
from .views import patterns

CPU = ("get-10B", "set-10B", "get-100KiB", "mget-100", "pipeline-100", "threads-16")
"""The measures whose time on the processor has a table."""


def all_goals() -> Iterator[Goal]:
    """In the order of the tables."""
    yield Goal("GET, one thread", "get-10B", FLOOR, "≤", 1.10)
    for count in (4, 16, 64):
        yield Goal(f"GET/s, {count} threads", f"threads-{count}", FLOOR, "≥", 0.75)
        yield Goal(f"GET/s, {count} threads", f"threads-{count}", REDIS_PY, "≥", 5)
    # Packed ahead or not: "a bare-socket pipeline" can be read both ways.
    yield Goal("pipeline of 100 GET", "pipeline-100", FLOOR, "≤", 1.15)
    yield Goal("pipeline of 100 GET", "pipeline-100", PACKING, "≤", 1.15)
    yield Goal("execute() of a pipeline of 100 GET", "execute-100", PACKING, "≤", 1.15)
    yield Goal("pipeline of 100 GET", "pipeline-100", REDIS_PY, "≤", 1)
    yield Goal("connect to first reply", "connect", REDIS_PY, "≤", 0.5)
    yield Goal("checkout and return", "checkout", "", "≤", 1)
    yield Goal("client for a request: factory.client()", "client", "", "≤", 1)
    for name in ("redispool, new client", "redispool in Flask", "redispool in Django"):
        yield Goal(f"client for a request: {name}", "client", "", "≤", 1, ours=name)
    yield Goal("live figures of a command", "live", OURS, "≤", 0.01, beside="get-10B")
    for framework in ("flask", "django"):
        for threads in (1, 4, 16):
            name = f"{framework}-{threads}"
            title = f"{VIEWS[name].about} view, {VIEWS[name].title}"
            if threads > 1:
                yield Goal(title, name, patterns.GLOBAL, "≥", 1.2)
            yield Goal(title, name, patterns.ANEW, ">", 1)


SUITE = Suite(
    package="benchmarks.speed",
    contenders=CONTENDERS,
    commands=COMMANDS,
    views=VIEWS,
    goals=tuple(all_goals()),
    bases=(FLOOR, REDIS_PY, patterns.GLOBAL),
    besides=(
        Beside("CPU time of the client's process for each call", "cpu", MICROSECONDS, CPU),
        Beside("99 of 100 requests were answered within", "p99", MILLISECONDS, tuple(VIEWS)),
    ),
    mark="figures",
)
