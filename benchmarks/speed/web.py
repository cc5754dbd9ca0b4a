"""Views under load: gunicorn serves them, wrk asks, each pattern in turn."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from redispool.testing import Server, eventually, free_port

from .figures import Found, Rounds
from .measures import VIEWS, View
from .views import patterns

CONNECTIONS = 32
"""How many requests are under way: more than there are threads, as at a busy time."""

GUNICORN = (sys.executable, "-m", "gunicorn", "--no-control-socket")

WARM_UP = 1
"""Seconds of load before the first round, where there is more than one."""


def missing() -> str | None:
    """What would have to be installed; None where all is there."""
    return None if shutil.which("wrk") else "wrk"


class Application:
    """A view under gunicorn, in one worker with threads."""

    def __init__(self, view: View, pattern: str, redis_url: str, log: IO[bytes]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        module = f"{__package__}.views.{view.framework}_app:app"
        options = ("--workers", "1", "--worker-class", "gthread", "--threads", str(view.threads))
        environment = {patterns.URL: redis_url, patterns.PATTERN: pattern}
        self._process = subprocess.Popen(
            [*GUNICORN, "--bind", f"127.0.0.1:{port}", *options, module],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def answers(self) -> bool:
        """Whether it does, and rightly."""
        if self._process.poll() is not None:
            raise RuntimeError(f"gunicorn ended with {self._process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def end(self) -> None:
        """Tell it to end, and wait."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def applications(view: View, redis_url: str) -> Iterator[dict[str, Application]]:
    """One for each pattern; those that are not asked just now wait, and cost nothing."""
    started: dict[str, Application] = {}
    with tempfile.TemporaryFile() as log:
        try:
            for pattern in patterns.PATTERNS:
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


def load(url: str, seconds: int) -> dict[str, float]:
    """Requests a second, and the milliseconds within which 99 of 100 were answered."""
    options = ("--threads", "1", "--connections", str(CONNECTIONS), "--latency")
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


def run(measures: Sequence[str], rounds: int, seconds: int, say: Callable[[str], None]) -> Found:
    """Every figure of every round."""
    found: Found = {}
    with Server() as server:
        with server.outside() as client:
            patterns.fill(client)
        for name in measures:
            found[name] = one_view(VIEWS[name], server.url, rounds, seconds, say)
    return found


def one_view(
    view: View, redis_url: str, rounds: int, seconds: int, say: Callable[[str], None]
) -> dict[str, Rounds]:
    """All patterns in turn, in each round."""
    found: dict[str, Rounds] = {each: [] for each in patterns.PATTERNS}
    with applications(view, redis_url) as started:
        for application in started.values() if rounds > 1 else ():
            load(application.url, WARM_UP)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: {view.name}")
            for pattern, application in started.items():
                try:
                    found[pattern].append(load(application.url, seconds))
                except RuntimeError as error:
                    say(f"{pattern}, {view.name}: {error}")
                    found[pattern].append(None)
    return found
