from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from redispool import PoolFactory
from redispool.figures import BOUNDS, LEASED, OPEN, SINCE, STATE, Record
from redispool.prometheus import HostCollector, PoolCollector
from tests.support import Valkey, eventually

Scrape: TypeAlias = Callable[[CollectorRegistry], list[Any]]


def as_text(registry: CollectorRegistry) -> list[Any]:
    """The metrics, as prometheus-client's parser reads its text format."""
    return list(text_string_to_metric_families(generate_latest(registry).decode()))


def as_openmetrics(registry: CollectorRegistry) -> list[Any]:
    """The same in OpenMetrics, whose parser is strict."""
    text = exposition.generate_latest(registry).decode()
    return list(parser.text_string_to_metric_families(text))


@pytest.fixture(params=[as_text, as_openmetrics])
def scrape(request: pytest.FixtureRequest) -> Scrape:
    """Scrapes a registry, in each of the two formats."""
    found: Scrape = request.param
    return found


@pytest.fixture
def factory(flushed: Valkey, tmp_path: Path) -> Iterator[PoolFactory]:
    """A factory whose figures only this test sees, with two connections."""
    options = {"URL": flushed.url, "MAX_CONNECTIONS": 2}
    with PoolFactory({"default": options}, live_directory=tmp_path / "live") as factory:
        yield factory


def registered(collector: PoolCollector | HostCollector) -> CollectorRegistry:
    """A registry with a collector in it."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def samples(families: list[Any]) -> list[Sample]:
    """All samples of all metrics."""
    return [sample for family in families for sample in family.samples]


def value(families: list[Any], name: str, **labels: str) -> float:
    """The one sample of this name that has these labels, and perhaps more."""
    (found,) = [
        sample.value
        for sample in samples(families)
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return float(found)


def busy(factory: PoolFactory) -> None:
    """Give all figures something to tell: waiting, time-outs, closing, subscriptions."""
    pool = factory.pool()
    held = [pool.acquire(), pool.acquire()]
    with pytest.raises(Exception, match="no connection came free"):
        pool.acquire(timeout=0)
    waiting = threading.Thread(target=lambda: pool.release(pool.acquire(60)))
    waiting.start()
    eventually(lambda: pool.stats().waiting == 1)
    for connection in held:
        pool.release(connection)
    waiting.join()
    pool.resize(1)
    factory.client().ping()


def test_the_metrics_are_the_figures_of_the_pool(factory: PoolFactory, scrape: Scrape) -> None:
    """What a parser of Prometheus reads is what ``stats()`` says, in both formats."""
    busy(factory)

    with factory.pool().connection():
        stats = factory.pool().stats()
        found = scrape(registered(PoolCollector(factory)))

    pool = {"alias": "default", "face": "threads"}
    assert value(found, "redispool_max_connections", **pool) == 1
    for state, number in (("idle", stats.idle), ("used", 1), ("connecting", 0)):
        assert value(found, "redispool_connections", state=state, **pool) == number
    for result, number in (("acquired", stats.acquired_total), ("timeout", 1), ("failed", 0)):
        assert value(found, "redispool_requests_total", result=result, **pool) == number
    assert value(found, "redispool_connections_closed_total", reason="resized", **pool) == 1
    assert value(found, "redispool_checks_total", kind="look", **pool) == 0
    assert value(found, "redispool_connect_seconds_count", **pool) == stats.created_total == 2
    assert value(found, "redispool_connect_seconds_sum", **pool) == stats.create_seconds_sum > 0
    assert value(found, "redispool_pool_info", server=stats.server, **pool) == 1


def test_times_are_histograms(factory: PoolFactory, scrape: Scrape) -> None:
    """Buckets add up from the lowest bound to all; count and sum are those of the pool."""
    busy(factory)
    stats = factory.pool().stats()

    found = scrape(registered(PoolCollector(factory)))

    for what, buckets, total in (
        ("wait", stats.wait_buckets, stats.wait_seconds_sum),
        ("use", stats.use_buckets, stats.use_seconds_sum),
    ):
        name = f"redispool_{what}_seconds"
        read = {
            float(sample.labels["le"]): sample.value
            for sample in samples(found)
            if sample.name == f"{name}_bucket"
        }
        assert [*read] == [*BOUNDS, float("inf")]
        assert [*read.values()] == [sum(buckets[: n + 1]) for n in range(len(buckets))]
        assert value(found, f"{name}_count") == sum(buckets) >= 1
        assert value(found, f"{name}_sum") == total
    assert sum(stats.wait_buckets) == stats.acquired_waited_total
    assert sum(stats.use_buckets) == stats.acquired_total


def test_names_follow_the_conventions(factory: PoolFactory) -> None:
    """All begin alike, have a text, and what only grows, and nothing else, ends in ``_total``."""
    factory.client().ping()

    for family in as_openmetrics(registered(HostCollector(factory))):
        assert family.name.startswith("redispool_")
        assert family.documentation.endswith(".")
        assert family.type != "unknown"
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")


def test_both_faces_are_told_apart(factory: PoolFactory, scrape: Scrape) -> None:
    """The pool for threads and that for asyncio have series of their own, once they were used."""
    registry = registered(PoolCollector(factory))
    assert samples(scrape(registry)) == []

    factory.client().ping()
    asyncio.run(ping_twice(factory))

    found = scrape(registry)
    assert value(found, "redispool_connect_seconds_count", face="threads") == 1
    assert value(found, "redispool_requests_total", face="asyncio", result="acquired") == 2


async def ping_twice(factory: PoolFactory) -> None:
    """Two commands."""
    await factory.async_client().ping()
    await factory.async_client().ping()


@pytest.mark.parametrize("collector", [PoolCollector, HostCollector])
def test_registering_does_nothing(factory: PoolFactory, collector: Any, tmp_path: Path) -> None:
    """To be registered, a collector makes no pool and reads nothing, yet a clash is refused."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(collector(factory))

    assert factory.pools() == []
    assert not (tmp_path / "live").exists()
    factory.client().ping()
    assert not any(family.samples for family in collector(factory).describe())
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(collector(factory))


def test_of_the_host_each_process_has_its_own_series(factory: PoolFactory, scrape: Scrape) -> None:
    """Series say of which process they are, and since when it has the pool."""
    factory.client().ping()

    found = scrape(registered(HostCollector(factory)))

    own = {"alias": "default", "face": "threads", "pid": str(os.getpid())}
    assert value(found, "redispool_requests_total", result="acquired", **own) == 1
    (live,) = factory.live()
    assert value(found, "redispool_pool_start_time_seconds", **own) == live.started
    assert value(found, "redispool_pool_info", program=live.program, **own) == 1
    assert value(found, "redispool_live_readable") == 1


def test_figures_that_cannot_be_read_are_told(flushed: Valkey, scrape: Scrape) -> None:
    """Where no process shows figures the scrape succeeds, and says just that."""
    with PoolFactory(flushed.url, live_directory="") as factory:
        factory.client().ping()
        found = samples(scrape(registered(HostCollector(factory))))

    assert [(sample.name, sample.value) for sample in found] == [("redispool_live_readable", 0)]


def test_no_bucket_falls_while_a_connection_changes_hands() -> None:
    """A reader who comes between two steps of a checkout finds no number below an earlier one.

    Prometheus takes a counter that falls for one that began anew, and counts all of it again.
    """
    record = Record()
    record.note_created(0.0)
    record.note_use(0.0001)
    record.note_use(0.002)
    before = record.uses

    record.cells[STATE] = OPEN
    record.cells[SINCE] = 1.0  # a holder has come, but is not counted yet
    assert record.uses == before == (1, 1, *[0] * (len(BOUNDS) - 1))
    record.cells[LEASED] += 1
    assert record.uses == before
