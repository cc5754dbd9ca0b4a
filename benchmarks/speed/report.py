"""The report: tables of medians, ratios and goals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .figures import Found, Rounds, ratios, spread, values
from .suite import COUNT, PER_SECOND, Beside, Measure, Suite


@dataclass(frozen=True)
class Grid:
    """A table that is not drawn yet; `note` says how to read it."""

    title: str
    note: str
    head: list[str]
    rows: list[list[str]]


def grids(suite: Suite, found: Found) -> Iterator[Grid]:
    """The goals, a table for each group of measures, and what stands beside them."""
    yield goals_grid(suite, found)
    measured = [measure for name, measure in suite.measures.items() if found.get(name)]
    for group in dict.fromkeys(measure.group for measure in measured):
        yield grid(suite, group, [one for one in measured if one.group == group], found)
    for beside in suite.besides:
        columns = [one for one in measured if one.name in beside.measures]
        if columns:
            yield grid(suite, beside.title, columns, found, beside)


def goals_grid(suite: Suite, found: Found) -> Grid:
    """Which goals were met; those whose measure was not asked for are left out."""
    head = ["goal", "wanted", "measured", "middle half of the rounds", ""]
    rows = []
    for goal in suite.goals:
        if goal.measure in found:
            figure = goal.found(found)
            middle = f"{figure.low:.2f} to {figure.high:.2f}" if figure else ""
            median = f"{figure.median:.2f}" if figure else ""
            rows.append([goal.title, goal.wanted, median, middle, goal.verdict(found)])
    return Grid("Goals", "The median of the rounds counts.", head, rows)


def grid(
    suite: Suite, title: str, measures: list[Measure], found: Found, beside: Beside | None = None
) -> Grid:
    """A row for each contender, a column for each measure."""
    names = [
        name for name in suite.rows(measures) if any(name in found[one.name] for one in measures)
    ]
    columns = [Column(suite, one, found[one.name], beside) for one in measures]
    units = list(dict.fromkeys(column.unit for column in columns))
    rows = [[name, *(column.cell(name) for column in columns)] for name in names]
    bases = dict.fromkeys(column.base for column in columns if column.base)
    note = "Medians" + (f", in {units[0]}" if len(units) == 1 and units != [COUNT] else "")
    note += f"; in brackets × {', or where it has no figure × '.join(bases)}" if bases else ""
    return Grid(title, f"{note}.", ["", *heads(measures, units)], rows)


def heads(measures: list[Measure], units: list[str]) -> Iterator[str]:
    """The heads of the columns, with what tells two of them apart."""
    several = len({measure.group for measure in measures}) > 1
    for measure in measures:
        title = measure.full_title if several else measure.title
        yield title + (f" ({measure.unit})" if len(units) > 1 else "")


class Column:
    """One figure of one measure, of all who took part."""

    def __init__(
        self, suite: Suite, measure: Measure, found: dict[str, Rounds], beside: Beside | None
    ) -> None:
        self.unit = beside.unit if beside else measure.unit
        self._key = beside.key if beside else "value"
        self._found = found
        self.base = next((name for name in suite.bases if name in found), None)
        """Beside whom the others are put; nobody where failures and the like are counted."""
        if self.unit == COUNT:
            self.base = None

    def cell(self, contender: str) -> str:
        """The median and, in brackets, the ratio."""
        if contender not in self._found:
            return ""
        mine = self._found[contender]
        figure = spread(values(mine, self._key))
        if figure is None:
            return "failed"
        theirs = self._found[self.base] if self.base not in (None, contender) else []
        times = spread(ratios(mine, theirs, self._key))
        return number(figure.median, self.unit) + (f" ({times.median:.2f})" if times else "")


def number(value: float, unit: str) -> str:
    """As many digits as mean something."""
    if unit in (PER_SECOND, COUNT) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
