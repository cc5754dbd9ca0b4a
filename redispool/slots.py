"""Slots: the capacity of a pool as objects.

A slot's finalizer gives its capacity back, so an interruption at any point loses nothing; therefore
nobody here keeps a reference to what has been handed out.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .capacity import Capacity
    from .holding import Holding


def nowhere() -> None:
    """Where a slot belongs that a collection has taken."""


class Slot:
    """One unit of capacity: a permit to open a connection, or the place that an open one takes.

    Its figures are kept by its holder alone, so they are exact without a lock.
    """

    __slots__ = (
        "__weakref__",
        "capacity",
        "held",
        "origin",
        "place",
        "reference",
        "tally",
        "turn",
    )

    def __init__(self, capacity: weakref.ref[Capacity], place: Place, turn: int) -> None:
        self.origin = capacity
        self.capacity: Callable[[], Capacity | None] = capacity
        """Where it goes back to: `nowhere`, once a collection has taken it."""
        self.place = place
        self.turn = turn
        """How many slots stood in this place before."""
        self.tally = place.tally
        self.held: weakref.ref[Holding] | None = None
        """The connection in this place, for those who look at the pool from outside."""
        self.reference = weakref.ref(self)

    @property
    def dialling(self) -> bool:
        """Whether this slot is to become a connection: it is no older one, and has none yet."""
        connection = self.held() if self.held is not None else None
        return self.place.newest()[0] == self.turn and not (connection and connection.born)

    def __del__(self) -> None:
        # Without attributes where an interruption came before the constructor.
        capacity = self.capacity() if hasattr(self, "reference") else None
        if capacity is not None:
            # First: in a cycle, who holds the connection may be ended after its slot, and give back
            # what another stands for by then.
            self.capacity = nowhere
            capacity.reclaim(self)


class Place:
    """Where one slot stands, and after it the next, and never two at once."""

    __slots__ = ("slots", "tally")

    def __init__(self) -> None:
        self.slots: dict[int, weakref.ref[Slot]] = {}
        """By turns, from 0 on: who stands here, and the one before."""
        self.tally = Tally()

    def newest(self) -> tuple[int, weakref.ref[Slot] | None]:
        """Whose turn it is; -1 where none was yet."""
        # A copy is one step in CPython: no lock is needed against the finalizers. A list of the
        # items is not, for it makes tuples, which may begin a collection, in which others run.
        return max(self.slots.copy().items(), default=(-1, None), key=lambda found: found[0])


@dataclass(slots=True)
class Tally:
    """What happened in one place; times in seconds."""

    acquired: int = 0
    waited: int = 0
    wait_seconds: float = 0.0
    wait_longest: float = 0.0
    created: int = 0
    create_seconds: float = 0.0
    shared: int = 0

    def note_wait(self, seconds: float) -> None:
        """A caller got this place after waiting in the queue."""
        self.waited += 1
        self.wait_seconds += seconds
        self.wait_longest = max(self.wait_longest, seconds)

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """What happened in several places together."""
        found = list(tallies)
        return cls(
            acquired=sum(tally.acquired for tally in found),
            waited=sum(tally.waited for tally in found),
            wait_seconds=sum(tally.wait_seconds for tally in found),
            wait_longest=max((tally.wait_longest for tally in found), default=0.0),
            created=sum(tally.created for tally in found),
            create_seconds=sum(tally.create_seconds for tally in found),
            shared=sum(tally.shared for tally in found),
        )


Free: TypeAlias = "Holding | Slot"
