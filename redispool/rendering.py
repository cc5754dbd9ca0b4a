"""Rendering: a report once or again and again, as a table for people or as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from .errors import InvalidOption
from .factory import PoolFactory
from .reports import REPORTS, Report
from .tables import complaints, console_for, drawing

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FORMATS", "run"]

FORMATS = ("table", "json")
EVERY = 1.0
"""Seconds from one picture to the next, where it is watched."""


class Output(Protocol):
    """Where a report is written."""

    def write(self, text: str, /) -> Any:
        """Write `text`."""

    def flush(self) -> None:
        """Let it be seen."""

    def isatty(self) -> bool:
        """Whether people read it."""


def run(
    what: str,
    factory: PoolFactory,
    out: Output,
    *,
    alias: str | None = None,
    form: str = "table",
    watch: bool = False,
) -> list[str]:
    """Write the report `what` to `out`.

    Args:
        what: a key of `REPORTS`.
        factory: the pools to report on.
        out: where to write.
        alias: the only alias to report on; all where it is not given.
        form: one of `FORMATS`.
        watch: whether to write it again each second, until Ctrl-C; on a terminal in one place.

    Returns:
        What went wrong, a line each; empty where all is well, and where it was watched.
    """
    if alias is not None and alias not in factory.options:
        return [f"{alias!r} is no alias of REDISPOOL; defined are: {', '.join(factory.aliases)}"]
    # Without a handler Python prints warnings: what a report says would be said twice.
    logging.getLogger("redispool").addHandler(logging.NullHandler())
    aliases = factory.aliases if alias is None else [alias]

    def make() -> Report:
        return REPORTS[what](factory, aliases)

    try:
        if form == "json":
            return _watch_json(make, out) if watch else _write_json(make(), out, indent=2)
        console = console_for(out)
        return _watch(what, make, console) if watch else _write(what, make(), console)
    except InvalidOption as error:
        return [str(error)]
    except BrokenPipeError:
        _nobody_reads()
    except ImportError:
        return ["tables need rich: pip install rich, or use --format json"]


def _write_json(report: Report, out: Output, indent: int | None = None) -> list[str]:
    """Write ``{"title", "rows", "note", "errors"}``; gives the errors."""
    out.write(json.dumps(dataclasses.asdict(report), indent=indent, default=str) + "\n")
    out.flush()
    return report.errors


def _write(what: str, report: Report, console: Console) -> list[str]:
    console.print(drawing(what, report, console))
    return report.errors


def _watch_json(make: Callable[[], Report], out: Output) -> list[str]:
    """A line for each moment."""
    return _again_and_again(lambda: _write_json(make(), out))


def _watch(what: str, make: Callable[[], Report], console: Console) -> list[str]:
    from rich.console import Group
    from rich.live import Live

    def picture() -> Group:
        report = make()
        said: Iterable[Any] = [complaints(report.errors)] if report.errors else []
        return Group(drawing(what, report, console), *said)

    if not console.is_terminal:
        return _again_and_again(lambda: console.print(picture(), end="\n"))
    # The output may be a program's own: nothing else is to be caught.
    live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with live:
        return _again_and_again(lambda: live.update(picture(), refresh=True))


def _again_and_again(draw: Callable[[], object]) -> list[str]:
    """Draw each second until Ctrl-C."""
    try:
        while True:
            draw()
            time.sleep(EVERY)
    except KeyboardInterrupt:
        return []


def _nobody_reads() -> NoReturn:
    """End as rich ends where ``| head`` has gone: without a complaint about the rest."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(1)
