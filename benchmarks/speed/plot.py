"""The plot: the figures that matter most, as SVG."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS, FLOOR, OURS, PACKING, REDIS_PY
from .figures import Found, ratios, spread, values
from .views.patterns import ANEW, GLOBAL, PATTERNS

COLOURS = {
    OURS: "#d7263d",
    FLOOR: "#1b1b1e",
    REDIS_PY: "#2e86ab",
    GLOBAL: "#2e86ab",
    ANEW: "#9cc5d8",
}
OTHERS = "#b8b8b8"


def drawable() -> bool:
    """Whether there is what draws."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw `report` into the file at `path`."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    # The same figures give the same file, and text stays text.
    settings = {"svg.hashsalt": "redispool", "svg.fonttype": "none", "font.size": 9}
    with plt.rc_context(settings):
        figure, ((get, threads), (pipeline, views)) = plt.subplots(2, 2, figsize=(10, 7.5))
        found: Found = report["measures"]
        bars(get, found, "get-10B", "GET, one thread: time × bare socket")
        lines(threads, found)
        bars(pipeline, found, "pipeline-100", "pipeline of 100 GET: time × bare socket")
        requests(views, found)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def bars(axes: Any, found: Found, measure: str, title: str) -> None:
    """A bar for each contender: the ratio of one measure."""
    by_contender = found.get(measure, {})
    names = [name for name in CONTENDERS if name in by_contender and name != PACKING]
    points = {
        name: times.median
        for name in names
        if (times := spread(ratios(by_contender[name], by_contender.get(FLOOR, []))))
    }
    drawn = axes.barh(list(points), list(points.values()), color=[colour(name) for name in points])
    axes.bar_label(drawn, fmt="%.2f", padding=2)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    finish(axes, title)


def lines(axes: Any, found: Found) -> None:
    """A line for each contender: GETs a second by the number of threads."""
    counts = [count for count in (1, 4, 16, 64) if f"threads-{count}" in found]
    for name in CONTENDERS:
        points = [
            (count, middle.median)
            for count in counts
            if (middle := spread(values(found[f"threads-{count}"].get(name, []))))
        ]
        if points:
            known = name in COLOURS
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                color=colour(name),
                label=name if known else None,
                linewidth=2 if known else 1,
                zorder=2 if known else 1,
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xlabel("threads (grey: the other clients)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    finish(axes, "GET/s")


def requests(axes: Any, found: Found) -> None:
    """Groups of bars: requests a second of the views."""
    names = [f"{kind}-{count}" for kind in ("flask", "django") for count in (1, 4, 16)]
    measures = [name for name in names if name in found]
    patterns = PATTERNS[1:]
    width = 0.8 / len(patterns)
    for position, pattern in enumerate(patterns):
        points = [spread(values(found[name].get(pattern, []))) for name in measures]
        axes.bar(
            [place + (position - 1) * width for place in range(len(measures))],
            [point.median if point else 0.0 for point in points],
            width,
            color=colour(pattern),
            label=pattern,
        )
    axes.set_xticks(range(len(measures)), [name.replace("-", "\n") for name in measures])
    axes.margins(y=0.25)
    axes.legend(frameon=False)
    finish(axes, "A view with five commands: requests/s, by threads")


def colour(name: str) -> str:
    """Grey, where it is not one of those that the page speaks of."""
    return COLOURS.get(name, OTHERS)


def finish(axes: Any, title: str) -> None:
    """What all four have in common."""
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
