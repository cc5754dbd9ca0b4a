"""Lending: what pools for threads and for asyncio do alike, for none of it waits."""

from __future__ import annotations

import weakref
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn, Self

from . import fork, leases, logs, wording
from .dropin import RedisPyPool, options_from
from .errors import ForkedLease, NotOwned, PoolClosed, PoolTimeout, TooManyWaiting
from .events import Channel, Hooks, Listeners, TimedOut
from .holding import Holding
from .lifecycle import Lifecycle
from .options import PoolOptions
from .policy import Policy
from .settings import DEFAULT
from .slots import GONE, Free, Slot


class Lending(Lifecycle, RedisPyPool, Hooks):
    """What is common to `ConnectionPool` and `AsyncConnectionPool`.

    Args:
        options: the options; where it is not given they come as keyword arguments.
        alias: the name of the pool in errors, logs, statistics and ``CLIENT LIST``.
        connection_class: a connection class of redis-py's to use, where the URL does not decide.
        base_path: the folder of the project, for ``embedded://``.

    Raises:
        InvalidOption: an option cannot be used.
    """

    def __init__(
        self,
        options: PoolOptions | None = None,
        *,
        alias: str = DEFAULT,
        connection_class: type[Any] | None = None,
        base_path: Path | None = None,
        **settings: Any,
    ) -> None:
        if options is not None and settings:
            raise TypeError(f"give PoolOptions or keyword arguments, not both: {list(settings)}")
        options = options or options_from(settings)
        super().__init__(options, alias, connection_class, base_path)
        self._subscriptions: dict[str, Self] = {}
        self.state_of_clients: dict[str, Any] | None = None
        """The attributes that all clients of the pool begin with."""
        self._next_look_for_leaks = 0.0
        self.policy = Policy.of(self.options)
        self.listeners = Listeners()
        self.channel = Channel(alias, self.options.server, self.face)
        self.channel.sources.append(self.listeners)
        self._begin(self.options.max_connections)
        fork.register(self)

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        """A pool for `url`; no option given beside it may contradict it."""
        return cls(url=url, **settings)

    # On the way to a connection

    def _lend(self, connection: Any, now: float) -> Any:
        slot_of(connection).record.note_acquired()
        connection.lend(now)
        return connection

    def _refuse_to_wait(self, started: float, *, first: bool) -> None:
        """Turn a caller away who shall not queue at all; `first` is one who was served in vain."""
        self.refuse_if_closed()
        limit = self.options.max_waiting
        if limit and self.capacity.queue.count() >= limit and not first:
            raise wording.too_many_waiting(self)
        threshold = self.options.leak_threshold
        if threshold is not None and started >= self._next_look_for_leaks:
            # All leases are looked at: not by each of many who have to wait at the same time.
            self._next_look_for_leaks = started + threshold / 10
            leases.report_leaks(self, started)

    def _came(self, free: Free | None, started: float, *, first: bool) -> Free:
        """What came of waiting since `started`; the error, where nothing did."""
        if free is None:
            self.refuse_if_closed()
            raise wording.nothing_came(self, started, monotonic())
        slot = free if isinstance(free, Slot) else slot_of(free)
        if not first:
            waited = monotonic() - started
            slot.record.note_wait(waited)
            if self.measuring is not None:
                self.measuring.waited(waited)
        return free

    def _note_failure(self, error: BaseException) -> None:
        """Count a checkout that ended in `error`, and tell of one that found all in use."""
        self.counts.add(outcome(error))
        if not isinstance(error, PoolTimeout):
            return
        reason = "too_many_waiting" if isinstance(error, TooManyWaiting) else "timeout"
        found = {name: getattr(error, name) for name in ("in_use", "waiting", "max_connections")}
        found |= {"reason": reason, "seconds": error.waited, "place": leases.caller()}
        logs.debug("%s", error, event="pool_timeout", alias=self.alias, **found)
        self.channel.tell(TimedOut, oldest=error.oldest, **found)

    def _in_vain(self, now: float) -> bool:
        return self.closed or self.capacity.hopeless(now)

    def _empty_place_of(self, free: Any, reason: str) -> Slot | None:
        """Close an idle connection; gives its place, where the gate lets the caller dial."""
        slot = slot_of(free)
        self.evictor.end(free, reason)
        slot.held = None
        if self.capacity.gate.admit(slot, monotonic()):
            return slot
        self.capacity.free(slot)
        return None

    # The way back

    def release(self, connection: Any) -> None:
        """Give a connection back; it is kept only if its next user would find it fresh.

        Raises:
            NotOwned: it was given back already, or it is of another pool.
            ForkedLease: it belongs to the parent process.
        """
        slot: Slot | None = getattr(connection, "slot", None)
        if slot is not None and (slot.capacity is GONE or slot.reference() is None):
            # A collection has taken the slot, and a generator of the same cycle gives back what it
            # held. The reference is cleared before any finalizer runs, or is not: both are seen.
            connection.end()
            return
        if slot is None or slot.capacity is not self.capacity.reference:
            self._refuse(connection)
        try:
            lease = connection.lease.pop()
        except IndexError:
            self._refuse(connection)
        now = monotonic()
        slot.record.note_use(now - lease.since)
        if lease.place:
            leases.report_return(self, lease, now)
        reason = self.fitness.reason_not_to_keep(connection, now)
        if reason:
            renew = self.fitness.tells_of_a_failover(connection, now)
            self.evictor.end(connection, reason)
            self.capacity.abandon(slot)
            if renew:
                self.recycle()
            return
        connection.last_used = now
        self.capacity.queue.give(connection)
        if now >= self.evictor.next_sweep:
            self.evictor.sweep(now)
        if connection.batch is not self.fitness.batch:
            self.evictor.end_stale()

    def _refuse(self, connection: Any) -> NoReturn:
        self.counts.add("misuse")
        if getattr(connection, "forked", False):
            raise ForkedLease(wording.FORKED)
        raise NotOwned(wording.not_owned(self, connection))

    def _for_subscriptions(self) -> Self:
        # A subscription is meant to be held for long: that is no leak.
        options = self.options.replace(
            max_connections=self.options.max_pubsub,
            min_idle=0,
            leak_threshold=None,
            cache=None,
            cache_config=None,
            multiplex=False,
        )
        pool = type(self)(options, alias=self.alias, connection_class=self.connection_class)
        pool.size_option = "MAX_PUBSUB"
        pool.channel.follow(self.channel)
        pool.directory, pool._serves = self.directory, weakref.ref(self)
        # A subscription is lent for long, so its own connection has to notice a dead line.
        pool._connection_kwargs = {
            **self._connection_kwargs,
            "health_check_interval": self.options.health_check_interval,
        }
        if self.closed:
            pool.close(0)
        return pool


def slot_of(connection: Holding) -> Slot:
    """The place of a connection that is idle or in use."""
    slot = connection.slot
    assert slot is not None
    return slot


def outcome(error: BaseException) -> str:
    """Under which name a checkout that ended in `error` is counted."""
    if isinstance(error, TooManyWaiting | PoolClosed):
        return "rejected"
    if isinstance(error, PoolTimeout):
        return "timeouts"
    return "failed" if isinstance(error, Exception) else "cancelled"
