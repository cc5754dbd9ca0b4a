"""The report: tables of medians and ratios, for a terminal and for Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from .contenders import CONTENDERS, FLOOR, REDIS_PY
from .figures import Found, base_of, ratio, summary
from .measures import MEASURES, MICROSECONDS, Measure

BASES = (FLOOR, REDIS_PY)
"""Beside the first of them that took part, ratios are given."""


@dataclass(frozen=True)
class Grid:
    """A table that is not drawn yet."""

    title: str
    head: list[str]
    rows: list[list[str]]


def grids(found: Found) -> Iterator[Grid]:
    """A table for each group of measures."""
    measured = [MEASURES[name] for name in MEASURES if found.get(name)]
    for group in dict.fromkeys(measure.group for measure in measured):
        yield group_grid(group, [one for one in measured if one.group == group], found)


def group_grid(group: str, measures: list[Measure], found: Found) -> Grid:
    """A row for each contender, a column for each measure."""
    names = [name for name in CONTENDERS if any(name in found[one.name] for one in measures)]
    head = ["", *(f"{one.title} ({one.unit})" for one in measures)]
    rows = [[name, *(cell(one, name, found) for one in measures)] for name in names]
    return Grid(group, head, rows)


def cell(measure: Measure, contender: str, found: Found) -> str:
    """The median and, in brackets, the ratio."""
    by_contender = found[measure.name]
    rounds = by_contender.get(contender)
    if rounds is None:
        return ""
    figures = summary(rounds)
    if figures is None:
        return "failed"
    base = base_of(by_contender, BASES)
    times = ratio(rounds, by_contender[base]) if base not in (None, contender) else None
    return number(figures.value, measure.unit) + (f" ({times:.2f})" if times is not None else "")


def number(value: float, unit: str) -> str:
    """As many digits as mean something."""
    if unit != MICROSECONDS:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def show(found: Found) -> None:
    """Print all tables."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for grid in grids(found):
        table = Table(title=grid.title, title_justify="left")
        for number_, head in enumerate(grid.head):
            table.add_column(head, justify="right" if number_ else "left")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
