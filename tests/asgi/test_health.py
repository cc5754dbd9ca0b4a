"""The ASGI application that answers probes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from redispool import InvalidOption, PoolFactory
from redispool.asgi import HealthApp, lifespan
from redispool.testing import FaultProxy

from ..conftest import MakeFactory
from ..support import Valkey, eventually

MakeClient: TypeAlias = Callable[[PoolFactory, HealthApp], TestClient]


def with_starlette(factory: PoolFactory, app: HealthApp) -> TestClient:
    """An endpoint of Starlette."""
    return TestClient(Starlette(routes=[Route("/ready", app)], lifespan=lifespan(factory)))


def with_fastapi(factory: PoolFactory, app: HealthApp) -> TestClient:
    """A route of FastAPI's application, which needs no redirection to it."""
    outer = FastAPI(lifespan=lifespan(factory))
    outer.router.routes.append(Route("/ready", app))
    return TestClient(outer, follow_redirects=False)


def mounted(factory: PoolFactory, app: HealthApp) -> TestClient:
    """An application within another one."""
    outer = FastAPI(lifespan=lifespan(factory))
    outer.mount("/ready", app)
    return TestClient(outer)


def alone(factory: PoolFactory, app: HealthApp) -> TestClient:
    """An application by itself."""
    return TestClient(app)


@pytest.fixture(params=[with_starlette, with_fastapi, mounted, alone])
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    """Makes a client for an application that has the health application under ``/ready``."""
    found: MakeClient = request.param
    return found


def test_a_probe_is_answered_through_the_pool(
    make_factory: MakeFactory, make_client: MakeClient
) -> None:
    """200 and JSON that nobody keeps, on one connection of the pool for asyncio."""
    factory = make_factory()
    client = make_client(factory, HealthApp(factory))
    for _ in range(3):
        response = client.get("/ready")
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json()["status"] == "healthy"

    (pool,) = factory.pools()
    assert (pool.face, pool.stats().created_total) == ("asyncio", 1)


def test_other_methods_are_refused(make_factory: MakeFactory) -> None:
    """HEAD is GET without a body; whatever else asks is told what is answered."""
    app = HealthApp(make_factory())

    start, body = asyncio.run(said_by(app, "HEAD"))
    assert start["status"] == 200
    assert int(dict(start["headers"])[b"content-length"]) > 0
    assert body["body"] == b""
    start, body = asyncio.run(said_by(app, "POST"))
    assert start["status"] == 405
    assert b"GET" in body["body"]


async def said_by(app: HealthApp, method: str) -> list[Any]:
    """What the application sends; a server would leave out a body that does not belong there."""
    said: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        said.append(message)

    await app({"type": "http", "method": method}, receive, send)
    return said


def test_an_outage_is_503_and_its_end_200(
    make_factory: MakeFactory, make_client: MakeClient, flushed: Valkey
) -> None:
    """Each within two seconds."""
    with FaultProxy(flushed.url) as proxy:
        factory = make_factory(proxy.url)
        client = make_client(factory, HealthApp(factory))
        assert client.get("/ready").status_code == 200
        proxy.refuse()
        proxy.reset_all()
        eventually(lambda: client.get("/ready").status_code == 503, 2.0)
        assert "127.0.0.1" not in client.get("/ready").text
        proxy.heal()
        eventually(lambda: client.get("/ready").status_code == 200, 2.0)


def test_the_end_of_the_application_is_503(make_factory: MakeFactory) -> None:
    """Once its lifespan has ended, the pools are closed, and nobody shall send requests."""
    factory = make_factory()
    client = with_starlette(factory, HealthApp(factory))
    with client:
        assert client.get("/ready").status_code == 200

    assert client.get("/ready").status_code == 503


def test_an_alias_that_is_not_defined_is_refused_at_once(make_factory: MakeFactory) -> None:
    """When the application is made, and not at the first probe."""
    with pytest.raises(InvalidOption, match="nonsense"):
        HealthApp(make_factory(), ["nonsense"])


def test_a_websocket_is_a_mistake(make_factory: MakeFactory) -> None:
    """It is answered by an error that says so."""
    client: Any = TestClient(HealthApp(make_factory()))

    with pytest.raises(RuntimeError, match="not websocket"), client.websocket_connect("/"):
        pass
