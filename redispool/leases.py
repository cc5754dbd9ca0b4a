"""Leases: who holds a connection, since when, and where the code is that took it."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

import redis

from . import fork, logs
from .events import LeakSuspected

if TYPE_CHECKING:
    from .holding import Holding
    from .lifecycle import Lifecycle

NOT_THE_APPLICATION = (
    # Whole folders: without the separator, redis_om would be taken for redis.
    f"{Path(__file__).parent}{os.sep}",
    f"{Path(redis.__file__).parent}{os.sep}",
    contextlib.__file__,
)


class Lease:
    """What is known of the holder of a connection."""

    # Of the class until they are set: most leases last for one command, and are made often.
    place = ""
    """Where it was taken; noted only for what is held longer than one command."""
    keeps_session = False
    """Whether its holder relies on the session, so that no other line may take its place."""
    reported = False
    """Whether the log has said already that it is held for long."""

    def __init__(self, since: float) -> None:
        self.since = since
        """When it was taken, on the monotonic clock."""
        self.thread = threading.get_ident()

    kind = "thread"
    """What holds it, in a word."""

    def describe(self, now: float) -> str:
        """The holder in words, for errors and logs."""
        held = f"held for {now - self.since:.1f} s by {self.holder()}"
        if self.place:
            return f"{held}, taken at {self.place}"
        where = self.where()
        return f"{held}, which is now at {where}" if where else held

    def holder(self) -> str:
        """The holder's name."""
        return f"{self.kind} {thread_name(self.thread)}"

    def holder_here(self) -> str:
        """The same, in the holder's own thread; takes no lock, as a list of all threads would."""
        return f"{self.kind} {threading.current_thread().name}"

    def where(self) -> str:
        """The line of the application's code that the holder runs now; empty if nobody knows."""
        return where_is(self.thread)

    def is_ours(self) -> bool:
        """Whether the caller is the holder."""
        return self.thread == threading.get_ident()

    def note_place(self) -> None:
        """Note where the code is that took it, because it may be held for long."""
        self.place = caller()


def note_place(connection: Holding) -> None:
    """Note where the code is that holds `connection`, because it may hold it for long."""
    if connection.lease:
        lease = connection.lease[0]
        lease.note_place()
        if connection.slot is not None:
            connection.slot.record.note_holder(lease.holder_here(), lease.place)


def current(pool: Lifecycle) -> list[Lease]:
    """The leases of now, the oldest first."""
    found = [lease for held in pool.capacity.connections() for lease in list(held.lease)]
    return sorted(found, key=lambda lease: lease.since)


def suspects(pool: Lifecycle, now: float) -> list[Lease]:
    """The explicit leases that are held for longer than ``leak_threshold``."""
    limit = pool.options.leak_threshold
    if limit is None:
        return []
    return [lease for lease in current(pool) if lease.place and now - lease.since >= limit]


def report_leaks(pool: Lifecycle, now: float) -> None:
    """Log each suspect once; called where somebody asks for statistics, or has to wait.

    Of those who wait one looks for all, once in a tenth of ``leak_threshold``.
    """
    for lease in suspects(pool, now):
        if not lease.reported:
            lease.reported = True
            found: dict[str, Any] = {
                "seconds": now - lease.since,
                "holder": lease.holder(),
                "place": lease.place,
            }
            logs.warn(
                "pool %r: a connection is %s; is it given back?",
                pool.alias,
                lease.describe(now),
                event="leak_suspected",
                alias=pool.alias,
                **found,
            )
            pool.channel.tell(LeakSuspected, **found)


def report_return(pool: Lifecycle, lease: Lease, now: float) -> None:
    """Log the return of what was held for too long."""
    limit = pool.options.leak_threshold
    if limit is not None and now - lease.since >= limit:
        logs.warn(
            "pool %r: a connection was returned after %.1f s; it had been taken at %s",
            pool.alias,
            now - lease.since,
            lease.place,
            event="returned_late",
            alias=pool.alias,
            seconds=now - lease.since,
            place=lease.place,
        )


def caller() -> str:
    """The line of the application's code that led here, as ``file:line in function``."""
    return _outside(sys._getframe(1))


LEFT_BEHIND = 1.0
"""Seconds after which a look, which takes microseconds, has been cut off by an interruption."""


class _Look:
    """A look at the frames of all threads."""

    def __init__(self) -> None:
        self.thread, self.since = threading.get_ident(), monotonic()
        self.collects = False
        """Whether it stops the collection of garbage meanwhile."""

    def is_left_behind(self, now: float) -> bool:
        """Whether an interruption has cut it off."""
        here: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
        return self.thread not in here or now - self.since >= LEFT_BEHIND


class _Looks:
    """One look at a time, without a collection.

    A collection within ``sys._current_frames()`` may run a finalizer, and another thread that calls
    the same meanwhile then stops the interpreter for ever (CPython issue 106883, mended in later
    releases only). One at a time, so that no other one lets garbage be collected too early.
    """

    def __init__(self) -> None:
        self._now: dict[str, _Look] = {}  # one at most; a dict takes and drops it in one step
        fork.register(self)

    def frame_of(self, thread: int) -> FrameType | None:
        """What `thread` is running; None where nobody can tell, or another look is under way."""
        own = _Look()
        other = self._now.setdefault("one", own)
        if other is not own:
            if not other.is_left_behind(own.since):
                return None
            own.collects = other.collects
            self._now["one"] = own
        try:
            if gc.isenabled():
                own.collects = True
                gc.disable()
            return sys._current_frames().get(thread)
        finally:
            if own.collects:
                gc.enable()
            if self._now.get("one") is own:
                self._now.pop("one", None)

    def after_fork_in_child(self) -> None:
        """The thread that looked does not exist here."""
        look = self._now.pop("one", None)
        if look is not None and look.collects:
            gc.enable()


_looks = _Looks()


def where_is(thread: int) -> str:
    """The line of the application's code that `thread` is running; empty where nobody can tell."""
    frame = _looks.frame_of(thread)
    return _outside(frame) if frame is not None else ""


def thread_name(ident: int) -> str:
    """The name of the thread `ident`."""
    # Not threading.enumerate(), which takes a lock: an interruption there may leave it taken.
    known: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
    thread = known.get(ident)
    return thread.name if thread is not None else f"{ident} (ended)"


def _outside(frame: FrameType | None) -> str:
    """The first frame that is neither ours nor redis-py's."""
    last = frame
    while frame is not None:
        if not frame.f_code.co_filename.startswith(NOT_THE_APPLICATION):
            return _line(frame)
        last, frame = frame, frame.f_back
    return _line(last) if last is not None else ""


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
