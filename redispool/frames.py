"""Frames that errors keep alive, and with them what the callers have taken from a pool.

An error knows the frames that it came through, and each frame knows its caller's. Where one of them
knows the error too, all of them stay until a collection: whatever a caller takes from the pool
later, and drops, would not come back before.
"""

from __future__ import annotations

import traceback
from copy import copy

from redis.exceptions import ConnectionError


def clear_frames(error: BaseException, outer: BaseException | None) -> None:
    """Let the frames that `error` came through, and have ended, know nothing any more.

    Args:
        error: and those behind it.
        outer: what was handled when all that began, if anything; it is the caller's.
    """
    for each in chain(error, outer):
        traceback.clear_frames(each.__traceback__)


def leave_frames(error: BaseException, outer: BaseException | None) -> None:
    """Let `error` know no frame any more, nor those behind it; arguments as of `clear_frames`."""
    for each in chain(error, outer):
        each.__traceback__ = None


def twin_of(error: Exception) -> Exception:
    """The same error for somebody else: it knows no frame, and may be told what is his alone.

    It is the error itself where its class, which may be the user's, lets no twin be made.
    """
    kind = type(error)
    try:
        twin = kind.__new__(kind, *error.args)
    except Exception:
        return error
    twin.args = error.args
    vars(twin).update(vars(error))
    twin.__cause__ = error.__cause__
    return twin


def without_frames(error: Exception) -> Exception:
    """The same error without its traceback."""
    try:
        return copy(error)
    except Exception:  # of a class that cannot be copied
        return ConnectionError(str(error))


def chain(error: BaseException | None, outer: BaseException | None) -> list[BaseException]:
    """The error and those behind it, but not `outer`."""
    found: list[BaseException] = []
    while error is not None and error is not outer and not any(error is each for each in found):
        found.append(error)
        error = error.__context__
    return found
