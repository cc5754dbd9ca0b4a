"""Metrics of an application with several workers, whichever of them answers the scrape."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ..support import Valkey, eventually
from ..support.web import WebServer, connections_of, load

WORKERS = 3


def commands(web: WebServer) -> dict[int, float]:
    """How many commands each process has sent, as a scrape tells."""
    return {
        int(sample.labels["pid"]): sample.value
        for family in text_string_to_metric_families(web.get("/metrics"))
        for sample in family.samples
        if sample.name == "redispool_commands_total"
    }


def test_any_worker_tells_of_all(flushed: Valkey, tmp_path: Path) -> None:
    """A scrape has each worker's own series; one that was killed has none, and no other changes."""
    words = ["gunicorn", "--bind", "127.0.0.1:0", "--workers", str(WORKERS)]
    environment = {"REDIS_URL": flushed.url, "REDISPOOL_LIVE_DIRECTORY": str(tmp_path / "live")}
    with WebServer(
        *words, f"{__package__}.metered:app", log=tmp_path / "log", environment=environment
    ) as web:
        served: list[int] = []
        while len(set(served)) < WORKERS:
            served += map(int, load(web, ["/pid"] * 20))
        expected = {pid: float(served.count(pid)) for pid in set(served)}
        for _ in range(2 * WORKERS):
            assert commands(web) == expected
        assert expected.keys() == connections_of(flushed).keys()
        with flushed.outside() as client:
            assert sum(expected.values()) == int(client.get("visits") or 0)

        victim = served[0]
        os.kill(victim, signal.SIGKILL)
        del expected[victim]
        eventually(lambda: commands(web) == expected)
