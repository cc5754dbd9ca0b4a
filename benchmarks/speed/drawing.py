"""Drawing: the tables of a report on a terminal and in a Markdown page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .report import Grid, grids

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Between them a page has its figures."""


def show(report: dict[str, Any]) -> None:
    """Print it."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for grid in grids(report["measures"]):
        table = Table(title=grid.title, caption=grid.note, title_justify="left")
        for position, head in enumerate(grid.head):
            table.add_column(head, justify="right" if position else "left")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    console.print(about(report))


def write(report: dict[str, Any], page: Path) -> None:
    """Put the tables, and the plot that lies beside `page`, between its marks."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    drawn = page.with_suffix(".svg")
    image = f"![The figures that matter most]({drawn.name})\n\n" if drawn.exists() else ""
    text = f"{before}{BEGIN}\n{image}{markdown(report)}\n{END}{after}"
    page.write_text(text, encoding="utf-8")


def no_place(page: Path) -> str | None:
    """What is wrong with `page`, to be said before the run; None where it has its marks."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if text.count(BEGIN) == text.count(END) == 1 and text.index(BEGIN) < text.index(END):
        return None
    return f"{page} needs two lines for the figures: {BEGIN} and {END}"


def markdown(report: dict[str, Any]) -> str:
    """All tables, and what they are of."""
    tables = [markdown_table(grid) for grid in grids(report["measures"])]
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
