"""Goals: what redispool is to reach, judged by the ratios of one run."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal

from .figures import Found, Spread, ratios, spread, values
from .suite import MICROSECONDS

HOLDS = {"≤": operator.le, "≥": operator.ge, ">": operator.gt}


@dataclass(frozen=True)
class Goal:
    """A bound of a figure.

    Args:
        title: what it is about.
        measure: the name of the measure.
        than: the contender beside whom ours is put; where it is empty, the figure itself counts.
        relation: of the figure to the bound.
        bound: a ratio, or in the unit of the measure.
        ours: who has to reach it.
        key: of the figure.
        unit: where the figure itself counts.
        beside: the measure of the contender beside whom ours is put, where it is another one.
    """

    title: str
    measure: str
    than: str
    relation: Literal["≤", "≥", ">"]
    bound: float
    ours: str = "redispool"
    key: str = "value"
    unit: str = MICROSECONDS
    beside: str = ""

    def found(self, found: Found) -> Spread | None:
        """The figure, as far as it was measured."""
        by_contender = found.get(self.measure, {})
        mine = by_contender.get(self.ours, [])
        if not self.than:
            return spread(values(mine, self.key))
        theirs = found.get(self.beside or self.measure, {}).get(self.than, [])
        return spread(ratios(mine, theirs, self.key))

    def verdict(self, found: Found) -> str:
        """``met``, ``missed`` or ``not measured``."""
        figure = self.found(found)
        if figure is None:
            return "not measured"
        return "met" if HOLDS[self.relation](figure.median, self.bound) else "missed"

    @property
    def wanted(self) -> str:
        """The goal in words."""
        unit = " ".join(filter(None, ("×", self.than, self.beside))) if self.than else self.unit
        return f"{self.relation} {self.bound:g} {unit}"
