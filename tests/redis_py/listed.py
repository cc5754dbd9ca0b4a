"""The list of what redis-py's tests find different, as it stands in ``differences.toml``."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("differences.toml")


@dataclass(frozen=True)
class Group:
    """Tests that fail for one reason.

    Args:
        title: the reason in a few words; the heading in the docs.
        reason: the reason in full, as in the docs.
        tests: their ids, or the beginnings of them: a class, a test with all its parameters.
        lacking: they lack something here, and fail with redis-py's own classes as well.
    """

    title: str
    reason: str
    tests: tuple[str, ...]
    lacking: bool = False

    def names(self, test: str) -> bool:
        """Whether `test` is in the group."""
        return any(fits(each, test) for each in self.tests)


def fits(entry: str, test: str) -> bool:
    """Whether `entry` means `test`: itself, its class, or the test without its parameters."""
    return test == entry or test.startswith((f"{entry}[", f"{entry}::"))


@functools.cache
def read() -> dict[str, Any]:
    """The whole list."""
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


@functools.cache
def groups() -> list[Group]:
    """The groups of tests that fail."""
    return [Group(**{**entry, "tests": tuple(entry["tests"])}) for entry in read()["group"]]


def files_left_out() -> dict[str, str]:
    """The files, and folders, that are not run, with the reason of each."""
    return {name: entry["reason"] for entry in read()["left_out"] for name in entry["files"]}
