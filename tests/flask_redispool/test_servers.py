"""The extension under gunicorn: several processes, forked before and after the first connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support import Valkey, eventually
from ..support.scale import scale
from ..support.web import Watcher, WebServer, connections_of, keyed_load

BOUND = 2
"""``MAX_CONNECTIONS`` in each process."""


@pytest.fixture(
    params=[
        pytest.param(["--workers", "4", "--preload"], id="sync, preloaded"),
        pytest.param(
            ["--workers", "2", "--worker-class", "gthread", "--threads", "8"], id="gthread"
        ),
        pytest.param(["--workers", "2", "--worker-class", "gevent"], id="gevent"),
    ]
)
def web(request: pytest.FixtureRequest, flushed: Valkey, tmp_path: Path) -> Iterator[WebServer]:
    """The application of ``keyed.py`` with two connections in each process."""
    words = ["gunicorn", "--bind", "127.0.0.1:0", *request.param, f"{__package__}.keyed:app"]
    settings = {"REDIS_URL": f"{flushed.url}?max_connections={BOUND}"}
    with WebServer(*words, log=tmp_path / "log", environment=settings) as web:
        yield web
    assert web.complaints() == []
    eventually(lambda: not flushed.clients())


def test_each_request_gets_its_own_values(web: WebServer, flushed: Valkey) -> None:
    """Under load no value is mixed up, no request fails, and no process exceeds its bound."""
    with Watcher(flushed) as watcher:
        keyed_load(web, "/keyed", requests=1000)

    assert watcher.looks > 5
    assert len(watcher.most) >= 2, "several processes have answered"
    assert max(watcher.most.values()) <= BOUND
    assert watcher.most_at_once <= BOUND * len(watcher.most)


def test_a_reader_that_leaves_frees_the_subscription(web: WebServer, flushed: Valkey) -> None:
    """When the client of a stream has gone, so has the connection that fed it."""

    def subscribed() -> int:
        return sum(row["sub"] != "0" for row in flushed.clients())

    with web.stream("/feed"):
        eventually(lambda: subscribed() == 1)
    eventually(lambda: subscribed() == 0)

    web.get("/pid")
    assert max(connections_of(flushed).values()) <= BOUND


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--worker-class", "sync"], id="sync"),
        pytest.param(["--worker-class", "gthread", "--threads", "8"], id="gthread"),
    ],
)
def test_async_views_under_wsgi(flushed: Valkey, tmp_path: Path, words: list[str]) -> None:
    """Each view and hook has a loop of its own: none fails, and all share a few connections."""
    command = ["gunicorn", "--bind", "127.0.0.1:0", *words, f"{__package__}.keyed:app"]
    settings = {"REDIS_URL": flushed.url}
    with WebServer(*command, log=tmp_path / "log", environment=settings) as web:
        keyed_load(web, "/keyed-async", requests=scale(1000, 200))
        assert 1 <= int(web.get("/made")) <= (8 if "gthread" in words else 1)
    assert web.complaints() == []
    eventually(lambda: not flushed.clients())
