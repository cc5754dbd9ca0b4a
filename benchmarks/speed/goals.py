"""Goals: what redispool is to reach, judged by the ratios of one run."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .contenders import FLOOR, OURS, PACKING, REDIS_PY
from .figures import Found, Spread, ratios, spread, values
from .measures import MEASURES
from .views import patterns

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
    """

    title: str
    measure: str
    than: str
    relation: Literal["≤", "≥", ">"]
    bound: float
    ours: str = OURS

    def found(self, found: Found) -> Spread | None:
        """The figure, as far as it was measured."""
        by_contender = found.get(self.measure, {})
        mine = by_contender.get(self.ours, [])
        figures = ratios(mine, by_contender.get(self.than, [])) if self.than else values(mine)
        return spread(figures)

    def verdict(self, found: Found) -> str:
        """``met``, ``missed`` or ``not measured``."""
        figure = self.found(found)
        if figure is None:
            return "not measured"
        return "met" if HOLDS[self.relation](figure.median, self.bound) else "missed"

    @property
    def wanted(self) -> str:
        """The goal in words."""
        return f"{self.relation} {self.bound:g}" + (f" × {self.than}" if self.than else " µs")


def all_goals() -> Iterator[Goal]:
    """In the order of the tables."""
    yield Goal("GET, one thread", "get-10B", FLOOR, "≤", 1.10)
    for count in (4, 16, 64):
        yield Goal(f"GET/s, {count} threads", f"threads-{count}", FLOOR, "≥", 0.75)
        yield Goal(f"GET/s, {count} threads", f"threads-{count}", REDIS_PY, "≥", 5)
    # Packed ahead or not: "a bare-socket pipeline" can be read both ways.
    yield Goal("pipeline of 100 GET", "pipeline-100", FLOOR, "≤", 1.15)
    yield Goal("pipeline of 100 GET", "pipeline-100", PACKING, "≤", 1.15)
    yield Goal("execute() of a pipeline of 100 GET", "execute-100", PACKING, "≤", 1.15)
    yield Goal("pipeline of 100 GET", "pipeline-100", REDIS_PY, "≤", 1)
    yield Goal("connect to first reply", "connect", REDIS_PY, "≤", 0.5)
    yield Goal("checkout and return", "checkout", "", "≤", 1)
    yield Goal("client for a request: factory.client()", "client", "", "≤", 1)
    for name in ("redispool, new client", "redispool in Flask", "redispool in Django"):
        yield Goal(f"client for a request: {name}", "client", "", "≤", 1, ours=name)
    for framework in ("flask", "django"):
        for threads in (1, 4, 16):
            name = f"{framework}-{threads}"
            title = f"{framework.capitalize()} view, {MEASURES[name].title}"
            if threads > 1:
                yield Goal(title, name, patterns.GLOBAL, "≥", 1.2)
            yield Goal(title, name, patterns.ANEW, ">", 1)


GOALS = tuple(all_goals())
