"""Views under load: a server serves them, wrk asks, each pattern in turn."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from redispool.testing import Server, eventually, free_port

from .bursts import burst
from .figures import Found, Rounds
from .suite import View
from .views import patterns

WARM_UP = 1
"""Seconds of load before the first round, where there is more than one."""


def missing() -> str | None:
    """What would have to be installed; None where all is there."""
    return None if shutil.which("wrk") else "wrk"


class Application:
    """A view in a server of its own."""

    def __init__(self, view: View, pattern: str, redis_url: str, log: IO[bytes]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        environment = {patterns.URL: redis_url, patterns.PATTERN: pattern}
        self._process = subprocess.Popen(
            view.serve(view.application, port),
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def answers(self) -> bool:
        """Whether it does, and rightly."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended with {self._process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def end(self) -> None:
        """Tell it to end, and wait; where requests hang, its workers are ended with it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextlib.contextmanager
def applications(
    view: View, redis_url: str, these: Sequence[str]
) -> Iterator[dict[str, Application]]:
    """One for each pattern; those that are not asked just now wait, and cost nothing."""
    started: dict[str, Application] = {}
    with tempfile.TemporaryFile() as log:
        try:
            for pattern in these:
                started[pattern] = Application(view, pattern, redis_url, log)
            for application in started.values():
                eventually(application.answers, 30.0)
            yield started
        except (AssertionError, RuntimeError) as error:
            log.seek(0)
            raise RuntimeError(f"{error}; its log:\n{log.read().decode()[-3000:]}") from error
        finally:
            for application in started.values():
                application.end()


def load(url: str, connections: int, seconds: int) -> dict[str, float]:
    """Requests a second, and the milliseconds within which 99 of 100 were answered."""
    options = ("--threads", "1", "--connections", str(connections), "--latency")
    command = ["wrk", *options, "--duration", f"{seconds}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if wrong := re.search(r"(Non-2xx|Socket errors).*", said):
        raise RuntimeError(wrong[0])
    return {"value": number_after("Requests/sec:", said), "p99": number_after("99%", said)}


def number_after(word: str, said: str) -> float:
    """A figure of wrk; times in milliseconds."""
    found = re.search(rf"{re.escape(word)}\s+([\d.]+)(us|ms|s)?", said)
    assert found is not None, said
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3, None: 1.0}[found[2]]


def run(views: Sequence[View], rounds: int, seconds: int, say: Callable[[str], None]) -> Found:
    """Every figure of every round."""
    found: Found = {}
    with Server() as server, server.outside() as client:
        patterns.fill(client)
        for view in views:
            if view.requests:
                found[view.name] = counted(view, server.url, client, say)
            else:
                found[view.name] = one_view(view, server.url, rounds, seconds, say)
    return found


def one_view(
    view: View, redis_url: str, rounds: int, seconds: int, say: Callable[[str], None]
) -> dict[str, Rounds]:
    """All patterns in turn, in each round."""
    found: dict[str, Rounds] = {each: [] for each in view.patterns}
    with applications(view, redis_url, view.patterns) as started:
        for application in started.values() if rounds > 1 else ():
            load(application.url, view.connections, WARM_UP)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: {view.name}")
            for pattern, application in started.items():
                try:
                    found[pattern].append(load(application.url, view.connections, seconds))
                except RuntimeError as error:
                    say(f"{pattern}, {view.name}: {error}")
                    found[pattern].append(None)
    return found


def counted(
    view: View, redis_url: str, client: Any, say: Callable[[str], None]
) -> dict[str, Rounds]:
    """Once with each pattern: so many requests, their failures, and the connections made."""
    found: dict[str, Rounds] = {}
    assert view.requests is not None
    for pattern in view.patterns:
        say(f"{view.requests} requests: {view.name}, {pattern}")
        before = client.info("stats")["total_connections_received"]
        with applications(view, redis_url, [pattern]) as started:
            figures = burst(started[pattern].url, view.connections, view.requests)
        figures["made"] = client.info("stats")["total_connections_received"] - before
        found[pattern] = [figures]
    return found
