"""Waiting for what other threads and processes do, without guessing how long it takes."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

from redispool.testing import eventually

__all__ = ["eventually", "in_time", "run_threads"]

_T = TypeVar("_T")


def run_threads(count: int, work: Callable[[int], _T], within: float = 60.0) -> list[_T]:
    """Run `work(0)` to `work(count - 1)`, each in a thread, all beginning at the same moment.

    Returns:
        What each gave, in the order of their numbers.

    Raises:
        The first error of theirs.
    """
    barrier = threading.Barrier(count)
    results: dict[int, _T] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait()
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + within
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    if errors:
        raise errors[0]
    where = "\n".join(map(_where_is, threads)) if len(results) < count else ""
    assert not where, f"{count - len(results)} of {count} threads did not end:\n{where}"
    return [results[number] for number in range(count)]


def _where_is(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def in_time(work: Callable[[], object], within: float, tries: int = 5) -> bool:
    """Whether `work` ends `within` so many seconds, in one of a few tries.

    A loaded machine may make some of them late; what waits for too long makes all of them so.
    """
    for _ in range(tries):
        started = time.monotonic()
        work()
        if time.monotonic() - started < within:
            return True
    return False
