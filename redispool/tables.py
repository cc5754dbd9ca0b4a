"""Tables: a report as people see it, drawn by rich, which is there with the adapters' extras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from .columns import Column, columns_of
from .reports import Report, Row

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

WIDE = 100_000
"""Columns of a line where the output is no terminal: nothing is folded in a file or a pipe."""


def console_for(out: Any) -> Console:
    """What draws on `out`.

    Raises:
        ImportError: rich is not installed.
    """
    from rich.console import Console

    width = None if out.isatty() else WIDE
    file = cast(Any, out)
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)


def drawing(what: str, report: Report, console: Console) -> RenderableType:
    """The report `what`, as wide as `console` is."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    if report.rows:
        parts.append(Text(report.title, style="bold"))
        draw = _sentences if what == "doctor" else _rows
        parts += draw(what, report.rows, console)
    if report.note:
        parts.append(Text(report.note))
    return Group(*parts)


def complaints(errors: Sequence[str]) -> RenderableType:
    """What is wrong, for a picture that is watched."""
    from rich.text import Text

    return Text("\n".join(errors), style="red")


def _rows(what: str, rows: Sequence[Row], console: Console) -> Iterator[RenderableType]:
    columns = columns_of(what, rows)
    left_out = sorted((column for column in columns if column.spare), key=lambda c: c.spare)
    for number in range(len(left_out) + 1):
        without = left_out[:number]
        kept = [column for column in columns if column not in without]
        table = _table(rows, kept)
        if _least_width(table, rows, kept, console) <= console.width:
            yield table
            if without:
                names = ", ".join(_heading(column) for column in without)
                yield _dim(f"No room for: {names}. A wider terminal or --format json has them.")
            return
    yield _one_below_the_other(rows, columns)


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        right = column.right or all(_is_number(column.shown(row)) for row in rows)
        table.add_column(
            column.heading,
            justify="right" if right else "left",
            no_wrap=not column.folds,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_cell(column.shown(row)) for column in columns))
    return table


def _least_width(
    table: Table, rows: Sequence[Row], columns: Sequence[Column], console: Console
) -> int:
    """How wide the table is with all folded that may be folded."""
    unbounded = console.options.update(max_width=WIDE)
    whole = console.measure(table, options=unbounded).maximum
    widest = (
        max(len(_cell(column.shown(row))) - column.folds for row in rows)
        for column in columns
        if column.folds
    )
    return whole - sum(max(spared, 0) for spared in widest)


def _one_below_the_other(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """For a terminal that is too narrow for the table: each value in a line of its own, whole."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        for column in columns:
            grid.add_row(_heading(column), _cell(column.shown(row)))
        grid.add_row()
    return grid


def _sentences(what: str, rows: Sequence[Row], console: Console) -> Iterator[RenderableType]:
    """What the doctor finds, each beginning with how bad it is."""
    from rich.text import Text

    for row in rows:
        style = "bold red" if row["level"] == "wrong" else "bold"
        said = " ".join(filter(None, (row["says"], row["change"])))
        yield Text.assemble((f"{row['level']}: ", style), said)


def _dim(text: str) -> RenderableType:
    from rich.text import Text

    return Text(text, style="dim")


def _heading(column: Column) -> str:
    return column.heading.replace("\n", " ")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    """One value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
