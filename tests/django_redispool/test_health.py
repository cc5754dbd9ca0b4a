"""The views that answer probes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import path, resolve

from django_redispool import health
from django_redispool.pools import Pools
from redispool.testing import FaultProxy

from ..support import Valkey, eventually


@pytest.fixture(params=[health.view, health.async_view], ids=["view", "async_view"])
def urls(request: pytest.FixtureRequest, settings: Any) -> None:
    """A site with the view under three paths, each with options of its own."""
    settings.ROOT_URLCONF = (
        path("ready", request.param),
        path("default", request.param, {"aliases": ["default"], "within": 5.0}),
        path("wrong", request.param, {"aliases": ["nonsense"]}),
    )


@pytest.mark.usefixtures("urls")
def test_a_probe_is_answered_through_the_pool(site: Pools, client: Client) -> None:
    """200 and JSON that nobody keeps, on one connection of the pool."""
    for _ in range(3):
        response = client.get("/ready")
        assert response.status_code == 200
        assert "no-store" in response.headers["Cache-Control"]
        assert response.json()["status"] == "healthy"
        assert response.json()["aliases"]["default"]["milliseconds"] > 0

    assert [pool.stats().created_total for pool in site.factory.pools()] == [1]
    assert client.head("/ready").status_code == 200
    assert client.post("/ready").status_code == 405


@pytest.mark.usefixtures("urls")
def test_an_outage_is_503_and_its_end_200(
    site: Pools, client: Client, settings: Any, flushed: Valkey
) -> None:
    """Each within two seconds."""
    with FaultProxy(flushed.url) as proxy:
        settings.REDIS_URL = proxy.url
        assert client.get("/ready").status_code == 200
        proxy.refuse()
        proxy.reset_all()
        eventually(lambda: client.get("/ready").status_code == 503, 2.0)
        assert b"127.0.0.1" not in client.get("/ready").content
        proxy.heal()
        eventually(lambda: client.get("/ready").status_code == 200, 2.0)


@pytest.mark.usefixtures("urls")
def test_only_the_aliases_that_count_are_asked(
    site: Pools, client: Client, settings: Any, flushed: Valkey
) -> None:
    """The pattern names them; one that is not defined is a mistake in the settings."""
    settings.REDISPOOL = {"default": flushed.url, "other": "redis://127.0.0.1:1"}

    assert client.get("/default").status_code == 200
    assert client.get("/ready").status_code == 503
    with pytest.raises(ImproperlyConfigured, match="nonsense"):
        client.get("/wrong")


@pytest.mark.usefixtures("urls")
def test_a_site_that_wants_everybody_to_log_in_lets_probes_pass() -> None:
    """Kubernetes has no account; this is what Django's LoginRequiredMiddleware looks at."""
    view: Any = resolve("/ready").func

    assert view.login_required is False
