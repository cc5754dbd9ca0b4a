"""Columns: what people see of a report; programs get all of it as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .reports import Row
from .reports.report import seconds


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    heading: str
    shown: Callable[[Row], Any]
    right: bool = False
    """Whether it is aligned as numbers are; columns of nothing but numbers always are."""
    spare: int = 0
    """Where there is no room: which columns are left out first, from 1 on; 0 for none."""
    folds: int = 0
    """The width down to which its values are folded before anything is left out; 0 for never."""


def columns_of(what: str, rows: Sequence[Row]) -> Sequence[Column]:
    """The columns of the report `what`; all that its rows have, where no others are chosen."""
    return COLUMNS.get(what) or [_plain(name) for name in rows[0]]


def _plain(name: str, heading: str | None = None, *, spare: int = 0) -> Column:
    return Column(heading or name.replace("_", " "), lambda row: row[name], spare=spare)


def _time(name: str, heading: str) -> Column:
    return Column(heading, lambda row: seconds(row[name]) if row[name] else None, right=True)


def _place(row: Row) -> str | None:
    return row["holders"][0]["place"] if row["holders"] else None


def _answer(row: Row) -> str:
    return f"{row['milliseconds']:.3f} ms" if row["answers"] else "no"


def _from(row: Row) -> str:
    return f"URL of {row['setting']}" if row["origin"] == "url" else row["setting"] or "default"


# Short headings: for a terminal of 80 columns.
COLUMNS: Mapping[str, Sequence[Column]] = {
    "stats": [
        _plain("process"),
        _plain("alias"),
        _plain("face", spare=2),
        _plain("server", spare=1),
        _plain("in_use", "in\nuse"),
        _plain("idle"),
        _plain("max_connections", "max"),
        _plain("waiting"),
        _time("wait_seconds_p95", "p95\nwait"),
        _plain("timeouts_total", "timeouts"),
        _plain("failed_total", "errors"),
        _time("oldest_lease_seconds", "oldest\nlease"),
        Column("taken at", _place, spare=3, folds=30),
    ],
    "ping": [
        _plain("alias"),
        _plain("server"),
        Column("answers", _answer, right=True),
        _plain("version"),
        _plain("role"),
        Column("named by", lambda row: row["setting"] or "default", folds=14),
    ],
    "config": [
        _plain("alias"),
        _plain("option"),
        Column("value", lambda row: row["value"], folds=20),
        Column("from", _from, folds=20),
    ],
    "clients": [
        _plain("server"),
        _plain("alias"),
        _plain("host"),
        _plain("process"),
        _plain("this_command", "own"),
        _plain("connections", "open"),
        _plain("idle_seconds", "idle s"),
        _plain("last_command", "last"),
    ],
    "budget": [
        _plain("server"),
        _plain("maxclients", "allows"),
        _plain("connected", "now", spare=1),
        _plain("processes", spare=2),
        _plain("connections", "pools"),
        _plain("subscriptions", "pub/sub"),
        _plain("others"),
        _plain("most", "at most"),
        _plain("verdict"),
    ],
}
