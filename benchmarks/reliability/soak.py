"""The soak: keyed work in threads of several processes, while everything goes wrong at once."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from redispool.testing import FaultProxy, Server

from . import keyed

WORKERS = 3
BOUND = 4
"""Connections of one worker."""
CALM = 3.0
"""Seconds at the end without faults: every place has to be there, every thread to be served."""


def run(seconds: float) -> dict[str, Any]:
    """Let workers run for so many seconds; gives their counts together.

    ``kept`` says whether nothing was wrong, lost or left behind.
    """
    with Server() as server, FaultProxy(server.url) as proxy:
        keyed.fill(server.url)
        workers = [start_worker(proxy.url, seconds, number) for number in range(WORKERS)]
        faults = make_trouble(server, proxy, time.monotonic() + seconds)
        reports = [finish(worker) for worker in workers]
    total: Counter[str] = Counter()
    for report in reports:
        total.update({name: count for name, count in report.items() if name != "kept"})
    return {**total, "faults": dict(faults), "kept": all(report["kept"] for report in reports)}


def start_worker(url: str, seconds: float, number: int) -> subprocess.Popen[str]:
    """A process that works until `CALM` seconds after the last fault."""
    arguments = [url, str(seconds + CALM), str(number), str(BOUND)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.reliability.soak_worker", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(worker: subprocess.Popen[str]) -> dict[str, Any]:
    """What a worker reports; one that hangs has not kept its promise."""
    try:
        said, _ = worker.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.communicate()
        return {"hung workers": 1, "kept": False}
    if worker.returncode:
        return {"crashed workers": 1, "kept": False}
    report: dict[str, Any] = json.loads(said)
    return report


def make_trouble(server: Server, proxy: FaultProxy, until: float) -> Counter[str]:
    """One fault after another until then, each followed by its end; gives how often each came."""
    done: Counter[str] = Counter()
    faults: list[tuple[str, Callable[[], Any], float]] = [
        ("connections killed", lambda: server.kill_clients(), 0.0),
        ("lines closed", proxy.close_all, 0.0),
        ("lines reset", proxy.reset_all, 0.0),
        ("reply cut", lambda: proxy.cut_reply(random.randrange(1, 9)), 0.0),
        ("replies late", lambda: proxy.delay(0.02), 0.3),
        ("replies held", proxy.hold, 0.3),
        ("black hole", proxy.black_hole, 0.5),
        ("refused", proxy.refuse, 0.7),
        ("accepted and reset", proxy.reset_new, 0.5),
        ("server restarted", lambda: restart(server), 0.0),
    ]
    while time.monotonic() < until:
        name, begin, lasts = random.choice(faults)
        begin()
        done[name] += 1
        time.sleep(lasts)
        proxy.heal()
        time.sleep(random.uniform(0.05, 0.6))
    return done


def restart(server: Server) -> None:
    """The server comes back empty, and is filled again."""
    server.restart()
    with contextlib.suppress(Exception):
        keyed.fill(server.url)
