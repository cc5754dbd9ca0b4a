"""Fixtures for the tests that run the samples as people do: under their servers, over HTTP."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

# Each sample has its own pytest.ini: tests/test_own_tests.py runs them as their READMEs say.
collect_ignore = ["flask_app", "django_site", "fastapi_app"]


@pytest.fixture(scope="session")
def data() -> Iterator[Path]:
    """The directory of a private embedded server; pytest's own are too long for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="samples-", ignore_cleanup_errors=True) as directory:
        yield Path(directory, "data")


@pytest.fixture
def observer(data: Path) -> Iterator[Redis]:
    """A plain client that looks at the server from outside."""
    with Redis(unix_socket_path=str(data / "redis.sock"), decode_responses=True) as client:
        yield client
