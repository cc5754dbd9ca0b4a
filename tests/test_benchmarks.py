from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability.__main__ import broken
from benchmarks.reliability.measures import Figures
from benchmarks.speed import drawing, figures
from benchmarks.speed.subject import SUITE

ROOT = Path(__file__).parents[1]
CONTENDERS = ["bare socket", "redis-py", "redispool"]


def test_the_speed_of_a_few_measures(tmp_path: Path) -> None:
    """The command measures what it is asked for, prints its tables and writes them as JSON."""
    file = tmp_path / "figures.json"
    command = ["--quick", "--only", "get-10B", "checkout", "--contenders", *CONTENDERS]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed", *command, "--json", str(file)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "GET, one thread" in done.stdout
    measures = json.loads(file.read_text(encoding="utf-8"))["measures"]
    assert list(measures["get-10B"]) == CONTENDERS
    assert list(measures["checkout"]) == CONTENDERS[1:]
    assert all(len(rounds) == 2 and all(rounds) for rounds in measures["get-10B"].values())


def test_ratios_are_of_one_round() -> None:
    """A round that was slow for both changes no ratio; one in which somebody failed has none."""
    theirs: figures.Rounds = [{"value": 2.0}, {"value": 20.0}, None, {"value": 4.0}]
    ours: figures.Rounds = [{"value": 1.0}, {"value": 10.0}, {"value": 1.0}, None]

    assert figures.ratios(ours, theirs) == [0.5, 0.5]


def test_the_page_changes_between_the_marks_only(tmp_path: Path) -> None:
    """The figures are replaced, and what people wrote around them stays."""
    report = {
        "command": "python -m benchmarks.speed",
        "rounds": 1,
        "seconds": 0.1,
        "machine": {"processor": "one", "cores": "2", "system": "Linux", "load before": "0.00"},
        "versions": {"Python": "3.11"},
        "measures": {"get-10B": {"bare socket": [{"value": 20.0, "cpu": 9.0}]}},
    }
    page = tmp_path / "page.md"
    page.write_text(f"before\n{SUITE.begin()}\nold\n{SUITE.end()}\nafter\n", encoding="utf-8")

    drawing.write(SUITE, report, page)

    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{SUITE.begin()}\n")
    assert text.endswith(f"{SUITE.end()}\nafter\n")
    assert "| bare socket | 20.0 |" in text
    assert "old" not in text


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    """Before anything is measured it is said what the page has to have."""
    page = tmp_path / "page.md"
    page.write_text("figures\n", encoding="utf-8")

    assert SUITE.begin() in str(drawing.no_place(SUITE, page))


def test_the_page_of_the_documentation_has_a_place_for_the_figures() -> None:
    """`--write docs/performance.md` finds its marks."""
    assert drawing.no_place(SUITE, ROOT / "docs" / "performance.md") is None


@pytest.mark.parametrize(
    "figures",
    [
        {"wrong replies": 1},
        {"lost slots": 1},
        {"lent to two at once": 1},
        {"of another pool lent": 1},
        {"children that hang or fail": 1},
        {"outcome": "hangs"},
    ],
    ids=str,
)
def test_a_broken_promise_of_ours_fails_the_measures(figures: Figures) -> None:
    """What has no grey between kept and broken counts for redispool, and for nobody else."""
    kept: Figures = {"errors": 7, "wrong replies": 0}

    assert broken({"one": {"redispool": figures, "ConnectionPool": kept}}, None)
    assert not broken({"one": {"redispool": kept, "ConnectionPool": figures}}, None)
    assert broken({}, {"kept": False})
