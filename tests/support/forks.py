"""Running something in a forked child."""

from __future__ import annotations

import os
import pickle
import select
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any


def in_child(work: Callable[[], Any], within: float = 10.0) -> Any:
    """Fork, run `work` in the child, and give what it gave; an error of the child fails the test.

    A child that has not ended `within` so many seconds is killed, and fails the test too.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in processes with threads: here they are the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _run_and_exit(work, writer)
    os.close(writer)
    try:
        return _outcome(reader, child, within)
    finally:
        os.close(reader)
        os.waitpid(child, 0)


def _run_and_exit(work: Callable[[], Any], writer: int) -> None:
    try:
        outcome: tuple[bool, Any] = True, work()
    except BaseException:
        outcome = False, traceback.format_exc()
    os.write(writer, pickle.dumps(outcome))
    os._exit(0)


def _outcome(reader: int, child: int, within: float) -> Any:
    ready, _, _ = select.select([reader], [], [], within)
    if not ready:
        os.kill(child, signal.SIGKILL)
    assert ready, f"the child did not end within {within} s"
    said = b"".join(iter(lambda: os.read(reader, 65536), b""))
    assert said, "the child ended without a word"
    succeeded, value = pickle.loads(said)
    assert succeeded, f"in the child:\n{value}"
    return value
