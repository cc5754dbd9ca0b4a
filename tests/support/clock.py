"""A clock that tests may put forward."""

from __future__ import annotations

import sys
import time
from types import ModuleType

import pytest


class Clock:
    """The monotonic clock as redispool sees it: the real one, put forward by `advance`.

    It takes the place of ``monotonic`` in each module of the package that imported it by name;
    `redispool.testing` looks at the real one.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        for module in modules_with_a_clock():
            monkeypatch.setattr(module, "monotonic", self.now)

    def now(self) -> float:
        """What redispool is told."""
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._ahead += seconds


def modules_with_a_clock() -> list[ModuleType]:
    """The loaded modules of redispool that have a global ``monotonic``."""
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] == "redispool" and hasattr(module, "monotonic")
    ]
