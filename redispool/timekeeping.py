"""Timekeeping: how long a connection waits for what it asked, whoever does the waiting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis.exceptions import TimeoutError

from . import commands
from .ledger import Ledger

FOREVER = float("inf")

AGES = 1e9
"""Seconds that no socket takes for a limit any more."""

OUT_OF_TIME = "Timeout: the time that the caller had is over"
"""What the error says where a deadline was the caller's, and not a limit of the socket."""


class Timekeeping:
    """The time limits of a connection: mixed into those for threads and those for asyncio."""

    ledger: Ledger
    socket_timeout: float | None
    _sock: Any
    _deadline: float | None = None
    _stretched = False
    """Whether what is asked may take longer than ``socket_timeout``."""

    @abstractmethod
    def _limit(self, seconds: float | None) -> None:
        """Let no send and no receive take longer than `seconds`."""

    def finish_by(self, deadline: float | None) -> None:
        """Wait for no reply beyond `deadline` (of the monotonic clock); None lifts that."""
        self._deadline = deadline
        if deadline is None:
            self._limit(self.socket_timeout)

    def _within_deadline(self, limit: float | None) -> float | None:
        if self._deadline is None or self._deadline == FOREVER:
            return limit
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError(OUT_OF_TIME)
        return left if limit is None else min(limit, left)

    def _wait_as_long_as_the_server(self, batch: Sequence[Sequence[Any]]) -> None:
        """Let a blocking command (``BLPOP key 10``) outlast ``socket_timeout``."""
        waits = [seconds for args in batch if (seconds := commands.blocks_for(args)) is not None]
        if waits and self.socket_timeout is not None:
            self._stretched = True
            longest = sum(max(seconds, 0.0) for seconds in waits) + self.socket_timeout
            # What the server refuses, such as -1 or infinity, it refuses at once.
            self._limit(longest if 0 not in waits and longest < AGES else None)

    def _wait_for_messages(self) -> None:
        """Let a subscription be silent for longer than ``socket_timeout``."""
        if self._sock is not None:
            self._stretched = True
            self._limit(None)

    def _replied(self, count: int) -> None:
        self.ledger.owed -= count
        if self._stretched and self.ledger.owed <= 0 and self._sock is not None:
            self._stretched = False
            self._limit(self.socket_timeout)
