"""Measures redispool for asyncio beside other clients: ``python -m benchmarks.aio``."""

from __future__ import annotations

import sys

from ..speed.program import Program
from .subject import SUITE

PROGRAM = Program(
    SUITE,
    __doc__,
    rounds=5,
    seconds=0.1,
    web_rounds=5,
    web_seconds=2,
    quick="three minutes",
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
