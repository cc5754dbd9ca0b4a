"""Swapping: methods that record stand in the place of those that run commands, while one records.

Otherwise each command would have to ask whether somebody does. So at rest the classes have their
own methods, and nothing is paid.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from time import monotonic
from typing import Any, Protocol, Self, TypeAlias

from .. import fork, leases
from ..aio.client import AsyncRedis
from ..aio.holders import AsyncPubSub
from ..aio.pipelines import AsyncPipeline
from ..client import Redis
from ..holders import PubSub
from ..pipelines import Pipeline

Batch: TypeAlias = Callable[[Any, tuple[Any, ...]], Sequence[Sequence[Any]]]
"""What goes to the server with a call of a method, from its object and arguments."""


def one(holder: Any, args: tuple[Any, ...]) -> Sequence[Sequence[Any]]:
    """A command, which is the arguments."""
    return [args]


def queued(holder: Any, args: tuple[Any, ...]) -> Sequence[Sequence[Any]]:
    """The commands that a pipeline has queued."""
    return [args for args, _ in holder.command_stack]


RUNS: Sequence[tuple[Any, str, Batch]] = [
    (Redis, "execute_command", one),
    (Pipeline, "immediate_execute_command", one),
    (Pipeline, "execute", queued),
    (PubSub, "execute_command", one),
    (AsyncRedis, "execute_command", one),
    (AsyncPipeline, "immediate_execute_command", one),
    (AsyncPipeline, "execute", queued),
    (AsyncPubSub, "execute_command", one),
]
"""All that sends commands."""


class Listener(Protocol):
    """What records."""

    active: bool

    def note(self, pool: Any, batch: Sequence[Sequence[Any]], started: float, outcome: Any) -> None:
        """Note a round trip that began at `started` and ended in `outcome`, a reply or an error."""

    def lease_begins(self, alias: str, lease: leases.Lease) -> None:
        """Note a connection that is held for longer than a command."""

    def lease_ends(self, lease: leases.Lease, now: float) -> None:
        """Note that it was given back."""


listening: ContextVar[Listener | None] = ContextVar("redispool_recorder", default=None)


def current() -> Listener | None:
    """What records in this context."""
    found = listening.get()
    return found if found is not None and found.active else None


class Swaps:
    """The methods of now: those that record, as long as somebody does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recording = 0
        self._originals: list[tuple[Any, str, Any]] = []
        fork.register(self)

    def begin(self) -> None:
        """One more records."""
        with self._lock:
            self._recording += 1
            if self._recording == 1:
                new = [(kind, name, _recording(vars(kind)[name], of)) for kind, name, of in RUNS]
                new += [
                    (leases, "note_place", _noting_leases(leases.note_place)),
                    (leases, "report_return", _noting_returns(leases.report_return)),
                ]
                self._originals = [(kind, name, vars(kind)[name]) for kind, name, _ in new]
                _set(new)

    def end(self) -> None:
        """One less."""
        with self._lock:
            self._recording -= 1
            if not self._recording:
                _set(self._originals)

    def after_fork_in_child(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()


def _set(attributes: Sequence[tuple[Any, str, Any]]) -> None:
    for holder, name, value in attributes:
        setattr(holder, name, value)


def _recording(run: Any, batch_of: Batch) -> Any:
    """The method `run`, and a note of what it did where somebody records."""
    if inspect.iscoroutinefunction(run):

        @functools.wraps(run)
        async def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
            with Note(self, args, batch_of) as note:
                note.outcome = await run(self, *args, **kwargs)
            return note.outcome

    else:

        @functools.wraps(run)
        def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
            with Note(self, args, batch_of) as note:
                note.outcome = run(self, *args, **kwargs)
            return note.outcome

    return recorded


class Note:
    """Tells the recorder of this context, if there is one, what is done within a ``with`` block."""

    outcome: Any = None

    def __init__(self, sender: Any, args: tuple[Any, ...], batch_of: Batch) -> None:
        self._listener = current()
        if self._listener is not None:
            self._pool, self._batch = sender.connection_pool, batch_of(sender, args)

    def __enter__(self) -> Self:
        self._started = monotonic()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if self._listener is not None and self._batch:
            outcome = self.outcome if error is None else error
            self._listener.note(self._pool, self._batch, self._started, outcome)


def _noting_leases(note_place: Callable[[Any], None]) -> Callable[[Any], None]:
    def noting(connection: Any) -> None:
        note_place(connection)
        listener, slot = current(), connection.slot
        capacity = slot.capacity() if slot is not None else None
        if listener is not None and connection.lease and capacity is not None:
            listener.lease_begins(capacity.channel.alias, connection.lease[0])

    return noting


def _noting_returns(report_return: Callable[..., None]) -> Callable[..., None]:
    def noting(pool: Any, lease: Any, now: float) -> None:
        listener = current()
        if listener is not None:
            listener.lease_ends(lease, now)
        report_return(pool, lease, now)

    return noting


SWAPS = Swaps()
