"""Figures: medians over the rounds, and ratios within each round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Rounds: TypeAlias = list[dict[str, float] | None]
"""The figure of each round, of one contender; None where it failed."""

Found: TypeAlias = dict[str, dict[str, Rounds]]
"""Measure → contender → rounds."""


@dataclass(frozen=True)
class Summary:
    """What stands in a cell.

    Args:
        value: the median, in the unit of the measure.
        cpu: the median of microseconds of CPU a call.
        low: the lowest value of a round; high: the highest.
    """

    value: float
    cpu: float | None
    low: float
    high: float


def summary(rounds: Rounds) -> Summary | None:
    """The medians of the rounds that did not fail; None where all did."""
    values = column(rounds, "value")
    if not values:
        return None
    cpus = column(rounds, "cpu")
    median = statistics.median
    return Summary(median(values), median(cpus) if cpus else None, min(values), max(values))


def column(rounds: Rounds, key: str) -> list[float]:
    """One figure of all rounds that have it."""
    return [figure[key] for figure in rounds if figure is not None and key in figure]


def ratio(ours: Rounds | None, theirs: Rounds | None, key: str = "value") -> float | None:
    """The median of the ratios of each round: what slows a whole round down is not in it."""
    ratios = [
        mine[key] / other[key]
        for mine, other in zip(ours or (), theirs or (), strict=False)
        if mine and other and mine.get(key) and other.get(key)
    ]
    return statistics.median(ratios) if ratios else None


def base_of(by_contender: dict[str, Any], order: Sequence[str]) -> str | None:
    """Beside whom the others are shown: the first of `order` that was measured."""
    return next((name for name in order if name in by_contender), None)
