"""Frames that errors keep alive, and with them what the callers have taken from a pool.

An error knows the frames that it came through, and each frame knows its caller's. Where one of them
knows the error too, all of them stay until a collection: whatever a caller takes from the pool
later, and drops, would not come back before.
"""

from __future__ import annotations

import traceback


def clear_frames(error: BaseException) -> None:
    """Let the frames that `error` came through, and have ended, know nothing any more."""
    for each in chain(error):
        traceback.clear_frames(each.__traceback__)


def without_frames(error: Exception) -> Exception:
    """The error, which knows no frame any more; nor do those behind it."""
    for each in chain(error):
        each.__traceback__ = None
    return error


def twin_of(error: Exception) -> Exception:
    """The same error for somebody else: it knows no frame, and may be told what is his alone."""
    kind = type(error)
    twin = kind.__new__(kind, *error.args)
    twin.args = error.args
    vars(twin).update(vars(error))
    twin.__cause__ = error.__cause__
    return twin


def chain(error: BaseException | None) -> list[BaseException]:
    """The error and those behind it."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__context__
    return found
