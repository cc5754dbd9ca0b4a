"""A clock that tests may put forward."""

from __future__ import annotations

import time

import pytest

from redispool import census, connection, dialling, fitness, pool, slots, wording


class Clock:
    """The monotonic clock as the pool sees it: the real one, put forward by `advance`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        for module in (census, connection, dialling, fitness, pool, slots, wording):
            monkeypatch.setattr(module, "monotonic", self.now)

    def now(self) -> float:
        """What the pool is told."""
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._ahead += seconds
