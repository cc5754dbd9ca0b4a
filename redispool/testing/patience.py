"""Patience: waiting for what other threads and processes do, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def eventually(condition: Callable[[], _T], within: float = 10.0) -> _T:
    """Give the first true value of `condition`, which is asked again and again.

    Raises:
        AssertionError: none came `within` so many seconds.
    """
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"did not come true within {within} s")
        time.sleep(0.002)
    return value
