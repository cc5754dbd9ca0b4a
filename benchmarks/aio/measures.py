"""Measures: what is asked of each contender on a loop that lives long, and on one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import uvloop
from asgiref.sync import async_to_sync
from flask import Flask
from werkzeug.test import create_environ

from ..speed.servers import gunicorn, uvicorn
from ..speed.suite import MICROSECONDS, PER_SECOND, TURNS, Command, View
from ..speed.timing import Figure, seconds_per_call
from .clients import Call, Client
from .timing import seconds_per_command
from .views import patterns

Run: TypeAlias = Callable[[Client, float], Awaitable[Figure]]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

REQUESTS, THREADS = 1000, 8
"""Of the burst of requests, and the threads of gunicorn, and of those who ask."""


@dataclass(frozen=True)
class OnLoop(Command):
    """What the worker awaits on a loop that lives as long as it.

    Args:
        loop: a name of `LOOPS`.
    """

    loop: str = "asyncio"

    @property
    def full_title(self) -> str:
        """The tasks and the loop: all of a table of several groups ask the same."""
        return self.group


def asked(ask: Callable[[Client], Call], tasks: int) -> Run:
    """What one command takes where that many tasks ask."""

    async def run(client: Client, seconds: float) -> Figure:
        await client.warm_up(tasks)
        return await seconds_per_command(ask(client), tasks, seconds)

    return run


ASKED: dict[str, tuple[str, Callable[[Client], Call], int]] = {
    "get": ("GET", lambda client: client.get(), 1),
    "set": ("SET", lambda client: client.set(), 1),
    "pipeline-1": ("pipeline 1", lambda client: client.pipeline(1), 1),
    "pipeline-100": ("pipeline 100", lambda client: client.pipeline(100), 10),
    "mget-100": ("MGET 100", lambda client: client.mget(100), 2),
}
"""The name of a measure, after those of the loop and the number of tasks → its title, its work, and
what that costs, GET being 1."""

LONG = 100
"""From that many GETs on, a batch is too long for several turns in a round."""

TOO_MUCH = "-500-pipeline-100"
"""A batch of these is some seconds of one client, and tells what that of 50 tasks tells."""


def on_loops() -> Iterator[OnLoop]:
    """Both loops, with one task and with many."""
    for loop in LOOPS:
        for tasks in (1, 50, 500):
            group = f"One task, {loop}" if tasks == 1 else f"{tasks} tasks, {loop}"
            for word, (title, ask, cost) in ASKED.items():
                name, run = f"{loop}-{tasks}-{word}", asked(ask, tasks)
                if name.endswith(TOO_MUCH):
                    continue
                turns = 1 if tasks * cost > LONG else TURNS
                yield OnLoop(name, group, title, MICROSECONDS, run, turns=turns, loop=loop)


def by_run(call: Call) -> Callable[[], object]:
    """A new loop in this thread."""
    return lambda: asyncio.run(call())  # type: ignore[arg-type]


def by_uvloop_run(call: Call) -> Callable[[], object]:
    """The same, of uvloop."""
    return lambda: uvloop.run(call())  # type: ignore[arg-type]


def by_async_to_sync(call: Call) -> Callable[[], object]:
    """A new loop in a new thread, as Django and Flask run an async view under WSGI."""
    return async_to_sync(call)


def by_flask(call: Call) -> Callable[[], object]:
    """An async view of Flask, called as a server for WSGI calls it."""
    app, environ = Flask(__name__), create_environ()

    @app.get("/")
    async def view() -> bytes:
        value: bytes = await call()
        return value

    return lambda: list(app(environ.copy(), lambda *_: None))


def short(run: Callable[[Call], Callable[[], object]]) -> Callable[[Client, float], Figure | None]:
    """What a loop takes that is there for one GET."""

    def ending(client: Client, seconds: float) -> Figure | None:
        call = client.alone()
        return None if call is None else seconds_per_call(run(call), seconds)

    return ending


def short_loops() -> Iterator[Command]:
    """The ways to such a loop."""
    ways = (
        ("run", "asyncio.run", by_run),
        ("uvloop", "uvloop.run", by_uvloop_run),
        ("async-to-sync", "async_to_sync", by_async_to_sync),
        ("flask", "Flask view, no server", by_flask),
    )
    for name, title, run in ways:
        yield Command(f"short-{name}", "A loop for one GET", title, MICROSECONDS, short(run))


def views() -> Iterator[View]:
    """WSGI, where each request has a loop, and ASGI, where all share one."""
    module = f"{__package__}.views"
    wsgi = ("flask", f"{module}.flask_app:app"), ("django", f"{module}.django_app:wsgi")
    asgi = ("fastapi", f"{module}.fastapi_app:app"), ("django", f"{module}.django_app:asgi")
    names = {"flask": "Flask", "fastapi": "FastAPI", "django": "Django"}
    one_get = "An async view of one GET under WSGI (a loop for each request)"
    for word, app in wsgi:
        name, title = f"wsgi-{word}", names[word]
        serve = gunicorn(THREADS)
        yield View(
            name, one_get, title, PER_SECOND, "WSGI", app, serve, patterns.WSGI, connections=THREADS
        )
    for word, app in wsgi:
        yield View(
            f"burst-{word}",
            f"{REQUESTS:,} requests of {THREADS} threads to such a view under WSGI",
            names[word],
            PER_SECOND,
            "burst",
            app,
            gunicorn(THREADS),
            patterns.BURST,
            connections=THREADS,
            requests=REQUESTS,
        )
    five = "An async view with five commands under ASGI"
    for word, app in asgi:
        title = names[word]
        yield View(f"asgi-{word}", five, title, PER_SECOND, "ASGI", app, uvicorn, patterns.ASGI)


ON_LOOPS = {measure.name: measure for measure in on_loops()}
COMMANDS: dict[str, Command] = {**ON_LOOPS, **{one.name: one for one in short_loops()}}
VIEWS = {measure.name: measure for measure in views()}
"""By name, in the order of the tables."""
