"""The site under gunicorn and uvicorn: several processes and threads, and event loops."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from ..support import Valkey, eventually
from ..support.scale import scale
from ..support.web import Watcher, WebServer, keyed_load

BOUND = 2
"""``MAX_CONNECTIONS`` in each process."""

GUNICORN = ["gunicorn", "--bind", "127.0.0.1:0", f"{__package__}.wsgi:application"]
UVICORN = ["uvicorn", "--port", "0", "--no-access-log", f"{__package__}.asgi:application"]


@pytest.fixture(
    params=[
        pytest.param([*GUNICORN, "--workers", "4", "--preload"], id="gunicorn, preloaded"),
        pytest.param(
            [*GUNICORN, "--workers", "2", "--worker-class", "gthread", "--threads", "8"],
            id="gunicorn, gthread",
        ),
        pytest.param(UVICORN, id="uvicorn"),
    ]
)
def web(request: pytest.FixtureRequest, flushed: Valkey, tmp_path: Path) -> Iterator[WebServer]:
    """The site, with two connections in each process."""
    environment = {
        "DJANGO_SETTINGS_MODULE": f"{__package__}.settings",
        "REDIS_URL": f"{flushed.url}?max_connections={BOUND}",
    }
    with WebServer(*request.param, log=tmp_path / "log", environment=environment) as web:
        yield web
    assert web.complaints() == []
    eventually(lambda: not flushed.clients())


@pytest.mark.parametrize("path", ["keyed", "keyed-async"])
def test_each_request_gets_its_own_values(web: WebServer, flushed: Valkey, path: str) -> None:
    """Under load no value is mixed up, no request fails, and no process exceeds its bound."""
    with Watcher(flushed) as watcher:
        keyed_load(web, f"/{path}", requests=600)

    assert watcher.looks > 5
    assert watcher.most
    assert max(watcher.most.values()) <= BOUND
    assert watcher.most_at_once <= BOUND * len(watcher.most)


def test_a_reader_that_leaves_frees_the_subscription(web: WebServer, flushed: Valkey) -> None:
    """When the client of a stream has gone, so has the connection that fed it."""

    def subscribed() -> int:
        return sum(row["sub"] != "0" for row in flushed.clients())

    # With the stream of the other kind Django would read it whole before it sends the first piece.
    with web.stream("/feed-async" if "uvicorn" in web.words else "/feed"):
        eventually(lambda: subscribed() == 1)
    eventually(lambda: subscribed() == 0)


GTHREAD = ["--worker-class", "gthread", "--threads", "8"]
ASGI = f"{__package__}.asgi:application"
HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:0", "--graceful-timeout", "1", ASGI]
DAPHNE = ["daphne", "--bind", "127.0.0.1", "--port", "0", ASGI]


@pytest.mark.parametrize(
    ("words", "most"),
    [
        pytest.param(GUNICORN, 1, id="gunicorn, sync"),
        pytest.param([*GUNICORN, *GTHREAD], 8, id="gunicorn, gthread"),
        pytest.param(UVICORN, 8, id="uvicorn"),
        pytest.param(HYPERCORN, 8, id="hypercorn"),
        pytest.param(DAPHNE, 8, id="Daphne"),
    ],
)
def test_async_views(flushed: Valkey, tmp_path: Path, words: list[str], most: int) -> None:
    """No async view fails under any server, with few connections; who hangs up loses nothing."""
    environment = {
        "DJANGO_SETTINGS_MODULE": f"{__package__}.settings",
        "REDIS_URL": f"{flushed.url}?max_connections=8",
    }
    with WebServer(*words, log=tmp_path / "log", environment=environment) as web:
        keyed_load(web, "/akeyed", requests=scale(1000, 200))
        assert 1 <= int(web.get("/made")) <= most
        if words[0] != "gunicorn":
            hang_up(web, flushed)
    assert web.complaints() == []
    eventually(lambda: not flushed.clients())


def hang_up(web: WebServer, server: Valkey) -> None:
    """Ask for what never comes, and leave: the view is cancelled, its connections are gone."""

    def waiting() -> int:
        return sum(row["sub"] != "0" or row["cmd"] == "blpop" for row in server.clients())

    connection = HTTPConnection(web.host, web.port)
    connection.request("GET", "/wait")
    eventually(lambda: waiting() == 2)
    connection.close()
    eventually(lambda: waiting() == 0)
