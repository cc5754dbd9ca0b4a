"""Slots: the capacity of a pool as objects.

A slot's finalizer gives its capacity back, so an interruption at any point loses nothing; therefore
nobody here keeps a reference to what has been handed out.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

from .figures import Record

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .capacity import Capacity
    from .holding import Holding


class _Nothing:
    pass


GONE: weakref.ref[Any] = weakref.ref(_Nothing())
"""The capacity of a slot that another has followed.

A collection calls the finalizers of a cycle in any order: that of a slot may come before the end of
a generator or a task, whose ``with`` block then gives back the connection in that slot.
"""


class Slot:
    """One unit of capacity: a permit to open a connection, or the place that an open one takes.

    Its figures are kept by its holder alone, so they are exact without a lock.
    """

    __slots__ = (
        "__weakref__",
        "capacity",
        "held",
        "loop",
        "origin",
        "place",
        "record",
        "reference",
        "turn",
    )

    def __init__(self, capacity: weakref.ref[Capacity], place: Place, turn: int) -> None:
        self.origin = capacity
        self.capacity = capacity
        """Where it goes back to: to `GONE`, once another has followed it."""
        self.place = place
        self.turn = turn
        """How many slots stood in this place before."""
        self.record = place.record
        self.held: weakref.ref[Holding] | None = None
        """The connection in this place, for those who look at the pool from outside."""
        self.loop: weakref.ref[AbstractEventLoop] | None = None
        """In which it is to become a connection; None where a thread sees to that."""
        self.reference = weakref.ref(self)

    @property
    def dialling(self) -> bool:
        """Whether this slot is to become a connection: it is no older one, and has none yet."""
        connection = self.held() if self.held is not None else None
        return self.place.newest()[0] == self.turn and not (connection and connection.born)

    @property
    def stands_still(self) -> bool:
        """Whether nothing comes of it for now: its loop does not run, and may go on or not."""
        reference = self.loop  # once: another thread may take it away
        loop = reference() if reference is not None else None
        return reference is not None and (loop is None or not loop.is_running())

    def show_in(self, record: Record) -> None:
        """Keep the figures in `record` from now on; to be called by the holder."""
        try:
            record.take_over(self.record)
            self.place.record = record
        finally:
            if self.place.record is not record:  # interrupted: nothing may count twice
                record.clear()
        self.record = record

    def __del__(self) -> None:
        # Without attributes where an interruption came before the constructor.
        capacity = self.capacity() if hasattr(self, "reference") else None
        if capacity is not None and not self._is_back(capacity):
            self.capacity = GONE
            capacity.reclaim(self)

    def _is_back(self, capacity: Capacity) -> bool:
        """Whether the finalizer of a holder gave back the connection in this slot before this."""
        connection = self.held() if self.held is not None else None
        return connection is not None and connection in list(capacity.queue.idle)


class Place:
    """Where one slot stands, and after it the next, and never two at once."""

    __slots__ = ("record", "slots")

    def __init__(self, record: Record) -> None:
        self.slots: dict[int, weakref.ref[Slot]] = {}
        """By turns, from 0 on: who stands here, and the one before."""
        self.record = record

    def newest(self) -> tuple[int, weakref.ref[Slot] | None]:
        """Whose turn it is; -1 where none was yet."""
        # A copy is one step in CPython: no lock is needed against the finalizers. A list of the
        # items is not, for it makes tuples, which may begin a collection, in which others run.
        return max(self.slots.copy().items(), default=(-1, None), key=lambda found: found[0])


Free: TypeAlias = "Holding | Slot"
