"""Figures: medians over the rounds, and ratios within each round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

Rounds: TypeAlias = list[dict[str, float] | None]
"""The figures of a contender, round by round; None where it failed."""

Found: TypeAlias = dict[str, dict[str, Rounds]]
"""Measure → contender → rounds."""


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles below and above it."""

    median: float
    low: float
    high: float


def together(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    """The figures of a round: the medians of its turns."""
    return {key: statistics.median([turn[key] for turn in turns]) for key in turns[0]}


def values(rounds: Rounds, key: str = "value") -> list[float]:
    """One figure, of all rounds that have it."""
    return [figures[key] for figures in rounds if figures and key in figures]


def ratios(ours: Rounds, theirs: Rounds, key: str = "value") -> list[float]:
    """Of each round: what slowed all contenders down for a while is not in them."""
    return [
        mine[key] / other[key]
        for mine, other in zip(ours, theirs, strict=False)
        if mine and other and key in mine and other.get(key)
    ]


def spread(figures: Sequence[float]) -> Spread | None:
    """What is in the middle of `figures`; None where there are none."""
    if not figures:
        return None
    if len(figures) == 1:
        return Spread(figures[0], figures[0], figures[0])
    low, median, high = statistics.quantiles(figures, n=4, method="inclusive")
    return Spread(median, low, high)
