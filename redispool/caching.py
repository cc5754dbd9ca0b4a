"""Caching: replies that the server promises to take back, kept on this side.

A promise is made to the connection that read the reply (``CLIENT TRACKING``), and taken back on
that line. So the replies are kept once for the pool, in a cache of redis-py's; but a connection
serves only what the server promised to itself, after it has heard all that waits on its own line.
What another has read it asks for once, and then has the promise too. Nobody reads the line of
somebody else, and the order on one line says what is newer: a reply after an invalidation is.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.cache import CacheEntry
from redis.client import NEVER_DECODE

from .connection import PooledConnection
from .replies import VALUES
from .shared_cache import PATIENCE, CacheKey, SharedCache
from .wire import Wire

INVALIDATION = frozenset({"invalidate", b"invalidate"})


class Promises:
    """What the server promised to one session, to be used by the holder of its connection.

    Args:
        shared: where the replies are.
        encode: gives the bytes of a key.
        others: takes the pushes that take nothing back.
    """

    def __init__(
        self,
        shared: SharedCache,
        encode: Callable[[Any], bytes],
        others: Callable[[Any], Any],
    ) -> None:
        self.shared = shared
        self._encode, self._others = encode, others
        self._entries: dict[CacheKey, CacheEntry] = {}
        self._commands: dict[bytes, set[CacheKey]] = {}
        """The commands that read a key of the server."""

    def find(self, key: CacheKey) -> CacheEntry | None:
        """The entry that is promised, where the cache still holds it."""
        entry = self._entries.get(key)
        return entry if entry is not None and self.shared.holds(key, entry) else None

    def add(self, key: CacheKey, value: Any) -> None:
        """Keep a reply that this session has read."""
        entry = self.shared.keep(key, value)
        if entry is None:
            return
        if len(self._entries) >= 2 * self.shared.cache.config.get_max_size() + 1:
            self._clear_out()
        self._index(key)  # first: what is not in the index cannot be taken back
        self._entries[key] = entry

    def hear(self, push: Sequence[Any]) -> None:
        """Take back what a push of the server says; it says None for everything."""
        if push[0] not in INVALIDATION:
            self._others(push)
        elif push[1] is None:
            self.forget(PATIENCE)
        else:
            for name in push[1]:
                self._take_back(self._encode(name))

    def forget(self, patience: float = 0.0) -> None:
        """Drop all entries; without patience from finalizers too, which must not wait."""
        entries, self._entries, self._commands = self._entries, {}, {}
        self.shared.drop(entries, patience)

    def _take_back(self, name: bytes) -> None:
        keys = self._commands.get(name, ())
        gone = {key: entry for key in keys if (entry := self._entries.pop(key, None)) is not None}
        self._commands.pop(name, None)
        self.shared.drop(gone)

    def _index(self, key: CacheKey) -> None:
        for name in key.redis_keys:
            self._commands.setdefault(self._encode(name), set()).add(key)

    def _clear_out(self) -> None:
        """Forget what the cache has evicted since."""
        there = self.shared.cache.collection
        entries = self._entries.copy().items()
        kept = {key: entry for key, entry in entries if there.get(key) is entry}
        self._entries, self._commands = {}, {}
        for key in kept:
            self._index(key)
        self._entries = kept


class CachingConnection(PooledConnection):
    """A connection that answers from the cache of its pool what it was promised."""

    shared: SharedCache | None = None
    _promises: Promises | None = None
    """None also where redis-py's own code reads the replies."""
    _asked: CacheKey | None = None
    """The command whose reply comes next, where that is to be kept."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._found: list[Any] = []
        """The reply that comes next, where no server is needed for it."""
        super().__init__(*args, **kwargs)

    def _wire_up(self) -> None:
        super()._wire_up()
        if self.shared is not None and self._wire is not None:
            parser: Any = self._parser
            self._promises = Promises(self.shared, self.encoder.encode, parser.handle_push_response)
            # Not by redis-py's handler, which swallows what a signal handler raises in it.
            self._wire.take_push = self._promises.hear
            self.tracks = True

    def _unwire(self) -> None:
        self._break_promises()
        super()._unwire()

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        self._break_promises()
        super().disconnect(*args, **kwargs)

    def _break_promises(self) -> None:
        promises, self._promises = self._promises, None
        self.tracks, self._asked = False, None
        self._found.clear()
        if promises is not None:
            promises.forget()

    # Commands

    def ask(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        key = self._key_of(args, options)
        if key is None:
            return super().ask(args, options)
        found = self._look_up(key)
        if found is not None:
            return found
        reply = super().ask(args, options)
        self._keep(key, reply)
        return reply

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        key = self._key_of(args, kwargs)
        found = self._look_up(key) if key is not None else None
        if found is None:
            super().send_command(*args, **kwargs)
            self._asked = key
            return
        self.ledger.owed += 1  # who never reads it leaves a connection that nobody else gets
        self._found.append(found)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        if self._found:
            found = self._found.pop()
            self.ledger.owed -= 1
            return found
        key, self._asked = self._asked, None
        reply = super().read_response(*args, **kwargs)
        if key is not None:
            self._keep(key, reply)
        return reply

    def _key_of(self, args: Sequence[Any], options: Mapping[str, Any]) -> CacheKey | None:
        """The name in the cache; None where the server is to be asked in any case."""
        names = options.get("keys")
        if self.shared is None or not names or isinstance(names, str | bytes):
            return None
        if self._promises is None or NEVER_DECODE in options or not self._is_ordinary():
            return None
        try:
            key = CacheKey(args[0], tuple(names), tuple(args))
            return key if self.shared.cache.is_cachable(key) and hash(key) is not None else None
        except TypeError:
            return None  # one of the arguments may change later, as a bytearray

    def _is_ordinary(self) -> bool:
        """Whether the session is one like all others of the pool: no transaction, no pin."""
        return self.ledger.clean and bool(self.lease) and not self.lease[0].keeps_session

    def _look_up(self, key: CacheKey) -> Any:
        """A copy of the reply that is kept; None for none."""
        if not self._is_up_to_date():
            self.disconnect()  # and the command goes over a new line
        if self._promises is None:
            return None
        entry = self._promises.find(key)
        return None if entry is None else copied(entry.cache_value)

    def _keep(self, key: CacheKey, reply: Any) -> None:
        if reply is not None and self._promises is not None:
            self._promises.add(key, copied(reply))

    # What the server says by itself

    def alive(self) -> bool:
        if self._promises is None:
            return super().alive()
        return self._is_up_to_date()

    def _is_up_to_date(self) -> bool:
        """Take back what the server has asked for until now; False where the line is not well."""
        wire = self._wire
        if wire is None:
            return False
        try:
            if not self._is_silent(wire):
                self.ledger.owed += 1  # until all is heard: an interruption ends the session
                while not self._is_silent(wire):
                    if not wire.hear():
                        return False
                self.ledger.owed -= 1
        except Exception:
            return False
        return True

    def _is_silent(self, wire: Wire) -> bool:
        silent = wire.is_silent()
        return silent if silent is not None else not self.can_read(0)


@functools.cache
def caching(connection_class: type[Any]) -> type[Any]:
    """The same class of connections, with a cache."""
    name = f"Caching{connection_class.__name__}"
    return type(name, (CachingConnection, connection_class), {"__module__": __name__})


def copied(reply: Any) -> Any:
    """The reply, for somebody who may change it."""
    return reply if type(reply) in VALUES else copy.deepcopy(reply)
