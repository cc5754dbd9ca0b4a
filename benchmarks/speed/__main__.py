"""Measures the speed of redispool beside other clients: ``python -m benchmarks.speed``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import report, rounds
from .contenders import CONTENDERS
from .measures import MEASURES

ROUNDS, SECONDS = 15, 0.1
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.04


def main() -> int:
    """Measure what is asked for, print it, and write it where that is asked for."""
    asked = arguments()
    names = [name for name in asked.contenders if CONTENDERS[name].installed]
    for name in asked.contenders:
        if name not in names:
            print(f"left out: {name}; {CONTENDERS[name].needs} is not installed")
    found = rounds.run(names, asked.only, asked.rounds, asked.seconds, say)
    report.show(found)
    if asked.json:
        asked.json.write_text(json.dumps({"measures": found}, indent=1) + "\n", encoding="utf-8")
    return 0


def arguments() -> argparse.Namespace:
    """What was typed, with what follows from it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a run of a minute or two")
    parser.add_argument("--only", nargs="+", metavar="MEASURE", choices=MEASURES, default=MEASURES)
    parser.add_argument(
        "--contenders", nargs="+", metavar="NAME", choices=CONTENDERS, default=CONTENDERS
    )
    parser.add_argument("--rounds", type=int, help=f"how often ({ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"for each figure ({SECONDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    asked.seconds = asked.seconds or (QUICK_SECONDS if asked.quick else SECONDS)
    return asked


def say(text: str) -> None:
    """Progress and mishaps: beside the tables, not in them."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
