"""Doing something at a chosen moment of what the pool does, in place of hoping for a race."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import redispool

OURS = str(Path(redispool.__file__).parent)


@contextmanager
def at_line(number: int, action: Callable[[], Any]) -> Iterator[list[bool]]:
    """Do `action` when redispool comes to its line `number` (from 0) in the block, in this thread.

    Whatever another thread could do between two lines, `action` can do there. The list that is
    given has an item as soon as it did.
    """
    left, done = number, []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if event == "line" and frame.f_code.co_filename.startswith(OURS):
            left -= 1
            if left < 0:
                sys.settrace(None)
                done.append(True)
                action()
        return trace

    sys.settrace(trace)
    try:
        yield done
    finally:
        sys.settrace(None)


@contextmanager
def at_every_line(action: Callable[[], Any]) -> Iterator[None]:
    """Do `action` before each line of redispool that runs in the block, in this thread."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line" and frame.f_code.co_filename.startswith(OURS):
            action()
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
