"""The cache that the connections of a pool share: redis-py's, which they use in turns."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any

from redis import cache as base
from redis.cache import CacheEntry, CacheEntryStatus, CacheFactory, CacheInterface

from .options import PoolOptions

PATIENCE = 1.0
"""Seconds that a turn at the cache may take; beyond, its holder was interrupted and left it so."""

if "redis_args" in {field.name for field in dataclasses.fields(base.CacheKey)}:
    CacheKey = base.CacheKey
else:

    @dataclasses.dataclass(frozen=True)
    class CacheKey(base.CacheKey):  # type: ignore[no-redef]
        """redis-py's until 7.0 takes two ``GETRANGE`` of one key for the same."""

        redis_args: tuple[Any, ...] = ()


class SharedCache:
    """The cache of one pool. redis-py's are not made for threads: these take turns.

    Args:
        cache: where the replies are; of redis-py's kind.
    """

    def __init__(self, cache: CacheInterface) -> None:
        self.cache = cache
        self._turn = threading.Lock()

    def holds(self, key: CacheKey, entry: CacheEntry) -> bool:
        """Whether `entry` is still there; it counts as used."""
        return bool(self._in_turn(lambda: self.cache.get(key) is entry))

    def keep(self, key: CacheKey, value: Any) -> CacheEntry | None:
        """The entry for a reply that was read just now; None where the cache does not want it."""
        entry: CacheEntry | None = self._in_turn(lambda: self._keep(key, value))
        return entry

    def drop(self, entries: Mapping[CacheKey, CacheEntry], patience: float = PATIENCE) -> None:
        """Remove these entries, but none that took their place."""
        if entries:
            self._in_turn(lambda: self._drop(entries), patience)

    def begin_again(self) -> None:
        """Forget everything: whoever has the turn does not live here any more."""
        self._turn = threading.Lock()
        self.cache.flush()

    def _keep(self, key: CacheKey, value: Any) -> CacheEntry | None:
        cache, entry = self.cache, self.cache.get(key)
        # The same reply for two connections is one entry: each new one would end the other's.
        if entry is None or entry.cache_value != value:
            entry = CacheEntry(key, value, CacheEntryStatus.VALID, connection_ref=None)
            if not cache.set(entry):
                return None
        while cache.config.is_exceeds_max_size(cache.size):
            cache.eviction_policy.evict_next()
        return entry

    def _drop(self, entries: Mapping[CacheKey, CacheEntry]) -> None:
        there = self.cache.collection
        self.cache.delete_by_cache_keys(
            [key for key, entry in entries.items() if there.get(key) is entry]
        )

    def _in_turn(self, work: Callable[[], Any], patience: float = PATIENCE) -> Any:
        turn = self._turn
        if not turn.acquire(timeout=patience):
            if patience:
                self.begin_again()
            return None
        try:
            return work()
        except (KeyError, RuntimeError, ValueError):
            return None  # its owner changed it at the same moment, and takes no turns
        finally:
            turn.release()


def shared_cache(options: PoolOptions) -> SharedCache | None:
    """The cache of a pool with these options, where it has one."""
    if options.cache is not None:
        return SharedCache(options.cache)
    if options.cache_config is not None:
        return SharedCache(CacheFactory(options.cache_config).get_cache())
    return None
