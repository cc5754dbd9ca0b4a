"""Rendering: a report as a table for people, or as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from .errors import InvalidOption
from .factory import PoolFactory
from .reports import REPORTS, Report, Row

__all__ = ["FORMATS", "run"]

FORMATS = ("table", "json")

# Short headings for a terminal of 80 columns. The table of `stats` shows what matters at a glance;
# JSON has every field.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "stats": {
        "alias": "alias",
        "in_use": "in use",
        "idle": "idle",
        "max_connections": "max",
        "waiting": "waiting",
        "acquired_total": "acquired",
        "timeouts_total": "timeouts",
        "failed_total": "failed",
        "reclaimed_total": "reclaimed",
    },
    "clients": {
        "server": "server",
        "alias": "alias",
        "host": "host",
        "process": "process",
        "this_command": "own",
        "connections": "open",
        "idle_seconds": "idle s",
        "last_command": "last",
    },
}
WIDE = 100_000
"""Columns of a line where the output is no terminal: nothing is folded in a file or a pipe."""


class Output(Protocol):
    """Where a report is written."""

    def write(self, text: str, /) -> Any:
        """Write `text`."""

    def isatty(self) -> bool:
        """Whether people read it."""


def run(
    what: str, factory: PoolFactory, out: Output, *, alias: str | None = None, form: str = "table"
) -> list[str]:
    """Write the report `what` to `out`.

    Args:
        what: a key of `REPORTS`.
        factory: the pools to report on.
        out: where to write.
        alias: the only alias to report on; all where it is not given.
        form: one of `FORMATS`.

    Returns:
        What went wrong, a line each; empty where all is well.
    """
    if alias is not None and alias not in factory.options:
        return [f"{alias!r} is no alias of REDISPOOL; defined are: {', '.join(factory.aliases)}"]
    # Without a handler Python prints warnings: what a report says would be said twice.
    logging.getLogger("redispool").addHandler(logging.NullHandler())
    try:
        report = REPORTS[what](factory, factory.aliases if alias is None else [alias])
    except InvalidOption as error:
        return [str(error)]
    if form == "json":
        write_json(report, out)
        return report.errors
    return write_table(report, COLUMNS.get(what), out) or report.errors


def write_json(report: Report, out: Output) -> None:
    """Write ``{"title", "rows", "note", "errors"}``."""
    out.write(json.dumps(dataclasses.asdict(report), indent=2, default=str) + "\n")


def write_table(report: Report, columns: Mapping[str, str] | None, out: Output) -> list[str]:
    """Write a table of `columns` (name → heading; all where not given), and the note.

    Returns:
        What to say where the library that draws tables is not installed.
    """
    try:
        from rich.console import Console
    except ImportError:
        return ["tables need rich: pip install rich, or use --format json"]
    width = None if out.isatty() else WIDE
    console = Console(file=cast(Any, out), width=width, markup=False, emoji=False, highlight=False)
    if report.rows:
        names = columns or {name: name.replace("_", " ") for name in report.rows[0]}
        table = _table(report.rows, names)
        unbounded = console.options.update(max_width=WIDE)
        fits = console.measure(table, options=unbounded).maximum <= console.width
        console.print(report.title, style="bold", soft_wrap=True)
        console.print(table if fits else _one_below_the_other(report.rows, names))
    if report.note:
        console.print(report.note, soft_wrap=True)
    return []


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name, heading in columns.items():
        numeric = all(_is_number(row[name]) for row in rows)
        table.add_column(heading, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns))
    return table


def _one_below_the_other(rows: Sequence[Row], columns: Mapping[str, str]) -> Any:
    """For a terminal that is too narrow for the table: each value in a line of its own, whole."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        for name, heading in columns.items():
            grid.add_row(heading, _cell(row[name]))
        grid.add_row()
    return grid


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    """One value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
