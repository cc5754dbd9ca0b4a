from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.metrics import db_metrics

from redispool import PoolFactory
from redispool.figures import BOUNDS
from redispool.otel import instrument
from tests.support import Valkey, eventually

CONVENTIONS = {
    db_metrics.DB_CLIENT_CONNECTION_COUNT: ("up down", "{connection}"),
    db_metrics.DB_CLIENT_CONNECTION_MAX: ("up down", "{connection}"),
    db_metrics.DB_CLIENT_CONNECTION_IDLE_MIN: ("up down", "{connection}"),
    db_metrics.DB_CLIENT_CONNECTION_PENDING_REQUESTS: ("up down", "{request}"),
    db_metrics.DB_CLIENT_CONNECTION_TIMEOUTS: ("counter", "{timeout}"),
    db_metrics.DB_CLIENT_CONNECTION_WAIT_TIME: ("histogram", "s"),
    db_metrics.DB_CLIENT_CONNECTION_CREATE_TIME: ("histogram", "s"),
}
"""What the semantic conventions say of the metrics that we have, the names in their own words."""

OURS = {
    "redispool.acquire": ("counter", "{request}"),
    "redispool.command.shared": ("counter", "{command}"),
    "redispool.command.sent": ("counter", "{command}"),
    "redispool.connection.checks": ("counter", "{check}"),
    "redispool.connection.closed": ("counter", "{connection}"),
    "redispool.connection.connecting": ("up down", "{connection}"),
    "redispool.connection.failed": ("counter", "{connection}"),
    "redispool.connection.pubsub": ("up down", "{connection}"),
    "redispool.connection.use": ("counter", "s"),
    "redispool.lease.misuse": ("counter", "{lease}"),
    "redispool.lease.reclaimed": ("counter", "{lease}"),
    "redispool.lease.suspects": ("gauge", "{lease}"),
    "redispool.server.away": ("gauge", "s"),
}

Metrics = dict[str, Any]


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """Collects when it is asked."""
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    """The SDK, with nothing global set."""
    provider = MeterProvider(metric_readers=[reader])
    yield provider
    provider.shutdown()


@pytest.fixture
def factory(flushed: Valkey, provider: MeterProvider) -> Iterator[PoolFactory]:
    """A factory that is measured, with one connection."""
    options = {"URL": flushed.url, "MAX_CONNECTIONS": 1}
    with PoolFactory({"default": options}, live_directory="") as factory:
        instrument(factory, provider)
        yield factory


def collected(reader: InMemoryMetricReader) -> Metrics:
    """The metrics by name, all of one scope."""
    data = reader.get_metrics_data()
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    assert [scope.scope.name for scope in scopes] == ["redispool"]
    return {metric.name: metric for metric in scopes[0].metrics}


def kind(metric: Any) -> str:
    """What instrument a metric is of."""
    data = metric.data
    if type(data).__name__ == "Sum":
        return "counter" if data.is_monotonic else "up down"
    return str(type(data).__name__.lower())


def values(metric: Any, attribute: str) -> dict[Any, float]:
    """The values of a metric, by one of its attributes."""
    return {point.attributes[attribute]: point.value for point in metric.data.data_points}


def wait_once(factory: PoolFactory) -> None:
    """Have one caller wait for a connection, one in vain."""
    pool = factory.pool()
    with pool.connection():
        with pytest.raises(Exception, match="no connection came free"):
            pool.acquire(timeout=0)
        waiting = threading.Thread(target=lambda: pool.release(pool.acquire(60)))
        waiting.start()
        eventually(lambda: pool.stats().waiting == 1)
    waiting.join()


def test_names_kinds_and_units_are_those_of_the_conventions(
    factory: PoolFactory, reader: InMemoryMetricReader
) -> None:
    """What the SDK exports is the table, whole: the conventions' metrics, and our own."""
    wait_once(factory)

    found = collected(reader)

    assert {name: (kind(m), m.unit) for name, m in found.items()} == CONVENTIONS | OURS
    assert all(metric.description for metric in found.values())


def test_attributes_are_those_of_the_conventions(
    factory: PoolFactory, reader: InMemoryMetricReader, flushed: Valkey
) -> None:
    """Each point names its pool and the server; of the count also the state; nothing secret."""
    wait_once(factory)

    pool = {
        "db.client.connection.pool.name": "default",
        "db.system.name": "redis",
        "server.address": flushed.host,
        "server.port": flushed.port,
    }
    further = {
        "db.client.connection.count": {"db.client.connection.state"},
        "redispool.acquire": {"redispool.result"},
        "redispool.connection.closed": {"redispool.reason"},
        "redispool.connection.checks": {"redispool.kind"},
    }
    for name, metric in collected(reader).items():
        for point in metric.data.data_points:
            assert pool.items() <= point.attributes.items()
            assert point.attributes.keys() - pool.keys() == further.get(name, set())


def test_values_are_the_figures_of_the_pool(
    factory: PoolFactory, reader: InMemoryMetricReader
) -> None:
    """What is exported is what ``stats()`` says at that moment."""
    wait_once(factory)

    with factory.pool().connection():
        found = collected(reader)
        stats = factory.pool().stats()

    states = values(found["db.client.connection.count"], "db.client.connection.state")
    assert states == {"idle": 0, "used": 1}
    results = values(found["redispool.acquire"], "redispool.result")
    assert results["ok"] == stats.acquired_total == 3
    assert results["timeout"] == 1
    (used,) = found["redispool.connection.use"].data.data_points
    assert 0 < used.value == stats.use_seconds_sum


def test_histograms_have_each_value(factory: PoolFactory, reader: InMemoryMetricReader) -> None:
    """Waits and connects are counted one by one, with the buckets that the conventions advise."""
    wait_once(factory)

    found, stats = collected(reader), factory.pool().stats()

    (wait,) = found["db.client.connection.wait_time"].data.data_points
    (create,) = found["db.client.connection.create_time"].data.data_points
    assert wait.explicit_bounds == create.explicit_bounds == BOUNDS
    assert (wait.count, create.count) == (stats.acquired_waited_total, stats.created_total)
    assert (wait.sum, create.sum) == (stats.wait_seconds_sum, stats.create_seconds_sum)
    assert wait.bucket_counts == stats.wait_buckets


def test_pools_to_come_are_seen_too(factory: PoolFactory, reader: InMemoryMetricReader) -> None:
    """The pool for asyncio, which is made later, has a name of its own, and its first connect."""
    asyncio.run(ping(factory))

    found = collected(reader)

    name = "db.client.connection.pool.name"
    assert [*values(found["db.client.connection.max"], name)] == ["default/asyncio"]
    (create,) = found["db.client.connection.create_time"].data.data_points
    assert (create.count, create.attributes[name]) == (1, "default/asyncio")


async def ping(factory: PoolFactory) -> None:
    """One command."""
    await factory.async_client().ping()


def test_a_unix_socket_is_an_address_without_a_port(
    flushed: Valkey, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    """As the conventions say; and a password is in no attribute."""
    options = {"PATH": flushed.socket_path, "PASSWORD": "secret"}
    with PoolFactory({"default": options}, live_directory="") as factory:
        instrument(factory, provider)
        factory.pool()
        (point,) = collected(reader)["db.client.connection.max"].data.data_points

    assert point.attributes["server.address"] == flushed.socket_path
    assert "server.port" not in point.attributes
    assert "secret" not in str(point.attributes)


def test_a_pool_that_is_not_measured_pays_nothing(flushed: Valkey) -> None:
    """Without `instrument` nobody is told anything."""
    with PoolFactory(flushed.url, live_directory="") as factory:
        assert factory.pool().measuring is None


def test_instruments_keep_no_factory_alive(
    flushed: Valkey, provider: MeterProvider, reader: InMemoryMetricReader, tmp_path: Path
) -> None:
    """A factory that is dropped is gone, and its instruments have nothing more to say."""
    factory = PoolFactory(flushed.url, live_directory=tmp_path)
    instrument(factory, provider)
    factory.close(0)
    reference = weakref.ref(factory)
    del factory
    gc.collect()

    assert reference() is None
    assert reader.get_metrics_data() is None
