"""The blueprint that answers probes."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path

import pytest

from flask_redispool import health
from redispool import InvalidOption
from redispool.testing import FaultProxy

from ..support import Valkey, eventually
from ..support.web import WebServer
from .conftest import MakeApp, factory_of


def test_a_probe_is_answered_through_the_pool(make_app: MakeApp, flushed: Valkey) -> None:
    """200 and JSON that nobody keeps, on the one connection that requests have."""
    app = make_app(REDISPOOL={"default": {"URL": flushed.url, "MAX_CONNECTIONS": 1}})
    app.register_blueprint(health.blueprint())
    client = app.test_client()
    for _ in range(3):
        response = client.get("/redispool/health")
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json is not None
        assert response.json["status"] == response.json["aliases"]["default"]["status"] == "healthy"

    assert factory_of(app).stats()["default"].created_total == 1
    assert client.post("/redispool/health").status_code == 405


def test_an_outage_is_503_and_its_end_200(make_app: MakeApp, flushed: Valkey) -> None:
    """Each within two seconds."""
    with FaultProxy(flushed.url) as proxy:
        app = make_app(REDIS_URL=proxy.url)
        app.register_blueprint(health.blueprint("/ready"))
        client = app.test_client()
        assert client.get("/ready").status_code == 200
        proxy.refuse()
        proxy.reset_all()
        eventually(lambda: client.get("/ready").status_code == 503, 2.0)
        assert "127.0.0.1" not in client.get("/ready").text
        proxy.heal()
        eventually(lambda: client.get("/ready").status_code == 200, 2.0)


def test_each_blueprint_has_aliases_and_a_path_of_its_own(
    make_app: MakeApp, flushed: Valkey
) -> None:
    """What counts for one probe does not count for another."""
    app = make_app(REDISPOOL={"default": flushed.url, "other": "redis://127.0.0.1:1"})
    app.register_blueprint(health.blueprint("/ready", ["default"]))
    app.register_blueprint(health.blueprint("/all", name="all"))
    app.register_blueprint(health.blueprint("/wrong", ["nonsense"], name="wrong"))
    client = app.test_client()

    assert client.get("/ready").status_code == 200
    assert client.get("/all").status_code == 503
    app.testing = True
    with pytest.raises(InvalidOption, match="nonsense"):
        client.get("/wrong")


def test_a_factory_of_applications_may_make_the_blueprint_once(
    make_app: MakeApp, flushed: Valkey
) -> None:
    """One blueprint serves several applications, each with its own pools."""
    ready = health.blueprint("/ready")
    good, bad = make_app("good"), make_app("bad", REDIS_URL="redis://127.0.0.1:1")
    for app in (good, bad):
        app.register_blueprint(ready)

    assert good.test_client().get("/ready").status_code == 200
    assert bad.test_client().get("/ready").status_code == 503


def test_workers_tell_of_an_outage_and_of_its_end(own_server: Valkey, tmp_path: Path) -> None:
    """A server that stops is 503 within two seconds, whichever worker is asked; back, it is 200."""
    words = ["gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", f"{__package__}.metered:app"]
    environment = {"REDIS_URL": own_server.url, "REDISPOOL_LIVE_DIRECTORY": ""}
    with WebServer(*words, log=tmp_path / "log", environment=environment) as web:

        def status() -> set[int]:
            return {ask(web, "/ready") for _ in range(6)}

        assert status() == {200}
        own_server.stop()
        eventually(lambda: status() == {503}, 2.0)
        own_server.start()
        eventually(lambda: status() == {200}, 2.0)


def ask(web: WebServer, path: str) -> int:
    """The status of an answer."""
    connection = HTTPConnection(web.host, web.port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
