"""Drawing: the tables of a report on a terminal and in a Markdown page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .report import Grid, grids
from .suite import Suite


def show(suite: Suite, report: dict[str, Any]) -> None:
    """Print it."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for grid in grids(suite, report["measures"]):
        table = Table(title=grid.title, caption=grid.note, title_justify="left")
        for position, head in enumerate(grid.head):
            table.add_column(head, justify="right" if position else "left")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    console.print(about(report))


def write(suite: Suite, report: dict[str, Any], page: Path, plot: Path | None = None) -> None:
    """Put the tables between the marks of `page`, and before them `plot`, which lies beside it."""
    before, rest = page.read_text(encoding="utf-8").split(suite.begin())
    after = rest.split(suite.end())[1]
    image = f"![The figures that matter most]({plot.name})\n\n" if plot and plot.exists() else ""
    text = f"{before}{suite.begin()}\n{image}{markdown(suite, report)}\n{suite.end()}{after}"
    page.write_text(text, encoding="utf-8")


def no_place(suite: Suite, page: Path) -> str | None:
    """What is wrong with `page`, to be said before the run; None where it has its marks."""
    begin, end = suite.begin(), suite.end()
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if text.count(begin) == text.count(end) == 1 and text.index(begin) < text.index(end):
        return None
    return f"{page} needs two lines for the figures: {begin} and {end}"


def markdown(suite: Suite, report: dict[str, Any]) -> str:
    """All tables, and what they are of."""
    tables = [markdown_table(grid) for grid in grids(suite, report["measures"])]
    return "\n\n".join([about(report), *tables])


def markdown_table(grid: Grid) -> str:
    """One table under its title."""
    rules = ["---", *["---:"] * (len(grid.head) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (grid.head, rules, *grid.rows)]
    return "\n".join([f"### {grid.title}", "", grid.note, "", *lines])


def about(report: dict[str, Any]) -> str:
    """The command, the machine and the versions, in sentences."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"`{report['command']}`: rounds: {report['rounds']}, seconds in each: {report['seconds']}. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; "
        f"load before the run {machine['load before']}. {versions}."
    )
