"""Applications of each framework under real ASGI servers: no request fails, few connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support import Valkey, eventually
from ..support.scale import scale
from ..support.web import WebServer, keyed_load

BOUND = 4
"""``MAX_CONNECTIONS`` of the process; 16 requests are under way at a time."""

UVICORN = ["uvicorn", "--port", "0", "--no-access-log", "--timeout-graceful-shutdown", "1"]
HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:0", "--graceful-timeout", "1"]

CASES = [
    pytest.param((UVICORN, "fastapi"), id="uvicorn, FastAPI"),
    pytest.param((UVICORN, "starlette"), id="uvicorn, Starlette"),
    pytest.param((UVICORN, "litestar"), id="uvicorn, Litestar"),
    pytest.param((HYPERCORN, "fastapi"), id="hypercorn, FastAPI"),
    pytest.param((HYPERCORN, "quart"), id="hypercorn, Quart"),
]


@pytest.fixture(params=CASES)
def web(request: pytest.FixtureRequest, flushed: Valkey, tmp_path: Path) -> Iterator[WebServer]:
    """An application under a server, in one process; its end closes everything."""
    words, name = request.param
    environment = {"REDIS_URL": f"{flushed.url}?max_connections={BOUND}"}
    server = WebServer(
        *words, f"{__package__}.with_{name}:app", log=tmp_path / "log", environment=environment
    )
    with server as web:
        yield web
    assert web.complaints() == []
    eventually(lambda: not flushed.clients())


def test_requests_and_streams(web: WebServer, flushed: Valkey) -> None:
    """No request fails, each gets its own value, and readers that leave free their connection."""
    keyed_load(web, "/keyed-async", requests=scale(1000, 200))
    assert 1 <= int(web.get("/made")) <= BOUND

    def subscribed() -> int:
        return sum(row["sub"] != "0" for row in flushed.clients())

    with web.stream("/feed"), web.stream("/feed"):
        eventually(lambda: subscribed() == 2)
    eventually(lambda: subscribed() == 0)
