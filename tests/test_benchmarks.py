from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.aio import subject as aio
from benchmarks.aio.views import patterns
from benchmarks.reliability.__main__ import broken
from benchmarks.reliability.measures import Figures
from benchmarks.speed import drawing, figures, web
from benchmarks.speed.bursts import burst
from benchmarks.speed.goals import Goal
from benchmarks.speed.subject import SUITE
from benchmarks.speed.suite import Suite
from redispool.testing import Server

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


def test_the_speed_of_a_few_measures_for_asyncio(tmp_path: Path) -> None:
    """Contenders are timed on loops of both kinds that live long, and on loops that end at once."""
    file = tmp_path / "figures.json"
    only = ["asyncio-1-get", "uvloop-50-get", "short-async-to-sync"]
    contenders = ["Protocol", "redis.asyncio", "redispool"]
    command = ["--quick", "--only", *only, "--contenders", *contenders]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.aio", *command, "--json", str(file)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "GET, one task, asyncio" in done.stdout
    measures = json.loads(file.read_text(encoding="utf-8"))["measures"]
    assert list(measures["asyncio-1-get"]) == list(measures["uvloop-50-get"]) == contenders
    assert list(measures["short-async-to-sync"]) == contenders[1:]
    rounds = [each for found in measures.values() for each in found.values()]
    assert all(len(each) == 2 and all(each) for each in rounds)


@pytest.mark.parametrize("name", aio.BURSTS)
def test_a_burst_counts_the_connections_that_are_made(name: str) -> None:
    """A pool per loop makes one for each request; with ours each thread has one at most."""
    view = replace(aio.VIEWS[name], requests=40, patterns=(patterns.PER_LOOP, patterns.OURS))

    found = web.run([view], 1, 1, lambda text: None)[name]

    theirs, ours = (found[pattern][0] or {} for pattern in view.patterns)
    assert theirs["errors"] == ours["errors"] == 0
    assert theirs["made"] >= 40
    assert ours["made"] <= view.connections


def test_a_burst_counts_failures() -> None:
    """Whatever is not answered with 200 is one, also where the connection breaks instead."""
    answers = itertools.cycle((200, 500, None))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status = next(answers)
            self.close_connection = status is None
            if status is not None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            figures = burst(f"http://127.0.0.1:{server.server_port}/", 1, 30)
        finally:
            server.shutdown()
            thread.join()

    assert figures["errors"] == 20


@pytest.mark.parametrize("name", [name for name in aio.LOADS if name.startswith("asgi-")])
@pytest.mark.parametrize("pattern", patterns.ASGI)
def test_a_view_under_asgi_answers(name: str, pattern: str) -> None:
    """With each way to come by the client the application starts, and a request is answered."""
    with Server() as server, server.outside() as client:
        web.patterns.fill(client)
        with web.applications(aio.VIEWS[name], server.url, [pattern]) as started:
            assert started[pattern].answers()


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


def test_a_goal_of_a_figure_that_is_counted() -> None:
    """It is judged by itself, in its own unit, and nothing counts as met that was not measured."""
    goal = Goal("burst", "burst-flask", "", "≤", 8, key="made", unit="connections made")

    assert goal.wanted == "≤ 8 connections made"
    assert goal.verdict({"burst-flask": {"redispool": [{"value": 700.0, "made": 8}]}}) == "met"
    assert goal.verdict({"burst-flask": {"redispool": [{"value": 700.0, "made": 9}]}}) == "missed"
    assert goal.verdict({"burst-flask": {"redispool": [None]}}) == "not measured"


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    """Before anything is measured it is said what the page has to have."""
    page = tmp_path / "page.md"
    page.write_text("figures\n", encoding="utf-8")

    assert SUITE.begin() in str(drawing.no_place(SUITE, page))


@pytest.mark.parametrize("suite", [SUITE, aio.SUITE], ids=lambda suite: suite.package)
def test_the_page_of_the_documentation_has_a_place_for_the_figures(suite: Suite) -> None:
    """`--write docs/performance.md` finds its marks, and those of the other command are not its."""
    assert drawing.no_place(suite, ROOT / "docs" / "performance.md") is None


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
