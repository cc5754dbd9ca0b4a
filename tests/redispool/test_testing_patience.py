from __future__ import annotations

import importlib
import pkgutil
import time

import pytest

import redispool
from redispool.testing import eventually
from tests.support import Clock
from tests.support.clock import modules_with_a_clock


def test_the_first_true_value_is_given() -> None:
    """A condition is asked until it gives something true, and that is handed over."""
    answers = iter([0, "", None, "yes", "no"])

    assert eventually(lambda: next(answers)) == "yes"


def test_patience_has_an_end() -> None:
    """What never comes true fails after the time, which the message tells."""
    with pytest.raises(AssertionError, match=r"did not come true within 0\.01 s"):
        eventually(lambda: False, within=0.01)


def test_the_clock_of_all_modules_goes_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each module that asks ``monotonic`` is told the advanced time; those for tests are not."""
    asking = {
        found.name
        for found in pkgutil.walk_packages(redispool.__path__, "redispool.")
        if hasattr(importlib.import_module(found.name), "monotonic")
    }
    Clock(monkeypatch).advance(1000.0)

    assert {"redispool.pool", "redispool.queueing", "redispool.wording"} <= asking
    assert {module.__name__ for module in modules_with_a_clock()} == asking
    for name in asking:
        assert importlib.import_module(name).monotonic() > time.monotonic() + 999.0
    assert not [name for name in asking if name.startswith("redispool.testing")]
