"""Prometheus: the figures of the pools as metrics, of this process or of all on the host.

Needs the extra ``prometheus``. Nothing is counted twice for it: a scrape reads what the pools keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .factory import PoolFactory
from .figures import BOUNDS
from .live import LivePool, Unreadable
from .stats import PoolStats

__all__ = ["HostCollector", "PoolCollector"]

Labels: TypeAlias = tuple[str, ...]
Rows: TypeAlias = list[tuple[Labels, PoolStats]]
"""The figures of each pool, with the values of its labels."""

GAUGES = {
    "max_connections": ("max_connections", "Connections that the pool opens at the most."),
    "min_idle_connections": ("min_idle", "Idle connections that are not closed for being idle."),
    "max_waiting_requests": (
        "max_waiting",
        "Callers above this number are turned away at once; 0 is no limit.",
    ),
    "waiting_requests": ("waiting", "Callers who wait for a connection now."),
    "oldest_wait_seconds": ("oldest_wait_seconds", "How long the first in the queue has waited."),
    "oldest_lease_seconds": ("oldest_lease_seconds", "How long the longest holder has held on."),
    "leak_suspects": ("leak_suspects", "Connections held for longer than LEAK_THRESHOLD."),
    "pubsub_connections": ("pubsub", "Connections held by subscriptions, bounded apart."),
    "shared_commands_in_flight": (
        "shared_in_flight",
        "Commands that wait on connections which they share.",
    ),
    "server_away_seconds": (
        "away_seconds",
        "How long the server has been away; 0 while nothing is known against it.",
    ),
    "pool_closed": ("closed", "1 where the pool was closed."),
}
"""Metric → field of `PoolStats`, and what the metric says."""

COUNTERS = {
    "commands": ("commands_total", "Commands that were sent for the application."),
    "connection_failures": ("create_failed_total", "Connections that could not be opened."),
    "connections_reclaimed": (
        "reclaimed_total",
        "Connections that were dropped without being given back.",
    ),
    "shared_commands": ("shared_commands_total", "Commands that shared a connection."),
    "pubsub_timeouts": (
        "pubsub_timeouts_total",
        "Subscriptions that found all MAX_PUBSUB connections in use.",
    ),
    "misuse": (
        "misuse_total",
        "Connections given back twice, or to a pool that had not lent them.",
    ),
}

STATES = {"idle": "idle", "used": "in_use", "connecting": "connecting"}
RESULTS = {
    "acquired": "acquired_total",
    "timeout": "timeouts_total",
    "rejected": "rejected_total",
    "cancelled": "cancelled_total",
    "failed": "failed_total",
}
"""Value of the label → field."""


class PoolCollector(Collector):
    """The pools that this process has used, by ``alias`` and ``face`` (threads or asyncio).

    For a process that is a target of its own. Of several workers behind one address each scrape
    would reach another one: there use `HostCollector`.

    Args:
        factory: the pools. ``registry.register(PoolCollector(factory))``.
    """

    def __init__(self, factory: PoolFactory) -> None:
        self._factory = factory

    def collect(self) -> Iterator[Metric]:
        """The metrics of now; called at each scrape."""
        yield from _of_process([(pool.face, pool.stats()) for pool in self._factory.pools()])

    def describe(self) -> Iterator[Metric]:
        """The metrics without values: registering asks no pool."""
        yield from _of_process([])


class HostCollector(Collector):
    """The pools of all processes of the application on this host, by ``alias``, ``face``, ``pid``.

    Any of the processes may answer the scrape, or one of its own: all read the same files, and
    prometheus-client's directory for many processes is not needed. The series of a process end with
    it and no other one goes on with them, so no counter falls: take ``rate`` first, and ``sum``
    what it gives.

    Where the files cannot be read ``redispool_live_readable`` is 0 and there are no pools.

    Args:
        factory: the pools, used here or not.
    """

    def __init__(self, factory: PoolFactory) -> None:
        self._factory = factory

    def collect(self) -> Iterator[Metric]:
        """The metrics of now; called at each scrape."""
        try:
            pools, readable = self._factory.live(), True
        except Unreadable:
            pools, readable = [], False
        yield from _of_host(pools)
        yield _readable([readable])

    def describe(self) -> Iterator[Metric]:
        """The metrics without values: registering reads no file."""
        yield from _of_host([])
        yield _readable([])


def _of_process(pools: Iterable[tuple[str, PoolStats]]) -> Iterator[Metric]:
    names = ("alias", "face")
    rows: Rows = [((stats.alias, face), stats) for face, stats in pools]
    yield from families(names, rows)
    yield _info(names, [(labels, {"server": stats.server}) for labels, stats in rows])


def _of_host(pools: Iterable[LivePool]) -> Iterator[Metric]:
    names = ("alias", "face", "pid")
    labelled = [((pool.stats.alias, pool.face, str(pool.process)), pool) for pool in pools]
    yield from families(names, [(labels, pool.stats) for labels, pool in labelled])
    text = "When the process first used the pool, in seconds since 1970."
    started = GaugeMetricFamily("redispool_pool_start_time_seconds", text, labels=names)
    for labels, pool in labelled:
        started.add_metric(labels, pool.started)
    yield started
    about = [
        (labels, {"server": pool.stats.server, "program": pool.program})
        for labels, pool in labelled
    ]
    yield _info(names, about)


def families(names: Labels, rows: Rows) -> Iterator[Metric]:
    """The metrics of pools.

    Args:
        names: of the labels.
        rows: may be none.
    """
    for name, (field, text) in GAUGES.items():
        gauge = GaugeMetricFamily(f"redispool_{name}", text, labels=names)
        for labels, stats in rows:
            gauge.add_metric(labels, float(getattr(stats, field)))
        yield gauge
    for name, (field, text) in COUNTERS.items():
        counter = CounterMetricFamily(f"redispool_{name}", text, labels=names)
        for labels, stats in rows:
            counter.add_metric(labels, getattr(stats, field))
        yield counter
    yield from _by_kind(names, rows)
    yield from _times(names, rows)


def _by_kind(names: Labels, rows: Rows) -> Iterator[Metric]:
    """What has one label more."""
    text = "Connections, and places where one is being opened or checked, by state."
    connections = GaugeMetricFamily("redispool_connections", text, labels=(*names, "state"))
    text = "Requests for a connection that have ended, by result."
    requests = CounterMetricFamily("redispool_requests", text, labels=(*names, "result"))
    text = "Connections closed, by reason."
    closed = CounterMetricFamily("redispool_connections_closed", text, labels=(*names, "reason"))
    text = "Checks before lending an idle connection, by kind."
    checks = CounterMetricFamily("redispool_checks", text, labels=(*names, "kind"))
    for labels, stats in rows:
        for state, field in STATES.items():
            connections.add_metric((*labels, state), getattr(stats, field))
        for result, field in RESULTS.items():
            requests.add_metric((*labels, result), getattr(stats, field))
        for reason, number in stats.closed_total.items():
            closed.add_metric((*labels, reason), number)
        for kind, number in stats.checks_total.items():
            checks.add_metric((*labels, kind), number)
    yield from (connections, requests, closed, checks)


def _times(names: Labels, rows: Rows) -> Iterator[Metric]:
    text = "Time in the queue of those who had to wait for a connection, and got one."
    wait = HistogramMetricFamily("redispool_wait_seconds", text, labels=names)
    text = "Time from taking a connection to giving it back; the sum is of uses of 1 ms and more."
    use = HistogramMetricFamily("redispool_use_seconds", text, labels=names)
    text = "Connections opened, and the time that connecting took."
    connect = SummaryMetricFamily("redispool_connect_seconds", text, labels=names)
    for labels, stats in rows:
        wait.add_metric(labels, _cumulative(stats.wait_buckets), stats.wait_seconds_sum)
        use.add_metric(labels, _cumulative(stats.use_buckets), stats.use_seconds_sum)
        connect.add_metric(labels, stats.created_total, stats.create_seconds_sum)
    yield from (wait, use, connect)


def _cumulative(buckets: Iterable[int]) -> list[tuple[str, float]]:
    """Each bucket with all below it, as Prometheus has them."""
    bounds = [*map(str, BOUNDS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(buckets)), strict=True))


def _info(names: Labels, rows: Iterable[tuple[Labels, dict[str, str]]]) -> Metric:
    info = InfoMetricFamily("redispool_pool", "Which pool it is; always 1.", labels=names)
    for labels, about in rows:
        info.add_metric(labels, about)
    return info


def _readable(values: Iterable[bool]) -> Metric:
    gauge = GaugeMetricFamily(
        "redispool_live_readable",
        "0 where the figures of the host's processes cannot be read, or no process shows any.",
        labels=(),
    )
    for value in values:
        gauge.add_metric((), float(value))
    return gauge
