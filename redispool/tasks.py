"""Tasks: which one runs, and what is to be done when it ends."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import Any


def running() -> asyncio.Task[Any] | None:
    """The task that runs in this thread; None where none does."""
    return None if asyncio._get_running_loop() is None else asyncio.current_task()


def at_end_of(task: asyncio.Task[Any], do: Callable[[], object]) -> bool:
    """Have `do` called when `task` ends, in the thread of its loop. May be called from any thread.

    Returns:
        Whether it will be called; not where the task has ended, or its loop is closed.
    """
    if task.done():
        return False
    loop = task.get_loop()
    # Not the context of the request: it would live as long as the task.
    add = functools.partial(task.add_done_callback, lambda _: do(), context=contextvars.Context())
    if asyncio._get_running_loop() is loop:
        add()
        return True
    try:
        loop.call_soon_threadsafe(add, context=contextvars.Context())
    except RuntimeError:
        return False
    return True
