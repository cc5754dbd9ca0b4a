"""Prints the table of `docs/reliability.md`: ``python -m benchmarks.reliability``."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import redis
from rich.console import Console
from rich.table import Table

from ..contenders import CONTENDERS
from . import interruptions, soak
from .measures import MEASURES, Figures

assert interruptions  # imported for what it puts on the list

HANGS = 120.0
"""Seconds after which a measure is ended, with "hangs" for its figures."""


def main() -> int:
    """Measure what is asked for; the exit code is 1 where redispool broke a promise."""
    asked = arguments()
    if asked.one:
        name, contender = asked.one
        print(json.dumps(MEASURES[name](CONTENDERS[contender], asked.quick)))
        return 0
    found = {name: measured(name, asked.quick) for name in asked.only or MEASURES}
    show(found)
    soaked = soak.run(asked.soak) if asked.soak else None
    if soaked is not None:
        print(f"soak of {asked.soak:.0f} s: {json.dumps(soaked, indent=2)}")
    if asked.json:
        report = {"versions": versions(), "measures": found, "soak": soaked}
        asked.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(broken(found, soaked))


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--only", nargs="+", choices=MEASURES, help="these measures alone")
    parser.add_argument(
        "--soak", type=float, default=0.0, metavar="SECONDS", help="a soak after it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(name: str, quick: bool) -> dict[str, Figures]:
    """The figures of all contenders, each in a process of its own, which may hang or crash."""
    return {contender: in_a_process(name, contender, quick) for contender in CONTENDERS}


def in_a_process(name: str, contender: str, quick: bool) -> Figures:
    """The figures of one contender."""
    command = [sys.executable, "-m", "benchmarks.reliability", "--one", name, contender]
    try:
        done = subprocess.run(
            [*command, *(["--quick"] if quick else [])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "hangs"}
    if done.returncode < 0:
        return {"outcome": f"crashes with signal {-done.returncode}"}
    if done.returncode:
        return {"outcome": f"ends with {done.returncode}: {done.stderr.strip()[-300:]}"}
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def show(found: dict[str, dict[str, Figures]]) -> None:
    """Print a table: a row for each figure, a column for each contender."""
    table = Table(title=", ".join(f"{name} {version}" for name, version in versions().items()))
    table.add_column("measure")
    for contender in CONTENDERS:
        table.add_column(contender, justify="right")
    for name, by_contender in found.items():
        rows = list(dict.fromkeys(row for figures in by_contender.values() for row in figures))
        for row in rows:
            cells = [str(figures.get(row, "")) for figures in by_contender.values()]
            table.add_row(f"{name}: {row}", *cells)
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def versions() -> dict[str, str]:
    """Of what the figures are."""
    return {
        "redispool": metadata.version("redispool"),
        "redis-py": redis.__version__,
        "Python": platform.python_version(),
    }


def broken(found: dict[str, dict[str, Figures]], soaked: dict[str, Any] | None) -> bool:
    """Whether redispool broke a promise that has no grey between kept and broken."""
    rows = (
        "wrong replies",
        "lost slots",
        "lent to two at once",
        "of another pool lent",
        "children that hang or fail",
        "outcome",
    )
    ours = [figures["redispool"] for figures in found.values()]
    return any(figures.get(row) for figures in ours for row in rows) or bool(
        soaked and not soaked["kept"]
    )


if __name__ == "__main__":
    sys.exit(main())
