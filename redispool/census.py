"""The census: the figures of a pool, gathered from its places and counters without stopping it."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from . import leases
from .cells import CHECKS, CLOSE_REASONS
from .figures import Total, percentile
from .stats import PoolStats

if TYPE_CHECKING:
    from .lifecycle import Lifecycle


def take_stats(pool: Lifecycle) -> PoolStats:
    """What `pool` does now and did so far."""
    now = monotonic()
    leases.report_leaks(pool, now)
    capacity, queue = pool.capacity, pool.capacity.queue
    capacity.heal()
    capacity.cells.show_all()
    held, outage = leases.current(pool), capacity.gate.outage
    in_use = sum(1 for connection in capacity.connections() if connection.lease and connection.born)
    idle, permits = len(queue.idle), len(queue.permits)
    counted = so_far(Total(capacity.records()), pool.counts)
    counted["commands_total"] += Total(pool.subscriptions.capacity.records()).commands
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
        waiting=queue.count(),
        oldest_wait_seconds=now - since if (since := queue.waiting_since()) else 0.0,
        pubsub=len(leases.current(pool.subscriptions)),
        pubsub_timeouts_total=pool.subscriptions.counts["timeouts"],
        shared_in_flight=pool.shared_in_flight,
        away_seconds=now - outage.since if outage else 0.0,
        away_reason=str(outage.error) if outage else "",
        leak_suspects=len(leases.suspects(pool, now)),
        oldest_lease_seconds=now - held[0].since if held else 0.0,
        closed=pool.closed,
        **counted,
    )


def so_far(total: Total, counts: Mapping[str, int]) -> dict[str, Any]:
    """Those fields of `PoolStats` that tell what happened since the process began.

    Args:
        total: of all places.
        counts: by the names of `redispool.cells.COUNTED`.
    """
    return {
        "acquired_total": total.acquired,
        "acquired_waited_total": total.waited,
        "commands_total": total.commands,
        "timeouts_total": counts["timeouts"],
        "rejected_total": counts["rejected"],
        "cancelled_total": counts["cancelled"],
        "failed_total": counts["failed"],
        **_spread("wait", total.waits, total.wait_seconds, total.wait_longest),
        **_spread("use", total.uses, total.use_seconds, total.use_longest),
        "created_total": total.created,
        "create_failed_total": counts["create_failed"],
        "create_seconds_sum": total.create_seconds,
        "shared_commands_total": total.shared,
        "closed_total": {reason: counts[f"closed {reason}"] for reason in CLOSE_REASONS},
        "reclaimed_total": counts["reclaimed"],
        "misuse_total": counts["misuse"],
        "checks_total": {kind: counts[f"checked {kind}"] for kind in CHECKS},
    }


def _spread(what: str, buckets: tuple[int, ...], seconds: float, longest: float) -> dict[str, Any]:
    return {
        f"{what}_seconds_sum": seconds,
        f"{what}_seconds_p50": percentile(0.50, buckets, longest),
        f"{what}_seconds_p95": percentile(0.95, buckets, longest),
        f"{what}_seconds_p99": percentile(0.99, buckets, longest),
        f"{what}_seconds_max": longest,
        f"{what}_buckets": buckets,
    }
