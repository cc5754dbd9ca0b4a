"""Report: one answer of the commands, before anyone draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..factory import PoolFactory

HELP = (
    "Show the Redis pools: stats (those of all running processes of the application), ping (each "
    "server), config (the options in force and where they come from, secrets masked), clients "
    "(the connections of all hosts, from CLIENT LIST), budget (what the processes may open against "
    "what the server allows) or doctor (what is wrong, and which setting to change). Ends with 1 "
    "where a server is away, a budget is exceeded or the doctor finds something wrong."
)

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """One answer: rows of the same columns, a note in words, and what is wrong, a line each."""

    title: str
    rows: list[Row]
    note: str = ""
    errors: list[str] = field(default_factory=list)


Writer: TypeAlias = Callable[[PoolFactory, Iterable[str]], Report]
"""Makes a report on some aliases."""


def count(number: int, thing: str, things: str | None = None) -> str:
    """The number with its noun."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def seconds(time: float) -> str:
    """A time as people read it."""
    if time >= 120:
        return f"{time / 60:.0f} min" if time < 7200 else f"{time / 3600:.1f} h"
    if time >= 0.1 or time == 0:
        return f"{time:.1f} s" if time else "0 s"
    return f"{time * 1000:.1f} ms"
