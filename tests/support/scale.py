"""How much a test does: a sample each time, all of it where somebody asks for that."""

from __future__ import annotations

import os
from typing import TypeVar

_T = TypeVar("_T")

THOROUGH = os.environ.get("REDISPOOL_THOROUGH") == "1"
"""Whether the numbers of the conformance list hold, which takes long."""


def scale(thorough: _T, quick: _T) -> _T:
    """The first where ``REDISPOOL_THOROUGH=1`` is set, else the second."""
    return thorough if THOROUGH else quick
