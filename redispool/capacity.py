"""Capacity: all the slots of a pool, how many there are, and which are in use."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from .cells import Cells, Counts
from .events import Channel
from .figures import Record
from .flag import Flag
from .gate import Gate
from .queueing import LOOK_AGAIN, SlotQueue
from .slots import Place, Slot

if TYPE_CHECKING:
    from .holding import Holding


class Capacity:
    """The slots of one pool in one process; a forked child begins with a new one.

    It knows every slot but owns only the free ones: a slot in use belongs to whoever holds it, and
    comes back through `free`, or through its finalizer.

    Args:
        size: how many slots there are.
        gate: says when a free slot may be used to dial.
        channel: where it is told what happens; without it nobody hears of that.
    """

    def __init__(self, size: int, gate: Gate, channel: Channel | None = None) -> None:
        self.size = size
        self.gate = gate
        self.channel = channel or Channel()
        self.cells = Cells()
        self.queue = SlotQueue(gate, self.cells)
        self.reference = weakref.ref(self)
        self.shut = Flag()
        """Set when the pool is closed: no slot is given out any more."""
        self.returned = Flag()
        """Set when a slot has ended; cleared by those who wait for that."""
        self.counts = Counts(self.cells)
        """What happened in the pool as a whole."""
        self._places: dict[Place, bool] = {}  # a set that can be listed in one step
        self._ended: list[Record] = []
        """Of places that are no more; the next new ones go on in them."""
        self.surplus: list[None] = []
        """A token for each slot in use that is one too many, and ends when it comes back."""
        self._resizing = threading.Lock()
        self._settled = True
        shut = self.shut
        self.cells.show("dialled_at", lambda: gate.dialled_at)
        self.cells.show("reached_at", lambda: gate.reached_at)
        self.cells.show("away_since", lambda: gate.outage.since if gate.outage else 0.0)
        self.cells.show("shut", lambda: float(shut.is_set()))
        self.cells.show("max_connections", lambda: float(size))
        for _ in range(size):
            self._add()

    def free(self, slot: Slot) -> None:
        """The slot is empty: a permit again, or gone where the pool was closed or made smaller."""
        slot.held = None
        if slot.capacity is not self.reference or slot.reference() is None:
            return  # of the parent process, or a collection has taken it: another follows
        slot.record.note_empty()
        if self.shut.is_set() or self._pay_surplus():
            self._end(slot)
            return
        self.queue.give_permit(slot)
        if self.shut.is_set():  # at this very moment
            self.queue.permits.clear()

    def reclaim(self, slot: Slot) -> None:
        """Put another in the place of a slot that was dropped. For its finalizer; takes no lock."""
        self._succeed(slot.place, slot.turn, slot.reference)

    def heal(self) -> None:
        """Fill the places of slots whose finalizer was itself interrupted, by a signal handler."""
        for place in list(self._places):
            turn, reference = place.newest()
            if reference is None or reference() is None:
                self._succeed(place, turn, reference)

    def abandon(self, slot: Slot) -> None:
        """Take back the slot of a caller who failed, to connect or later.

        Another is put in its place: tracebacks may keep this one, and what came of it, for long.
        """
        connection = slot.held() if slot.held is not None else None
        if connection is not None:
            connection.end()
        self.gate.leave(slot)
        self.reclaim(slot)

    def resize(self, size: int) -> list[Holding]:
        """Have `size` slots; gives the idle connections that are too many, for the caller to close.

        Slots in use that are too many end when they are given back.
        """
        # It takes microseconds: a lock that is held for longer was left behind by an interruption.
        if not self._resizing.acquire(timeout=LOOK_AGAIN):
            self._resizing = threading.Lock()
            self._resizing.acquire()
        try:
            return self._become(size)
        finally:
            self._resizing.release()

    def _become(self, size: int) -> list[Holding]:
        # The old size is exact while others give back; where the last change was interrupted, only
        # what is there tells what is missing.
        present = self.size if self._settled else len(self._places) - len(self.surplus)
        self._settled, self.size, more = False, size, size - present
        self.cells.show("max_connections", lambda: float(size))
        for _ in range(0 if self.shut.is_set() else more):
            if not self._pay_surplus():
                self._add()
        idle = [idle for _ in range(-more) if (idle := self._take_away_one()) is not None]
        self._settled = True
        return idle

    def slots(self) -> list[Slot]:
        """All slots, free or in use."""
        newest = (place.newest()[1] for place in list(self._places))
        found = (reference() for reference in newest if reference is not None)
        return [slot for slot in found if slot is not None]

    def records(self) -> list[Record]:
        """What happened in all places, those that ended among them."""
        return [place.record for place in list(self._places)] + list(self._ended)

    def connections(self) -> list[Holding]:
        """All connections, idle or in use."""
        held = (slot.held for slot in self.slots())
        found = (reference() for reference in held if reference is not None)
        return [connection for connection in found if connection is not None]

    def hopeless(self, now: float) -> bool:
        """Whether the server has been away for so long that nobody shall wait for it."""
        if self.gate.outage is None:
            return False
        # 0 where no connection ever came back in order.
        returns = (connection.last_used for connection in self.connections())
        return self.gate.hopeless(now, max(returns, default=0.0))

    def _take_away_one(self) -> Holding | None:
        """End a permit, else an idle connection's slot, else the next one that comes back."""
        try:
            self._end(self.queue.permits.popleft())
            return None
        except IndexError:
            pass
        try:
            idle = self.queue.idle.popleft()
        except IndexError:
            self.surplus.append(None)
            return None
        if idle.slot is not None:
            self._end(idle.slot)
        return idle

    def _pay_surplus(self) -> bool:
        try:
            self.surplus.pop()
        except IndexError:
            return False
        return True

    def _add(self) -> None:
        try:
            place = Place(self._ended.pop())
        except IndexError:
            place = Place(Record())
        self._places[place] = True
        self._succeed(place, *place.newest())

    def _succeed(self, place: Place, turn: int, reference: weakref.ref[Slot] | None) -> None:
        """Let another slot follow that of `turn` in its place: once, however often it is tried.

        An interruption before the one step that settles it leaves all to the next try, and one
        after it drops the new slot, which is followed by another in the same way.
        """
        if place not in self._places or place.slots.get(turn) is not reference:
            return  # the place is no more, or it has been followed already
        slot = Slot(self.reference, place, turn + 1)
        if place.slots.setdefault(turn + 1, slot.reference) is slot.reference:
            place.slots.pop(turn - 1, None)
            self.free(slot)

    def _end(self, slot: Slot) -> None:
        if self._places.pop(slot.place, False):  # from here on nothing follows this slot
            slot.record.note_empty()
            self._ended.append(slot.record)
        self.returned.set()
