"""What ``flask redispool`` tells of the sample under gunicorn, beside what the server says."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from ..support import Valkey, eventually
from ..support.executed import executed
from ..support.scale import scale
from ..support.web import CHECKOUT, WebServer, connections_of, load

SAMPLE = CHECKOUT / "sample_projects" / "flask_app"
THREADS = 4 * 8
"""Of all workers."""
MOST_AT_ONCE = 5 * THREADS
"""No more commands are on their way at once: the longest pipeline of the sample has five."""


class Site:
    """The sample under gunicorn, its Redis, and its command line."""

    def __init__(self, web: WebServer, redis: Valkey, environment: dict[str, str]) -> None:
        self.web, self.redis = web, redis
        self._before = executed(redis)
        self._environment = {**os.environ, **environment, "FLASK_APP": "app:create_app"}

    def command(self, what: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and rows of ``flask redispool``."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "flask", "redispool", what, "--format", "json"],
            cwd=SAMPLE,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)["rows"]

    def stats(self) -> list[dict[str, Any]]:
        """The rows of ``flask redispool stats``."""
        code, rows = self.command("stats")
        assert code == 0
        return rows

    def executed(self) -> int:
        """How many commands the server has executed for the sample."""
        return executed(self.redis) - self._before

    def ask(self) -> int:
        """Ask for a page, however it is answered; gives the status, 0 for none."""
        connection = HTTPConnection(self.web.host, self.web.port, timeout=20)
        with closing(connection), suppress(OSError, HTTPException):
            connection.request("GET", "/keyed/1")
            with connection.getresponse() as response:
                return response.status
        return 0

    def ask_all(self) -> set[int]:
        """Ask so often at once that every worker has to answer; gives each status."""
        with ThreadPoolExecutor(2 * THREADS) as threads:
            return set(threads.map(lambda _: self.ask(), range(4 * THREADS)))


@pytest.fixture
def site(own_server: Valkey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """The sample with four workers of eight threads."""
    environment = {
        "REDIS_URL": f"{own_server.url}?timeout=2&retries=0",
        "REDISPOOL_LIVE_DIRECTORY": str(tmp_path / "live"),
        "PYTHONPATH": str(CHECKOUT),
    }
    words = ["gunicorn", "--bind", "127.0.0.1:0", "--workers", "4", "--worker-class", "gthread"]
    words += ["--threads", "8", "app:create_app()"]
    with WebServer(*words, log=tmp_path / "log", cwd=SAMPLE, environment=environment) as web:
        yield Site(web, own_server, environment)


def total(rows: list[dict[str, Any]], *figures: str) -> int:
    """The sum of some figures over all rows."""
    return sum(row[figure] for row in rows for figure in figures)


def test_the_totals_are_those_of_the_server(site: Site) -> None:
    """Commands are those that the server executed, connections those that it lists.

    So it is after load; under load no more than the commands that are on their way lie between.
    The index takes four checkouts for eight commands, five of which are a pipeline.
    """
    keyed = [f"/keyed/{number}" for number in range(scale(4000, 800))]
    indices = ["/"] * (len(keyed) // 8)
    pages = random.sample(keyed + indices, len(keyed) + len(indices))
    with ThreadPoolExecutor(1) as background:
        loading = background.submit(load, site.web, pages, at_once=THREADS)
        while not loading.done():
            before, rows, after = site.executed(), site.stats(), site.executed()
            assert before <= total(rows, "commands_total") <= after + MOST_AT_ONCE
        loading.result()

    rows = site.stats()
    assert total(rows, "commands_total") == site.executed() == 2 * len(keyed) + 8 * len(indices)
    assert total(rows, "acquired_total") == 2 * len(keyed) + 4 * len(indices)
    assert total(rows, "in_use", "waiting", "timeouts_total", "failed_total") == 0
    held = {row["process"]: row["idle"] for row in rows}
    assert held == connections_of(site.redis)
    assert len(held) > 1, "several workers have answered"
    _, fleet = site.command("clients")
    shown = {row["process"]: row["connections"] for row in fleet if row["process"] in held}
    assert shown == held


def test_a_killed_worker_is_seen_no_more(site: Site) -> None:
    """`kill -9` of a worker removes its row at once; the others stay."""
    load(site.web, ["/keyed/1"] * 200, at_once=THREADS)
    first, *others = [row["process"] for row in site.stats()]

    os.kill(first, signal.SIGKILL)
    eventually(lambda: first not in connections_of(site.redis))

    left = {row["process"] for row in site.stats()}
    assert first not in left
    assert set(others) <= left


def test_an_outage_is_shown_and_its_end_likewise(site: Site) -> None:
    """While the server is away, `stats` and `doctor` say so, and no longer when it is back."""
    assert site.ask_all() == {200}
    assert site.command("doctor")[0] == 0

    site.redis.stop()
    assert 200 not in site.ask_all()
    away = [row for row in site.stats() if row["away_seconds"]]
    code, findings = site.command("doctor")
    assert away
    assert all("refused" in row["away_reason"] for row in away)
    assert code == 1
    assert {"server", "outage"} <= {finding["check"] for finding in findings}

    site.redis.start()
    eventually(
        lambda: site.ask_all() == {200} and not any(row["away_seconds"] for row in site.stats())
    )
    assert "outage" not in {finding["check"] for finding in site.command("doctor")[1]}
