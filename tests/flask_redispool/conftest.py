"""Flask applications on the real server, whose pools are seen off at the end of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_redispool import RedisPool
from redispool import PoolFactory

from ..support import Valkey, careless, eventually

MakeApp: TypeAlias = Callable[..., Flask]


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the tests' own environment says is no setting of theirs; what they kept, they drop."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    yield
    careless.kept.clear()


@pytest.fixture
def make_app(flushed: Valkey) -> Iterator[MakeApp]:
    """Makes registered applications; ``REDIS_URL`` is the server where no setting names another.

    At the end of the test nobody may hold a connection of theirs, and all are gone once their
    pools were closed.
    """
    apps: list[Flask] = []

    def make(name: str = "shop", **config: Any) -> Flask:
        app = Flask(name)
        if "REDISPOOL" not in config:
            config.setdefault("REDIS_URL", flushed.url)
        app.config.from_mapping(config)
        RedisPool(app)
        apps.append(app)
        return app

    yield make
    cut = [factory_of(app).close(timeout=0) for app in apps]
    assert not any(cut), f"connections that nobody gave back: {cut}"
    eventually(lambda: not flushed.clients())


# Not "app": pytest-flask would push a request context round each test that asks for it.
@pytest.fixture
def shop(make_app: MakeApp) -> Flask:
    """An application with the alias ``default``."""
    return make_app()


@pytest.fixture
def client(shop: Flask) -> FlaskClient:
    """Sends requests to `shop`."""
    return shop.test_client()


def factory_of(app: Flask) -> PoolFactory:
    """The pools of a registered application."""
    factory = app.extensions["redispool"]
    assert isinstance(factory, PoolFactory)
    return factory


def held(app: Flask) -> int:
    """How many connections of the application somebody holds."""
    factory = factory_of(app)
    pools = [factory.stats()["default"], *factory.async_stats().values()]
    return sum(each.in_use + each.pubsub for each in pools)
