"""The report `config`: the options in force and where they come from, secrets masked."""

from __future__ import annotations

from collections.abc import Iterable

from ..factory import PoolFactory
from ..origins import origin
from .report import Report


def config(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """One row for each option of each alias. No server is asked."""
    rows = []
    for alias in aliases:
        options = factory.options[alias]
        for name, value in options.masked().items():
            kind, key = origin(options, name)
            row = {"alias": alias, "option": name.upper(), "value": value}
            rows.append({**row, "origin": kind, "setting": key})
    return Report("Options in force", rows)
