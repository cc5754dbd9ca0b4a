"""Frames that errors keep alive, and with them what the callers have taken from a pool."""

from __future__ import annotations

import traceback


def forget_frames(error: BaseException | None) -> None:
    """Empty the frames in which `error` came to be, and those behind it.

    redis-py's hold the error that holds them, and with them the frames of all callers, until a
    collection: whatever one of these takes from the pool later, and drops, would not come back.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
