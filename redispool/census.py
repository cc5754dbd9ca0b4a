"""The census: the figures of a pool, gathered from its places and counters without stopping it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from . import leases
from .slots import Tally
from .stats import PoolStats

if TYPE_CHECKING:
    from .lifecycle import Lifecycle

CLOSE_REASONS = (
    "dead_at_checkout",
    "dead_in_use",
    "dirty_pending",
    "dirty_tainted",
    "drained",
    "idle",
    "lifetime",
    "pool_closed",
    "read_only",
    "resized",
)


def take_stats(pool: Lifecycle) -> PoolStats:
    """What `pool` does now and did so far."""
    now = monotonic()
    leases.report_leaks(pool, now)
    capacity, counts = pool.capacity, pool.counts
    capacity.heal()
    tally = Tally.total(capacity.tallies())
    held, outage = leases.current(pool), capacity.gate.outage
    in_use = sum(1 for connection in capacity.connections() if connection.lease and connection.born)
    idle, permits = len(capacity.queue.idle), len(capacity.queue.permits)
    others = len(capacity.slots()) - idle - in_use - permits
    return PoolStats(
        alias=pool.alias,
        server=pool.options.server,
        max_connections=capacity.size,
        min_idle=pool.options.min_idle,
        max_waiting=pool.options.max_waiting,
        idle=idle,
        in_use=in_use,
        connecting=max(others, 0),  # not below 0, should a place change hands meanwhile
        permits=permits,
        waiting=capacity.queue.count(),
        pubsub=len(leases.current(pool.subscriptions)),
        pubsub_timeouts_total=pool.subscriptions.counts["timeouts"],
        acquired_total=tally.acquired,
        acquired_waited_total=tally.waited,
        timeouts_total=counts["timeouts"],
        rejected_total=counts["rejected"],
        cancelled_total=counts["cancelled"],
        failed_total=counts["failed"],
        wait_seconds_sum=tally.wait_seconds,
        wait_seconds_max=tally.wait_longest,
        created_total=tally.created,
        create_failed_total=counts["create_failed"],
        create_seconds_sum=tally.create_seconds,
        shared_commands_total=tally.shared,
        shared_in_flight=pool.shared_in_flight,
        away_seconds=now - outage.since if outage else 0.0,
        away_reason=str(outage.error) if outage else "",
        closed_total={reason: pool.evictor.closings[reason] for reason in CLOSE_REASONS},
        reclaimed_total=capacity.reclaimed["connections"],
        misuse_total=counts["misuse"],
        checks_total={kind: pool.fitness.checks[kind] for kind in ("look", "ping")},
        leak_suspects=len(leases.suspects(pool, now)),
        oldest_lease_seconds=now - held[0].since if held else 0.0,
        closed=pool.closed,
    )
