"""OpenTelemetry: the pools as the semantic conventions have them, ``db.client.connection.*``.

Needs the extra ``otel``, which is the API alone; the application brings the SDK, if it measures.
Figures are read when the SDK collects. Two histograms need each value: those who waited and those
who connected tell it, which commands on an open connection do not pay for.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import TypeAlias

from opentelemetry.metrics import (
    CallbackOptions,
    Histogram,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
)

from .factory import PoolFactory
from .figures import BOUNDS
from .lending import Lending
from .stats import PoolStats

__all__ = ["instrument"]

SCHEMA = "https://opentelemetry.io/schemas/1.30.0"
"""The first release of the conventions that has all the names."""

Attributes: TypeAlias = dict[str, str | int]
Values: TypeAlias = Callable[[PoolStats], list[tuple[float, Attributes]]]

NAME = "db.client.connection"
UP_DOWN, COUNTER, GAUGE = "up_down_counter", "counter", "gauge"


def _field(name: str) -> Values:
    return lambda stats: [(getattr(stats, name), {})]


def _fields(attribute: str, names: dict[str, str]) -> Values:
    """One value for each field, under what `attribute` is then."""
    return lambda stats: [(getattr(stats, name), {attribute: key}) for key, name in names.items()]


def _entries(attribute: str, name: str) -> Values:
    """One value for each entry of a field."""
    return lambda stats: [(n, {attribute: key}) for key, n in getattr(stats, name).items()]


STATES = _fields(f"{NAME}.state", {"idle": "idle", "used": "in_use"})
RESULTS = {
    "ok": "acquired_total",
    "timeout": "timeouts_total",
    "rejected": "rejected_total",
    "cancelled": "cancelled_total",
    "failed": "failed_total",
}
READ: dict[str, tuple[str, str, str, Values]] = {
    # Of the conventions, in their words.
    f"{NAME}.count": (UP_DOWN, "{connection}", "Connections in the state described.", STATES),
    f"{NAME}.max": (
        UP_DOWN,
        "{connection}",
        "Open connections allowed.",
        _field("max_connections"),
    ),
    f"{NAME}.idle.min": (UP_DOWN, "{connection}", "Idle connections kept.", _field("min_idle")),
    f"{NAME}.pending_requests": (UP_DOWN, "{request}", "Callers who wait now.", _field("waiting")),
    f"{NAME}.timeouts": (COUNTER, "{timeout}", "Callers out of time.", _field("timeouts_total")),
    # Our own.
    "redispool.acquire": (
        *(COUNTER, "{request}", "Requests for a connection that have ended."),
        _fields("redispool.result", RESULTS),
    ),
    "redispool.connection.connecting": (
        *(UP_DOWN, "{connection}", "Connections being opened or checked."),
        _field("connecting"),
    ),
    "redispool.connection.pubsub": (
        *(UP_DOWN, "{connection}", "Connections held by subscriptions."),
        _field("pubsub"),
    ),
    "redispool.connection.closed": (
        *(COUNTER, "{connection}", "Connections closed."),
        _entries("redispool.reason", "closed_total"),
    ),
    "redispool.connection.failed": (
        *(COUNTER, "{connection}", "Connections that could not be opened."),
        _field("create_failed_total"),
    ),
    "redispool.connection.checks": (
        *(COUNTER, "{check}", "Checks before lending an idle connection."),
        _entries("redispool.kind", "checks_total"),
    ),
    "redispool.connection.use": (
        *(COUNTER, "s", "How long connections were in use, by uses of 1 ms and more."),
        _field("use_seconds_sum"),
    ),
    "redispool.command.sent": (
        *(COUNTER, "{command}", "Commands that were sent for the application."),
        _field("commands_total"),
    ),
    "redispool.command.shared": (
        *(COUNTER, "{command}", "Commands that shared a connection."),
        _field("shared_commands_total"),
    ),
    "redispool.lease.reclaimed": (
        *(COUNTER, "{lease}", "Connections dropped without being given back."),
        _field("reclaimed_total"),
    ),
    "redispool.lease.misuse": (
        *(COUNTER, "{lease}", "Connections given back twice, or to a wrong pool."),
        _field("misuse_total"),
    ),
    "redispool.lease.suspects": (
        *(GAUGE, "{lease}", "Connections held for longer than LEAK_THRESHOLD."),
        _field("leak_suspects"),
    ),
    "redispool.server.away": (
        *(GAUGE, "s", "How long the server has been away; 0 where it is not known to be."),
        _field("away_seconds"),
    ),
}
"""Instrument → kind, unit, description and values."""


def instrument(factory: PoolFactory, meter_provider: MeterProvider | None = None) -> None:
    """Let OpenTelemetry see the pools of `factory` that this process uses, now and later.

    To be called once in each process: where workers are forked, in each of them, after its
    provider was made.

    Args:
        factory: the pools. This does not keep it alive.
        meter_provider: the application's global one where it is not given.
    """
    meter = get_meter("redispool", metadata.version("redispool"), meter_provider, SCHEMA)
    reference = weakref.ref(factory)
    for name, (kind, unit, description, values) in READ.items():
        create = getattr(meter, f"create_observable_{kind}")
        create(name, [_reader(reference, values)], unit, description)
    factory.measure(_Histograms(meter).of)


def _reader(
    reference: weakref.ref[PoolFactory], values: Values
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(_: CallbackOptions) -> Iterator[Observation]:
        factory = reference()
        for pool in factory.pools() if factory is not None else []:
            common = attributes_of(pool)
            for value, own in values(pool.stats()):
                yield Observation(value, {**common, **own})

    return read


def attributes_of(pool: Lending) -> Attributes:
    """What the conventions want to know of a pool: its name, and the server; no credentials."""
    options = pool.options
    name = pool.alias if pool.face == "threads" else f"{pool.alias}/{pool.face}"
    attributes: Attributes = {f"{NAME}.pool.name": name, "db.system.name": "redis"}
    if options.transport == "embedded":
        return attributes  # the path is that of a folder
    if options.path is not None:
        attributes["server.address"] = options.path
    else:
        attributes |= {"server.address": options.host, "server.port": options.port}
    return attributes


class _Histograms:
    """What cannot be read afterwards: each wait, and each connection that was opened."""

    def __init__(self, meter: Meter) -> None:
        text = "Time in the queue of those who had to wait for a connection, and got one."
        self.wait = _seconds(meter, f"{NAME}.wait_time", text)
        self.create = _seconds(meter, f"{NAME}.create_time", "Time to create a connection.")

    def of(self, pool: Lending) -> _Times:
        """Where `pool` tells its times."""
        return _Times(self.wait, self.create, attributes_of(pool))


def _seconds(meter: Meter, name: str, description: str) -> Histogram:
    bounds = list(BOUNDS)
    return meter.create_histogram(
        name, "s", description, explicit_bucket_boundaries_advisory=bounds
    )


class _Times:
    """The times of one pool; see `redispool.measuring`."""

    def __init__(self, wait: Histogram, create: Histogram, attributes: Attributes) -> None:
        self._wait, self._create, self._attributes = wait, create, attributes

    def waited(self, seconds: float) -> None:
        self._wait.record(seconds, self._attributes)

    def connected(self, seconds: float) -> None:
        self._create.record(seconds, self._attributes)
