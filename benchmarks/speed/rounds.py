"""Rounds: all contenders do a measure, one after the other, then the next; and all of it again."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from redispool.testing import Server

from . import values
from .contenders import CONTENDERS
from .figures import Found, Rounds
from .measures import COMMANDS, takes_part

PYTHON = (sys.executable, "-m", f"{__package__}.worker")

HANGS = 60.0
"""Seconds after which a contender that does not answer is ended."""


class Worker:
    """A contender in a process of its own."""

    def __init__(self, name: str, server: Server, seconds: float) -> None:
        self.name = name
        unix = f"unix://{server.socket_path}"
        self._process = subprocess.Popen(
            [*PYTHON, name, server.url, unix, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, measure: str) -> dict[str, Any]:
        """The figures of one measure; ``error`` where there are none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{measure}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "its process has ended"}
        guard = threading.Timer(HANGS, self._process.kill)
        guard.start()
        line = self._process.stdout.readline()
        guard.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process has ended"}
        return answer

    def end(self) -> None:
        """Let it end; it has nothing left to do."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


@contextlib.contextmanager
def workers(names: Iterable[str], server: Server, seconds: float) -> Iterator[list[Worker]]:
    """A process for each contender; new ones in each round, so that no layout of memory lasts."""
    started: list[Worker] = []
    try:
        for name in names:
            started.append(Worker(name, server, seconds))
        yield started
    finally:
        for worker in started:
            worker.end()


def run(
    names: Sequence[str],
    measures: Sequence[str],
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> Found:
    """Every figure of every round."""
    found: Found = {measure: {} for measure in measures}
    with Server() as server:
        values.fill(server.url)
        for number in range(rounds):
            with workers(names, server, seconds) as started:
                for measure in measures:
                    say(f"round {number + 1} of {rounds}: {measure}")
                    one_measure(measure, started, found[measure], say)
    return found


def one_measure(
    measure: str, started: list[Worker], found: dict[str, Rounds], say: Callable[[str], None]
) -> None:
    """All contenders in turn."""
    for worker in started:
        if not takes_part(CONTENDERS[worker.name], COMMANDS[measure]):
            continue
        figure = worker.ask(measure)
        if "error" in figure:
            say(f"{worker.name}, {measure}: {figure['error']}")
        if figure:
            found.setdefault(worker.name, []).append(figure if "value" in figure else None)
