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
from .figures import Found, Rounds, together
from .suite import Suite

HANGS = 60.0
"""Seconds after which a contender that does not answer is ended."""


class Worker:
    """A contender in a process of its own."""

    def __init__(self, suite: Suite, name: str, server: Server, seconds: float) -> None:
        self.name = name
        module = f"{suite.package}.worker"
        unix = f"unix://{server.socket_path}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, name, server.url, unix, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, measure: str) -> dict[str, Any]:
        """The figures of one measure; ``error`` where there are none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{measure}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"error": "its process has ended"}
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next one; the first says that it is ready."""
        assert self._process.stdout is not None
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
def workers(
    suite: Suite, names: Iterable[str], server: Server, seconds: float
) -> Iterator[list[Worker]]:
    """A process for each contender; new ones in each round, so that no layout of memory lasts."""
    started: list[Worker] = []
    try:
        for name in names:
            started.append(Worker(suite, name, server, seconds))
        for worker in started:
            worker.answer()
        yield started
    finally:
        for worker in started:
            worker.end()


def run(
    suite: Suite,
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
            with workers(suite, names, server, seconds) as started:
                for measure in measures:
                    say(f"round {number + 1} of {rounds}: {measure}")
                    one_measure(suite, measure, started, found[measure], say)
    return found


def one_measure(
    suite: Suite,
    measure: str,
    started: list[Worker],
    found: dict[str, Rounds],
    say: Callable[[str], None],
) -> None:
    """All contenders in turn, in turns that are short beside what disturbs a machine."""
    command = suite.commands[measure]
    taking_part = [one for one in started if suite.takes_part(one.name, command)]
    answers: dict[str, list[dict[str, Any]]] = {one.name: [] for one in taking_part}
    for _ in range(command.turns):
        for worker in taking_part:
            answers[worker.name].append(worker.ask(measure))
    for name, turns in answers.items():
        errors = [turn["error"] for turn in turns if "error" in turn]
        if errors:
            say(f"{name}, {measure}: {errors[0]}")
        if any(turns):  # else it has no such thing
            found.setdefault(name, []).append(None if errors else together(turns))
