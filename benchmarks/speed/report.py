"""The report: tables of medians, ratios and goals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .contenders import CONTENDERS, FLOOR, REDIS_PY
from .figures import Found, Rounds, ratios, spread, values
from .goals import GOALS
from .measures import COMMANDS, MEASURES, MICROSECONDS, PER_SECOND, VIEWS, Measure, View
from .views.patterns import GLOBAL, PATTERNS

BASES = (FLOOR, REDIS_PY, GLOBAL)
"""Ratios are given beside the first of them that took part."""

CPU = ("get-10B", "set-10B", "get-100KiB", "mget-100", "pipeline-100", "threads-16")
"""The measures whose time on the processor has a table."""

UNITS = {"cpu": MICROSECONDS, "p99": "ms"}
"""Of the figures beside the main one."""


@dataclass(frozen=True)
class Grid:
    """A table that is not drawn yet; `note` says how to read it."""

    title: str
    note: str
    head: list[str]
    rows: list[list[str]]


def grids(found: Found) -> Iterator[Grid]:
    """The goals, a table for each group of measures, and what stands beside them."""
    yield goals_grid(found)
    measured = [measure for name, measure in MEASURES.items() if found.get(name)]
    for group in dict.fromkeys(measure.group for measure in measured):
        yield grid(group, [one for one in measured if one.group == group], found)
    costs = [one for one in measured if one.name in CPU]
    if costs:
        yield grid("CPU time of the client's process for each call", costs, found, "cpu")
    waits = [one for one in measured if one.name in VIEWS]
    if waits:
        yield grid("99 of 100 requests were answered within", waits, found, "p99")


def goals_grid(found: Found) -> Grid:
    """Which goals were met; those whose measure was not asked for are left out."""
    head = ["goal", "wanted", "measured", "middle half of the rounds", ""]
    rows = []
    for goal in GOALS:
        if goal.measure in found:
            figure = goal.found(found)
            middle = f"{figure.low:.2f} to {figure.high:.2f}" if figure else ""
            median = f"{figure.median:.2f}" if figure else ""
            rows.append([goal.title, goal.wanted, median, middle, goal.verdict(found)])
    return Grid("Goals", "The median of the rounds counts.", head, rows)


def grid(title: str, measures: list[Measure], found: Found, key: str = "value") -> Grid:
    """A row for each contender, a column for each measure."""
    order = CONTENDERS if measures[0].name in COMMANDS else PATTERNS
    names = [name for name in order if any(name in found[one.name] for one in measures)]
    units = list(dict.fromkeys(UNITS.get(key, one.unit) for one in measures))
    rows = [[name, *(cell(one, name, found, key) for one in measures)] for name in names]
    bases = dict.fromkeys(base for one in measures if (base := base_of(found[one.name])))
    note = f"Medians, in {units[0]}" if len(units) == 1 else "Medians"
    note += f"; in brackets × {', or where it has no figure × '.join(bases)}" if bases else ""
    return Grid(title, f"{note}.", ["", *heads(measures, units)], rows)


def base_of(by_contender: dict[str, Rounds]) -> str | None:
    """Beside whom the others are put."""
    return next((name for name in BASES if name in by_contender), None)


def heads(measures: list[Measure], units: list[str]) -> Iterator[str]:
    """The heads of the columns, with what tells two of them apart."""
    groups = {measure.group for measure in measures}
    for measure in measures:
        framework = (
            f"{measure.framework}, " if isinstance(measure, View) and len(groups) > 1 else ""
        )
        yield f"{framework}{measure.title}" + (f" ({measure.unit})" if len(units) > 1 else "")


def cell(measure: Measure, contender: str, found: Found, key: str) -> str:
    """The median and, in brackets, the ratio."""
    by_contender = found[measure.name]
    if contender not in by_contender:
        return ""
    figure = spread(values(by_contender[contender], key))
    if figure is None:
        return "failed"
    base = base_of(by_contender)
    theirs = by_contender[base] if base not in (None, contender) else []
    times = spread(ratios(by_contender[contender], theirs, key))
    brackets = f" ({times.median:.2f})" if times is not None else ""
    return number(figure.median, UNITS.get(key, measure.unit)) + brackets


def number(value: float, unit: str) -> str:
    """As many digits as mean something."""
    if unit == PER_SECOND or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
