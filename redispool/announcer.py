"""The announcer: calls listeners one after the other, in a thread that ends when all is told.

Not in the thread of the caller: he may hold connections that a listener would wait for, or be a
finalizer or a signal handler in the middle of anything. And no thread that stays: after it no fork
would be safe. So whoever has something to tell adds it to a queue, and starts a thread where none
is at work.
"""

from __future__ import annotations

import _thread
import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from . import fork, logs

MOST_WAITING = 10_000
"""Events that wait for slow listeners; what comes beyond is not told."""
AT_EXIT = 1.0
"""Seconds that listeners have at the end of the process."""


class Announcer:
    """Tells events in their order. One for the process; a forked child begins anew."""

    def __init__(self) -> None:
        self._begin()
        fork.register(self)
        atexit.register(self.wait, AT_EXIT)

    def _begin(self) -> None:
        self._queue: deque[tuple[Any, Sequence[Callable[[Any], object]]]] = deque()
        # Only ever tried, never waited for: held by the one thread that is at work.
        self._working = threading.Lock()
        self._teller = 0
        self._dropping = False

    def tell(self, event: Any, listeners: Sequence[Callable[[Any], object]]) -> None:
        """Have `listeners` called with `event`, soon.

        What listeners cause themselves is not told: it could go on for ever.
        """
        if self._teller == threading.get_ident():
            return
        if len(self._queue) >= MOST_WAITING:
            self._dropping = True
            return
        self._queue.append((event, listeners))
        self._start()

    def wait(self, seconds: float) -> bool:
        """Wait until all is told, for `seconds` at most; whether it is."""
        deadline = monotonic() + seconds
        while self._queue or self._working.locked():
            if monotonic() >= deadline:
                return False
            self._start()
            time.sleep(0.001)
        return True

    def after_fork_in_child(self) -> None:
        """What happened in the parent is told there; its thread does not exist here."""
        self._begin()

    def _start(self) -> None:
        if self._working.locked():
            return  # who works there looks for more after unlocking it
        try:
            # Not threading.Thread, whose start takes locks: a finalizer may run under them. Looked
            # up when it is needed: gevent may have put its own in place by then.
            _thread.start_new_thread(self._work, ())
        except RuntimeError:
            pass  # the interpreter ends, or there are too many threads; the next event tries again

    def _work(self) -> None:
        while self._queue and self._working.acquire(blocking=False):
            try:
                self._teller = threading.get_ident()
                self._tell_all()
            finally:
                self._teller = 0
                self._working.release()

    def _tell_all(self) -> None:
        while self._queue:
            event, listeners = self._queue.popleft()
            for listener in listeners:
                call(listener, event)
        if self._dropping:
            self._dropping = False
            logs.warn(
                "listeners were too slow: events beyond %d that waited were not told",
                MOST_WAITING,
                event="events_dropped",
            )


def call(listener: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call a listener; what it raises, be it SystemExit, is its own affair, and goes to the log."""
    try:
        listener(*args, **kwargs)
    except BaseException as error:
        logs.error(
            "the listener %r failed",
            listener,
            event="listener_failed",
            reason=type(error).__name__,
            exc_info=True,
        )


ANNOUNCER = Announcer()
