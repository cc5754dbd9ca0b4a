"""The program: reads what is asked for, measures it, and shows it."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import drawing, machine, plot, rounds, web
from .figures import Found
from .suite import Suite

QUICK_ROUNDS, QUICK_SECONDS = 2, 0.03


@dataclass(frozen=True)
class Program:
    """The command of a suite.

    Args:
        suite: what is measured.
        about: what it does, for ``--help``.
        rounds: how often.
        seconds: for each figure of a round.
        web_rounds: how often views are asked.
        web_seconds: for each figure of a view.
        quick: how long ``--quick`` takes, in words.
        draw: draws the plot of a report; None where there is none.
    """

    suite: Suite
    about: str | None
    rounds: int
    seconds: float
    web_rounds: int
    web_seconds: int
    quick: str
    draw: Callable[[dict[str, Any], Path], None] | None = None

    def main(self) -> int:
        """Measure what is asked for and show it; a goal that is missed is no failure."""
        asked = self.arguments()
        report = json.loads(asked.read.read_text("utf-8")) if asked.read else self.measured(asked)
        drawing.show(self.suite, report)
        if asked.json:
            asked.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if self.draw and asked.plot:
            self.draw(report, asked.plot)
        if asked.write:
            beside = asked.write.with_suffix(".svg") if self.draw else None
            drawing.write(self.suite, report, asked.write, beside)
        return 0

    def arguments(self) -> argparse.Namespace:
        """What was typed, with what follows from it."""
        suite, command = self.suite, f"python -m {self.suite.package}"
        parser = argparse.ArgumentParser(prog=command, description=self.about)
        add = parser.add_argument
        add("--quick", action="store_true", help=f"a run of {self.quick}, to see that it works")
        add(
            "--only",
            nargs="+",
            metavar="MEASURE",
            choices=suite.measures,
            default=list(suite.measures),
            help=f"these alone: {' '.join(suite.measures)}",
        )
        add(
            "--contenders",
            nargs="+",
            metavar="NAME",
            choices=suite.contenders,
            default=list(suite.contenders),
            help=f"these alone: {', '.join(map(repr, suite.contenders))}; views have their own",
        )
        add("--rounds", type=int, help=f"how often ({self.rounds}, views {self.web_rounds})")
        add(
            "--seconds",
            type=float,
            help=f"for each figure of a round ({self.seconds}); views: {self.web_seconds}",
        )
        add("--json", type=Path, metavar="FILE", help="write the figures there, too")
        add("--from", type=Path, metavar="FILE", dest="read", help="take them from there instead")
        add("--write", type=Path, metavar="PAGE", help="put the tables into that Markdown page")
        if self.draw:
            add("--plot", type=Path, metavar="FILE", help="draw a plot, as SVG")
        asked = parser.parse_args()
        if self.draw and asked.plot and not plot.drawable():
            parser.error("--plot needs matplotlib, which the extra `bench` brings")
        if asked.write and (complaint := drawing.no_place(suite, asked.write)):
            parser.error(complaint)
        return asked

    def measured(self, asked: argparse.Namespace) -> dict[str, Any]:
        """The report of a run."""
        seconds = asked.seconds or (QUICK_SECONDS if asked.quick else self.seconds)
        times = asked.rounds or (QUICK_ROUNDS if asked.quick else self.rounds)
        report: dict[str, Any] = {
            "command": self.command(asked),
            "rounds": times,
            "seconds": seconds,
            "machine": machine.machine(),
            "versions": machine.versions(),
        }
        found: Found = {}
        commands = [name for name in self.suite.commands if name in asked.only]
        if commands:
            names = self.present(asked.contenders)
            found |= rounds.run(self.suite, names, commands, times, seconds, say)
        views = [view for name, view in self.suite.views.items() if name in asked.only]
        if views and web.missing():
            print(f"left out: the views; {web.missing()} is not installed")
        elif views:
            web_rounds = 1 if asked.quick else min(times, self.web_rounds)
            found |= web.run(views, web_rounds, 1 if asked.quick else self.web_seconds, say)
        return report | {"measures": found}

    def command(self, asked: argparse.Namespace) -> str:
        """What has to be typed for these figures; where they are written to does not matter."""
        words = ["python", "-m", self.suite.package, *(["--quick"] if asked.quick else [])]
        every = {"only": self.suite.measures, "contenders": self.suite.contenders}
        for option, names in every.items():
            chosen = getattr(asked, option)
            words += [f"--{option}", *chosen] if list(chosen) != list(names) else []
        for option in ("rounds", "seconds"):
            words += [f"--{option}", str(getattr(asked, option))] if getattr(asked, option) else []
        return shlex.join(words)

    def present(self, names: list[str]) -> list[str]:
        """Those that are installed, in the order of the tables; a line for each of the others."""
        contenders = self.suite.contenders
        for name in names:
            if not contenders[name].installed:
                print(f"left out: {name}; {contenders[name].needs} is not installed")
        return [name for name in contenders if name in names and contenders[name].installed]


def say(text: str) -> None:
    """Progress and mishaps: beside the tables, not in them."""
    print(text, file=sys.stderr, flush=True)
