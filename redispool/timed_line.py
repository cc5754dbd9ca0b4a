"""A line that keeps time: no send and no receive takes longer than its caller has.

Where hiredis reads the replies, the wire does the work; where it does not, redis-py's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis import connection as base
from redis._parsers import _HiredisParser
from redis.exceptions import TimeoutError

from . import commands
from .ledger import Ledger
from .wire import Wire

FOREVER = float("inf")

AGES = 1e9
"""Seconds that no socket takes for a limit any more."""


class TimedLine(base.AbstractConnection):
    """The socket of a connection, with the limits of its sends and receives."""

    ledger: Ledger
    _sock: Any
    _fast_packer: bool
    _wire: Wire | None = None
    """What carries commands and replies; None where redis-py's own code has to."""
    express: Wire | None = None
    """The same where nobody wants to pack the commands in another way."""
    _deadline: float | None = None
    _stretched = False
    """Whether what is asked may take longer than ``socket_timeout``."""

    def _wire_up(self) -> None:
        """Let the wire do the work, where hiredis reads the replies.

        Not for one that looks after its own health, as a subscription's does: redis-py sees to it.
        """
        parser = self._parser
        if type(parser) is _HiredisParser and not self.health_check_interval:
            limit = self._within_deadline(self.socket_timeout)
            self._wire = Wire(self._sock, parser, limit)
            self.express = self._wire if self._fast_packer else None

    def _unwire(self) -> None:
        """Let redis-py's code do the work from now on: it has its own way with time-outs."""
        if self._wire is not None:
            self._wire = self.express = None
            self._sock.settimeout(self.socket_timeout)

    def finish_by(self, deadline: float | None) -> None:
        """Wait for no reply beyond `deadline` (of the monotonic clock); None lifts that."""
        self._deadline = deadline
        if deadline is None:
            self._limit(self.socket_timeout)

    def _limit(self, seconds: float | None) -> None:
        """Let no send and no receive take longer than `seconds`."""
        if self._wire is not None:
            self._wire.limit(seconds)
        elif self._sock is not None:
            self._sock.settimeout(seconds)

    def _within_deadline(self, limit: float | None) -> float | None:
        if self._deadline is None or self._deadline == FOREVER:
            return limit
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("Timeout: the time that the caller had is over")
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
