"""The process of one contender: reads the name of a measure, does it, writes the figures."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from ..speed import values
from .clients import SMALL, Client
from .contenders import CONTENDERS
from .measures import COMMANDS, LOOPS, ON_LOOPS

READY = {"ready": True}
"""The first answer: what is imported later would disturb whoever is timed."""


class Worker:
    """A contender, and what it is asked.

    One loop after the other lives as long as the measures are on it; between two of them it waits
    for the next line, and nothing runs on it.
    """

    def __init__(self, name: str, url: str, seconds: float) -> None:
        self._contender = CONTENDERS[name]
        self._url, self._seconds = url, seconds
        # Some libraries log to the standard output.
        self._answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def work(self) -> None:
        """Answer line by line, until the input ends."""
        self._answer(READY)
        lines = (line.strip() for line in sys.stdin)
        name = next(lines, None)
        while name is not None:
            if name in ON_LOOPS:
                loop = ON_LOOPS[name].loop
                with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                    name = runner.run(self._serve(loop, name, lines))
            else:
                self._answer(self._off_loops(name))
                name = next(lines, None)

    async def _serve(self, loop: str, name: str | None, lines: Iterator[str]) -> str | None:
        """Answer as long as the measures are on this loop, and give the next one."""
        client = await self._opened()
        try:
            while name in ON_LOOPS and ON_LOOPS[name].loop == loop:
                measure = ON_LOOPS[name]
                try:
                    assert type(asyncio.get_running_loop()).__module__.startswith(measure.loop)
                    self._answer(await measure.run(client, self._seconds / measure.turns))
                except Exception as error:
                    self._answer(complaint(error))
                name = next(lines, None)
            return name
        finally:
            await client.close()

    async def _opened(self) -> Client:
        """A client that gives the right answers; whoever does not is not timed."""
        client: Client = self._contender.open(self._url)
        await client.open()
        small = values.value(SMALL)
        assert await client.get()() == small
        assert await client.set()() in (True, b"OK", "OK")
        for replies in (await client.mget(100)(), await client.pipeline(100)()):
            assert list(replies) == [small] * 100, replies
        return client

    def _off_loops(self, name: str) -> dict[str, Any]:
        """The figures of a measure whose loops end; nothing where the contender has no such."""
        measure = COMMANDS[name]
        try:
            figure = measure.run(self._contender.open(self._url), self._seconds / measure.turns)
        except Exception as error:
            return complaint(error)
        return figure or {}

    def _answer(self, figures: dict[str, Any]) -> None:
        print(json.dumps(figures), file=self._answers, flush=True)


def complaint(error: Exception) -> dict[str, str]:
    """What stands in the place of figures."""
    return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    name, tcp, _, seconds = sys.argv[1:]
    Worker(name, tcp, float(seconds)).work()
