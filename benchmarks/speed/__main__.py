"""Measures the speed of redispool beside other clients: ``python -m benchmarks.speed``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from . import drawing, machine, plot, rounds, web
from .contenders import CONTENDERS
from .figures import Found
from .measures import COMMANDS, MEASURES, VIEWS

ROUNDS, SECONDS = 15, 0.1
WEB_ROUNDS, WEB_SECONDS = 5, 2
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.03


def main() -> int:
    """Measure what is asked for and show it; a goal that is missed is no failure."""
    asked = arguments()
    report = json.loads(asked.read.read_text("utf-8")) if asked.read else measured(asked)
    drawing.show(report)
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if asked.plot:
        plot.draw(report, asked.plot)
    if asked.write:
        drawing.write(report, asked.write)
    return 0


def arguments() -> argparse.Namespace:
    """What was typed, with what follows from it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a run of two minutes, to see that it works")
    add(
        "--only",
        nargs="+",
        metavar="MEASURE",
        choices=MEASURES,
        default=list(MEASURES),
        help=f"these alone: {' '.join(MEASURES)}",
    )
    add(
        "--contenders",
        nargs="+",
        metavar="NAME",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        help=f"these alone: {', '.join(map(repr, CONTENDERS))}; views have their own",
    )
    add("--rounds", type=int, help=f"how often ({ROUNDS}, views {WEB_ROUNDS})")
    add(
        "--seconds",
        type=float,
        help=f"for each figure of a round ({SECONDS}); views: {WEB_SECONDS}",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures there, too")
    add("--from", type=Path, metavar="FILE", dest="read", help="take them from there instead")
    add("--write", type=Path, metavar="PAGE", help="put the tables into that Markdown page")
    add("--plot", type=Path, metavar="FILE", help="draw a plot, as SVG")
    asked = parser.parse_args()
    if asked.plot and not plot.drawable():
        parser.error("--plot needs matplotlib, which the extra `bench` brings")
    if asked.write and (complaint := drawing.no_place(asked.write)):
        parser.error(complaint)
    return asked


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """The report of a run."""
    seconds = asked.seconds or (QUICK_SECONDS if asked.quick else SECONDS)
    times = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    report: dict[str, Any] = {
        "command": command(asked),
        "rounds": times,
        "seconds": seconds,
        "machine": machine.machine(),
        "versions": machine.versions(),
    }
    found: Found = {}
    commands = [name for name in COMMANDS if name in asked.only]
    if commands:
        found |= rounds.run(present(asked.contenders), commands, times, seconds, say)
    views = [name for name in VIEWS if name in asked.only]
    if views and web.missing():
        print(f"left out: the views; {web.missing()} is not installed")
    elif views:
        web_rounds = 1 if asked.quick else min(times, WEB_ROUNDS)
        found |= web.run(views, web_rounds, 1 if asked.quick else WEB_SECONDS, say)
    return report | {"measures": found}


def command(asked: argparse.Namespace) -> str:
    """What has to be typed for these figures; where they are written to does not matter."""
    words = ["python", "-m", "benchmarks.speed", *(["--quick"] if asked.quick else [])]
    for option, every in (("only", MEASURES), ("contenders", CONTENDERS)):
        chosen = getattr(asked, option)
        words += [f"--{option}", *chosen] if list(chosen) != list(every) else []
    for option in ("rounds", "seconds"):
        words += [f"--{option}", str(getattr(asked, option))] if getattr(asked, option) else []
    return shlex.join(words)


def present(names: list[str]) -> list[str]:
    """Those that are installed, in the order of the tables; a line for each of the others."""
    for name in names:
        if not CONTENDERS[name].installed:
            print(f"left out: {name}; {CONTENDERS[name].needs} is not installed")
    return [name for name in CONTENDERS if name in names and CONTENDERS[name].installed]


def say(text: str) -> None:
    """Progress and mishaps: beside the tables, not in them."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
