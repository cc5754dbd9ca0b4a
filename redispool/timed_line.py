"""A line that keeps time: no send and no receive takes longer than its caller has.

Where hiredis reads the replies, the wire does the work; where it does not, redis-py's code.
"""

from __future__ import annotations

from redis import connection as base
from redis._parsers import _HiredisParser

from .timekeeping import Timekeeping
from .wire import Wire


class TimedLine(Timekeeping, base.AbstractConnection):
    """The socket of a connection, with the limits of its sends and receives."""

    _fast_packer: bool
    _wire: Wire | None = None
    """What carries commands and replies; None where redis-py's own code has to."""
    express: Wire | None = None
    """The same where nobody wants to pack the commands in another way."""

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

    def _limit(self, seconds: float | None) -> None:
        """Let no send and no receive take longer than `seconds`."""
        if self._wire is not None:
            self._wire.limit(seconds)
        elif self._sock is not None:
            self._sock.settimeout(seconds)
