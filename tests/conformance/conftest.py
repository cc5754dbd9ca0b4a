"""Circumstances under which a rule has to hold."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from redispool import queueing


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Only reference counts free what nobody holds."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Threads take turns as often as Python lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiters rely on being woken: none looks for itself within the time of a test."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 60.0)
