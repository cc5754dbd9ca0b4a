"""Another process of an application, which does what a test says, a line of Python at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys
from contextlib import ExitStack
from threading import Thread
from redispool import PoolFactory
factory = PoolFactory(json.loads(sys.argv[1]))
redis, held = factory.client(), ExitStack()
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
factory.close(0)
"""


class Process:
    """A context manager: a process with pools of its own; it knows `factory`, `redis` and `held`.

    Args:
        settings: what ``REDISPOOL`` holds there.
    """

    def __init__(self, settings: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._expect("ready")

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def do(self, line: str) -> None:
        """Run a line of Python there, to its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._expect("done")

    def take(self, times: int = 1) -> None:
        """Hold connections there until `give_back`."""
        self.do(f"for _ in range({times}): held.enter_context(factory.pool().connection())")

    def give_back(self) -> None:
        """Give all back that it holds."""
        self.do("held.close()")

    def kill(self) -> None:
        """End it at once, without a chance to tidy up."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._process as process:
            if process.poll() is None:
                process.communicate(timeout=30)

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"
