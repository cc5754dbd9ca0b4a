"""Returns: the assertion that nobody holds a connection any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeAlias

from redispool import fork, leases
from redispool.factory import PoolFactory
from redispool.leases import Lease
from redispool.lending import Lending

Held: TypeAlias = "tuple[Lending, Lease]"
"""A connection that somebody holds: whose it is, and what is known of the holder."""


def assert_all_returned(*pools: Lending | PoolFactory, within: float = 1.0) -> None:
    """Assert that all connections of `pools` were given back; nothing is done to the pools.

    Args:
        pools: pools or factories; ``*all_pools()`` for those of the whole process.
        within: seconds for threads that are about to give theirs back.

    Raises:
        AssertionError: somebody holds a connection. The message has a line for each: its pool, who
            holds it, since when, and the line of code that took it.
    """
    __tracebackhide__ = True  # of pytest's: the message has the lines that matter
    assert_returned(partial(held_of, pools), within)


def all_pools() -> list[Lending]:
    """All pools of this process, those of subscriptions among them."""
    return [each for each in fork.registered() if isinstance(each, Lending)]


def assert_returned(look: Callable[[], Collection[Held]], within: float) -> None:
    """Assert that `look` finds nothing `within` so many seconds."""
    __tracebackhide__ = True
    deadline = time.monotonic() + within
    while left := look():
        if time.monotonic() >= deadline:
            raise AssertionError(describe(left))
        time.sleep(0.002)


def held_of(pools: Iterable[Lending | PoolFactory]) -> list[Held]:
    """The leases of now, of all that `pools` made among them."""
    found: list[Lending] = []
    for each in pools:
        if isinstance(each, PoolFactory):
            found += [*each._pools.values(), *each._async_pools.values()]
        else:
            found.append(each)
    for pool in list(found):
        found += pool._subscriptions.values()
    # A pool of subscriptions may have been named beside its own.
    return [(pool, lease) for pool in dict.fromkeys(found) for lease in leases.current(pool)]


def describe(held: Collection[Held]) -> str:
    """A line for each connection that somebody holds."""
    now = time.monotonic()
    lines = [f"pool {pool.alias!r}: {in_words(lease, now)}" for pool, lease in held]
    return "\n  ".join([f"not given back: {len(lines)}", *lines])


def in_words(lease: Lease, now: float) -> str:
    """The holder; without where this very thread is now, for that is in the assertion."""
    if lease.place or not lease.is_ours():
        return lease.describe(now)
    return f"held for {now - lease.since:.1f} s by {lease.holder()}, taken with acquire()"
