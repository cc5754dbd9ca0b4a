"""Test suites, which have an event loop for each test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ...support import Valkey, eventually
from ...support.scale import scale

SUITE = Path(__file__).parents[1] / "programs" / "suite_of_loops.py"
KINDS = 5


def test_suites_of_all_kinds(flushed: Valkey, tmp_path: Path) -> None:
    """pytest-asyncio, anyio, IsolatedAsyncioTestCase, asyncio.run: no failure, one connection."""
    requests = scale(1000, 200)
    words = ["-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:django", "-p", "no:flask"]
    words += ["--rootdir", str(tmp_path), "-c", os.devnull]
    words += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(SUITE)],
        env={**os.environ, "REDIS_URL": flushed.url, "REQUESTS": str(requests)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=scale(600, 120),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\b{KINDS * requests} passed", done.stdout), done.stdout
    eventually(lambda: not flushed.clients())
