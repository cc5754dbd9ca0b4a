"""What the pool's errors say: which pool, what was found, who is in the way, what to change."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from . import leases
from .errors import PoolTimeout, ServerUnavailable, TooManyWaiting

if TYPE_CHECKING:
    from .gate import Outage
    from .lifecycle import Lifecycle

FORKED = (
    "this connection was lent in the parent process; a forked child takes its own from the pool"
)


def timed_out(pool: Lifecycle, waited: float) -> PoolTimeout:
    """The error of a caller who waited in vain for `waited` seconds."""
    start = f"pool {pool.alias!r}: no connection came free within {waited:.2f} s"
    return _exhausted(PoolTimeout, pool, start, waited)


def nothing_came(pool: Lifecycle, started: float, now: float) -> RedisError:
    """The error of a caller who waited since `started` in vain, for a connection or the server."""
    outage = pool.capacity.gate.outage
    if outage is None:
        return timed_out(pool, now - started)
    to_blame = pool.capacity.queue.permits or pool.capacity.hopeless(now)
    error = unavailable(pool, outage, now) if to_blame else timed_out(pool, now - started)
    error.__cause__ = outage.error
    return error


def unavailable(pool: Lifecycle, outage: Outage, now: float) -> ServerUnavailable:
    """The error of a caller who is told at once that the server is away."""
    return ServerUnavailable(
        f"pool {pool.alias!r}: the server {pool.options.server} has been away for "
        f"{now - outage.since:.1f} s, failed dials: {outage.failures}, the last: {outage.error}"
    )


def name_the_setting(pool: Lifecycle, error: Exception) -> None:
    """Let the message of a server that refused the credentials say where they come from."""
    which = "CREDENTIAL_PROVIDER" if pool.options.credential_provider else "PASSWORD"
    setting = f'REDISPOOL["{pool.alias}"]["{which}"]'
    error.args = (f"{error} (see {setting}, or the URL)", *error.args[1:])


def gone_away(pool: Lifecycle, outage: Outage) -> str:
    """What the log says at the beginning of an outage."""
    return (
        f"pool {pool.alias!r}: the server {pool.options.server} cannot be reached "
        f"({outage.error}); one caller at a time tries again, and the log says when it is back"
    )


def back_again(pool: Lifecycle, outage: Outage, now: float) -> str:
    """What the log says at the end of an outage."""
    return (
        f"pool {pool.alias!r}: the server {pool.options.server} is back after "
        f"{now - outage.since:.1f} s (failed dials: {outage.failures})"
    )


def too_many_waiting(pool: Lifecycle) -> PoolTimeout:
    """The error of a caller who finds the queue full."""
    limit = pool.options.max_waiting
    start = f"pool {pool.alias!r}: {limit} callers are waiting already (MAX_WAITING is {limit})"
    return _exhausted(TooManyWaiting, pool, start, 0.0)


def closed(pool: Lifecycle) -> str:
    """What `PoolClosed` says."""
    return f"pool {pool.alias!r} is closed; make a new one, or close it later"


def not_owned(pool: Lifecycle, connection: Any) -> str:
    """What `NotOwned` says of `connection`, given back to `pool`."""
    slot = getattr(connection, "slot", None)
    if slot is None and not getattr(connection, "born", 0):
        return f"pool {pool.alias!r} was given {connection!r}, which it never lent"
    if slot is not None and slot.capacity is not pool.capacity.reference:
        return f"pool {pool.alias!r} was given {connection!r}, which another pool lent"
    return f"pool {pool.alias!r} was given {connection!r} a second time"


def _exhausted(error: type[PoolTimeout], pool: Lifecycle, start: str, waited: float) -> PoolTimeout:
    now = monotonic()
    held, size = leases.current(pool), pool.capacity.size
    waiting = pool.capacity.queue.count()
    oldest = held[0].describe(now) if held else ""
    own = [lease for lease in held if lease.is_ours()]
    parts = [
        start,
        f"{len(held)} of {size} are in use and {waiting} others wait",
        f"the oldest is {oldest}" if oldest else "",
        f"this very {own[0].kind} holds {len(own)} of them" if own else "",
        f'raise REDISPOOL["{pool.alias}"]["{pool.size_option}"], or hold connections for less time',
    ]
    return error(
        "; ".join(part for part in parts if part),
        alias=pool.alias,
        waited=waited,
        in_use=len(held),
        max_connections=size,
        waiting=waiting,
        oldest=oldest,
    )
