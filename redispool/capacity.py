"""Capacity: all the slots of a pool, how many there are, and which are in use."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from typing import TYPE_CHECKING

from .slots import Slot, SlotQueue, Tally

if TYPE_CHECKING:
    from .connection import PooledConnection


class Capacity:
    """The slots of one pool in one process; a forked child begins with a new one.

    It knows every slot but owns only the free ones: a slot in use belongs to whoever holds it, and
    comes back through `free`, or through its finalizer.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.queue = SlotQueue()
        self.reference = weakref.ref(self)
        self.shut = threading.Event()
        """Set when the pool is closed: no slot is given out any more."""
        self.returned = threading.Event()
        """Set when a slot ended after `shut`."""
        self.reclaimed: Counter[str] = Counter()
        self._slots: dict[int, weakref.ref[Slot]] = {}
        self._ended: list[Tally] = []
        self._surplus: list[None] = []  # a token for each slot in use that is one too many
        self._resizing = threading.Lock()
        for _ in range(size):
            self._add(Tally())

    def free(self, slot: Slot) -> None:
        """The slot is empty: a permit again, or gone where the pool was closed or made smaller."""
        slot.held = None
        if slot.capacity is not self.reference:
            return  # of the parent process
        if self.shut.is_set() or self._pay_surplus():
            self._end(slot)
            return
        self.queue.give(slot)
        if self.shut.is_set():  # at this very moment
            self.queue.permits.clear()

    def reclaim(self, slot: Slot) -> None:
        """Put another in the place of a slot that was dropped. For its finalizer; takes no lock."""
        if self._slots.pop(id(slot), None) is None:
            return
        if slot.forgotten:
            count(self.reclaimed, "connections")
        self.free(self._new(slot.tally))

    def abandon(self, slot: Slot) -> None:
        """Take back the slot of a caller who failed to connect.

        Another is put in its place: tracebacks may keep this one, and what came of it, for long.
        """
        connection = slot.held() if slot.held is not None else None
        if connection is not None:
            connection.end()
        self.reclaim(slot)

    def resize(self, size: int) -> list[PooledConnection]:
        """Have `size` slots; gives the idle connections that are too many, for the caller to close.

        Slots in use that are too many end when they are given back.
        """
        with self._resizing:
            more, self.size = size - self.size, size
            for _ in range(more):
                if not self._pay_surplus():
                    self._add(Tally())
            return [idle for _ in range(-more) if (idle := self._take_away_one()) is not None]

    @property
    def over_size(self) -> bool:
        """Whether the next slot that comes back is one too many."""
        return bool(self._surplus)

    def slots(self) -> list[Slot]:
        """All slots, free or in use."""
        # list(dict.values()) is one step in CPython: no lock is needed against the finalizers.
        found = (reference() for reference in list(self._slots.values()))
        return [slot for slot in found if slot is not None]

    def tallies(self) -> list[Tally]:
        """What happened in all places, those that ended among them."""
        return [slot.tally for slot in self.slots()] + list(self._ended)

    def connections(self) -> list[PooledConnection]:
        """All connections, idle or in use."""
        held = (slot.held for slot in self.slots())
        found = (reference() for reference in held if reference is not None)
        return [connection for connection in found if connection is not None]

    def _take_away_one(self) -> PooledConnection | None:
        """End a permit, else an idle connection's slot, else the next one that comes back."""
        try:
            self._end(self.queue.permits.popleft())
            return None
        except IndexError:
            pass
        try:
            idle = self.queue.idle.popleft()
        except IndexError:
            self._surplus.append(None)
            return None
        if idle.slot is not None:
            self._end(idle.slot)
        return idle

    def _pay_surplus(self) -> bool:
        try:
            self._surplus.pop()
        except IndexError:
            return False
        return True

    def _add(self, tally: Tally) -> None:
        self.queue.give(self._new(tally))

    def _new(self, tally: Tally) -> Slot:
        slot = Slot(self.reference, tally)
        self._slots[id(slot)] = weakref.ref(slot)
        return slot

    def _end(self, slot: Slot) -> None:
        if self._slots.pop(id(slot), None) is not None:
            self._ended.append(slot.tally)
        self.returned.set()


def count(counter: Counter[str], key: str) -> None:
    """Add one; exact among threads and safe in finalizers.

    ``Counter.update`` of an iterable is one step in CPython, where ``+= 1`` is three.
    """
    counter.update((key,))
