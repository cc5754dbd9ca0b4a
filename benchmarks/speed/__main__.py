"""Measures the speed of redispool beside other clients: ``python -m benchmarks.speed``."""

from __future__ import annotations

import sys

from . import plot
from .program import Program
from .subject import SUITE

PROGRAM = Program(
    SUITE,
    __doc__,
    rounds=15,
    seconds=0.1,
    web_rounds=5,
    web_seconds=2,
    quick="two minutes",
    draw=plot.draw,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
