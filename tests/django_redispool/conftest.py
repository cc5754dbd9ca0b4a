"""A Django site on the real server, whose pools are seen off at the end of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from django.test import Client
from django.urls import path

from django_redispool import pools
from django_redispool.pools import Pools

from ..support import Valkey, careless, eventually

Show: TypeAlias = Callable[[Callable[..., Any]], None]


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the tests' own environment says is no setting of theirs; what they kept, they drop."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    yield
    careless.kept.clear()


@pytest.fixture
def site(flushed: Valkey, settings: Any) -> Iterator[Pools]:
    """The pools of a project whose ``REDIS_URL`` is the server.

    At the end of the test nobody may hold a connection of theirs, and all are gone once the pools
    were closed.
    """
    settings.REDIS_URL = flushed.url
    yield pools
    held = {alias: held_by(alias) for alias in pools.factory.aliases}
    pools.rebuild()
    assert not any(held.values()), f"connections that nobody gave back: {held}"
    eventually(lambda: not flushed.clients())


@pytest.fixture
def show(settings: Any) -> Show:
    """Makes a function the view of ``/``."""

    def at_the_root(view: Callable[..., Any]) -> None:
        settings.ROOT_URLCONF = (path("", view),)

    return at_the_root


@pytest.fixture
def client() -> Client:
    """Sends requests to the site as WSGI does; Django's, where other plugins have another one."""
    return Client()


def held_by(alias: str = "default") -> int:
    """How many connections of the alias somebody holds."""
    found = [pools.stats()[alias]]
    if alias in pools.async_stats():
        found.append(pools.async_stats()[alias])
    return sum(each.in_use + each.pubsub for each in found)
