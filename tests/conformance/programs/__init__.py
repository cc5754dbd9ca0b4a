"""Programs that tests run in processes of their own, for what they do to an interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHECKOUT = Path(__file__).parents[3]
STRICT = ("-X", "dev", "-W", "error")
"""Every check of the interpreter, and no warning is let pass."""


class Program:
    """A context manager: a program of this folder while it runs, and its outcome afterwards.

    Args:
        name: its module, such as ``exits``.
        arguments: what it finds in ``sys.argv``.
    """

    def __init__(self, name: str, *arguments: Any) -> None:
        words = [sys.executable, *STRICT, "-m", f"{__name__}.{name}", *map(str, arguments)]
        self._process = subprocess.Popen(
            words,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.code: int | None = None
        """Its exit code, once it has ended."""
        self.output = self.errors = ""

    def terminate(self) -> None:
        """Ask it to end, as whoever manages processes does."""
        self._process.send_signal(signal.SIGTERM)

    def finish(self, within: float = 60.0) -> Self:
        """Wait for its end, for `within` seconds at most."""
        output, errors = self._process.communicate(timeout=within)
        self.code, self.output, self.errors = (
            self._process.returncode,
            output.decode(),
            errors.decode(),
        )
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def report_of(name: str, *arguments: Any, within: float = 60.0) -> Any:
    """Run a program to its end, which must be silent; give what it reported in JSON."""
    with Program(name, *arguments) as program:
        program.finish(within)
    assert (program.code, program.errors) == (0, "")
    return json.loads(program.output)


def report(value: Any) -> None:
    """In a program: say what came of it, in one line."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
