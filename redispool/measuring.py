"""Measuring: who is told of each wait and each connection that was opened, where anybody is."""

from __future__ import annotations

from typing import Protocol


class Measuring(Protocol):
    """Takes the times of one pool, one by one; must not raise.

    For what needs each value, as OpenTelemetry's histograms do: they cannot be filled from sums.
    """

    def waited(self, seconds: float) -> None:
        """A caller got a connection after waiting in the queue."""

    def connected(self, seconds: float) -> None:
        """A connection was opened."""
