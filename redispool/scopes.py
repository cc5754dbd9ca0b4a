"""The scope: what one request, task or command has checked out, given back at its end.

A pool lives as long as the process, a scope as long as one request.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from . import leases, logs, tasks
from .slots import GONE

if TYPE_CHECKING:
    import asyncio

__all__ = ["Scope", "current", "scope"]

_current: ContextVar[Scope | None] = ContextVar("redispool_scope", default=None)

in_context = _current.get
"""The scope that a context variable leads to; what `current` asks first."""

finders: list[Callable[[], Scope | None]] = []
"""Where a scope is looked for that no context variable leads to; adapters add to it."""


class Holder(Protocol):
    """What may hold a connection for longer than one command: a pin, a subscription, a WATCH."""

    def give_back(self) -> bool:
        """Give the connection back; whether there was one. At any time, from any thread."""


class Held(NamedTuple):
    """What is known of a holder."""

    holder: weakref.ref[Holder]
    place: str
    """The line of code where it took its connection."""
    task: weakref.ref[asyncio.Task[Any]]
    """That took it, where it was one."""


class Scope:
    """What was taken between its beginning and its end, and what was done.

    It keeps nothing alive: what the program drops is given back at once, by its finalizer.
    """

    spares_tasks = True
    """Whether a task that goes on keeps what it holds until it ends."""

    def __init__(self) -> None:
        self.commands = 0
        """Commands run, those of pipelines among them."""
        self.seconds = 0.0
        """Time spent on them, waiting for a connection included."""
        self._held: dict[int, Held] = {}
        self._previous: Scope | None = None
        self._closed = False

    def note(self, seconds: float, commands: int = 1) -> None:
        """Count `commands` that took `seconds` together."""
        self.commands += commands
        self.seconds += seconds

    def hold(self, holder: Holder) -> None:
        """Remember that `holder` took a connection, and the line of code where it did.

        Not after the end: a task that goes on may have taken it by another, as ``gather`` makes
        them, that ends long before what was taken is done with.
        """
        if self._closed:
            return
        key, known, task = id(holder), self._held, tasks.running()
        gone = weakref.ref(holder, lambda _: known.pop(key, None))
        known[key] = Held(gone, leases.caller(), GONE if task is None else weakref.ref(task))

    def let_go(self, holder: Holder) -> None:
        """Forget `holder`, which gave its connection back."""
        self._held.pop(id(holder), None)

    def enter(self) -> None:
        """Become the current scope of this context."""
        self._previous = _current.get()
        _current.set(self)

    def leave(self) -> None:
        """Be the current scope no more; what it holds stays out."""
        if _current.get() is self:
            # Not ContextVar.reset: the end of a streamed response may run in another context.
            _current.set(self._previous)

    def close(self) -> None:
        """Give back what is still held, and log it. Never raises; closing twice is once.

        A task that was begun in the scope, and goes on, has not forgotten what it holds: that is
        given back when the task ends.
        """
        self.leave()
        self._closed = True
        # What was taken last goes first: a pipeline that watches on a pin, and then the pin.
        for key, held in reversed(self._held.copy().items()):
            task = held.task() if self.spares_tasks else None
            end = functools.partial(self._end, key, held)
            # The task that runs is the one whose scope this is.
            if task is None or task is tasks.running() or not tasks.at_end_of(task, end):
                end()

    def _end(self, key: int, held: Held) -> None:
        """Give back what `held` is about, where it is still held."""
        if self._held.get(key) is held:
            self._held.pop(key, None)
            holder = held.holder()
            if holder is not None:
                _give_back(holder, held.place)


def current() -> Scope | None:
    """The scope of the running request, task or command; None outside of any."""
    found = in_context()
    if found is None and finders:
        return next((scope for finder in finders if (scope := finder()) is not None), None)
    return found


@contextlib.contextmanager
def scope() -> Iterator[Scope]:
    """A scope for the time of a ``with`` block, for tasks, scripts and commands.

    The adapters open one for each request; there it is not needed.
    """
    new = Scope()
    try:
        new.enter()
        yield new
    finally:
        new.close()


def _give_back(holder: Holder, place: str) -> None:
    kind = type(holder).__name__
    try:
        if holder.give_back():
            logs.warn(
                "%s was not closed by the end of its scope; taken at %s",
                kind,
                place,
                event="left_open",
                kind=kind,
                place=place,
            )
    except Exception:
        logs.warn(
            "%s, taken at %s, cannot be given back",
            kind,
            place,
            event="cannot_give_back",
            kind=kind,
            place=place,
            exc_info=True,
        )
