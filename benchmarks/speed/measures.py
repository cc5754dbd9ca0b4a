"""Measures: what is asked of each contender, and the clock that times it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from . import values
from .clients import Client
from .servers import gunicorn
from .suite import MICROSECONDS, PER_SECOND, Command, Contender, View
from .timing import Call, Figure, calls_per_second, seconds_after, seconds_per_call
from .views.patterns import PATTERNS

Run: TypeAlias = Callable[[Contender, Client, str, float], Figure | None]
"""Given a contender, a client of it, its URL and the seconds; None where it has no such thing."""


def timed(ask: Callable[[Client], Call | None]) -> Run:
    """What one call takes."""

    def run(contender: Contender, client: Client, url: str, seconds: float) -> Figure | None:
        call = ask(client)
        return seconds_per_call(call, seconds) if call is not None else None

    return run


def threaded(count: int, cores: int | None = None) -> Run:
    """How many GETs that many threads make in a second, on so many cores where that is given."""

    def run(contender: Contender, client: Client, url: str, seconds: float) -> Figure | None:
        with contextlib.ExitStack() as ends:
            if cores is not None:
                ends.enter_context(kept_on(cores))
            if contender.one_per_thread:
                clients = [contender.open(url) for _ in range(count)]
            else:  # the threads that a client begins stay where it was opened
                clients = [client if cores is None else contender.open(url)] * count
                clients[0].warm_up(count)
            for one in {*clients} - {client}:
                ends.callback(one.disconnect)
            return calls_per_second([one.get(10) for one in clients], seconds)

    return run


@contextlib.contextmanager
def kept_on(cores: int) -> Iterator[None]:
    """Let the threads that begin within a ``with`` block run on so many cores, as taskset does."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(before)[:cores])
        yield
    finally:
        os.sched_setaffinity(0, before)


def connecting(contender: Contender, client: Client, url: str, seconds: float) -> Figure | None:
    """What the first GET takes where there is no connection yet."""
    first = client.first()
    return None if first is None else seconds_after(client.disconnect, first, seconds)


def executing(contender: Contender, client: Client, url: str, seconds: float) -> Figure:
    """What the execution of a pipeline of a hundred GETs takes, without the time to fill it."""
    return seconds_after(*client.execution(100), seconds)


def over_tcp() -> Iterator[Command]:
    """All, in the order of the tables."""
    for word in ("get", "set"):
        for label, size in values.SIZES.items():
            yield Command(
                f"{word}-{label.replace(' ', '')}",
                "GET and SET",
                f"{word.upper()} {label}",
                MICROSECONDS,
                timed(lambda client, word=word, size=size: getattr(client, word)(size)),
            )
    many = "Many values at once"
    yield Command("mget-100", many, "MGET 100", MICROSECONDS, timed(lambda c: c.mget(100)))
    yield Command("hgetall-100", many, "HGETALL 100", MICROSECONDS, timed(lambda c: c.hgetall()))
    for length in (1, 10, 100, 1000):
        run = timed(lambda client, length=length: client.pipeline(length))
        yield Command(f"pipeline-{length}", many, f"pipeline {length}", MICROSECONDS, run)
    yield Command("execute-100", many, "execute() of 100", MICROSECONDS, executing)
    for count in (1, 4, 16, 64):
        title = "1 thread" if count == 1 else f"{count} threads"
        yield Command(
            f"threads-{count}", "GET in threads", title, PER_SECOND, threaded(count), turns=1
        )
    for count in (4, 16, 64):
        run, group = threaded(count, cores=1), "GET in threads, all of them on one core"
        yield Command(f"core-{count}", group, f"{count} threads", PER_SECOND, run, turns=1)
    pool = "Connections and clients"
    yield Command("connect", pool, "connect to first reply", MICROSECONDS, connecting)
    checkout = timed(lambda client: client.checkout())
    yield Command("checkout", pool, "checkout and return", MICROSECONDS, checkout)
    fetch = timed(lambda client: client.fetch())
    yield Command("client", pool, "client for a request", MICROSECONDS, fetch)
    show = timed(lambda client: client.showing())
    yield Command("live", pool, "live figures of a command", MICROSECONDS, show)


OVER_UNIX = ("get-10B", "get-1KiB", "pipeline-100", "threads-4", "threads-16", "connect")
"""Those that are asked over the unix socket, too."""


def over_unix() -> Iterator[Command]:
    """The same once more."""
    for one in over_tcp():
        if one.name in OVER_UNIX:
            name = f"unix-{one.name}"
            yield replace(one, name=name, group="Over a unix socket", unix=True)


def views() -> Iterator[View]:
    """Both frameworks, with one thread and with several."""
    for framework in ("flask", "django"):
        name = framework.capitalize()
        for threads in (1, 4, 16):
            yield View(
                f"{framework}-{threads}",
                f"A {name} view with five commands",
                "1 thread" if threads == 1 else f"{threads} threads",
                PER_SECOND,
                name,
                f"{__package__}.views.{framework}_app:app",
                gunicorn(threads),
                PATTERNS,
            )
        yield View(
            f"{framework}-16-core",
            f"A {name} view with five commands",
            "16 threads on one core",
            PER_SECOND,
            name,
            f"{__package__}.views.{framework}_app:app",
            gunicorn(16, core=0),
            PATTERNS,
        )


COMMANDS = {measure.name: measure for measure in (*over_tcp(), *over_unix())}
VIEWS = {measure.name: measure for measure in views()}
"""By name, in the order of the tables."""
