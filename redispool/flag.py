"""A flag that threads can wait for, without a lock that an interruption could leave taken."""

from __future__ import annotations

import threading
from collections import deque

from .queueing import Bell


class Flag(threading.Event):
    """Stands where ``threading.Event`` is used.

    That one has a lock. Where a signal handler raises just after it was taken, the next ``set`` or
    ``clear`` waits for ever; so does a finalizer that calls them.
    """

    def __init__(self) -> None:
        self._set = False
        self.sleepers: deque[Bell] = deque()

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._set

    def set(self) -> None:
        """Set it, and wake those who wait."""
        self._set = True
        for bell in list(self.sleepers):
            bell.ring()

    def clear(self) -> None:
        """Take it back."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for `timeout` seconds at most; whether it is."""
        bell = Bell()
        self.sleepers.append(bell)
        try:
            if not self._set:  # only now, or what happens meanwhile would be missed
                bell.sleep(-1 if timeout is None else max(timeout, 0.0))
            return self._set
        finally:
            self.sleepers.remove(bell)
