"""Waiting: what is free goes straight to the caller who has waited longest, without a lock.

All free capacity lies in two deques, idle connections and permits to open one, whose ``append`` and
``pop`` are atomic in CPython: nothing to orphan by a fork, nothing for a finalizer or a signal
handler to dead-lock on. And what comes free goes to the first in the queue, so nobody starves.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from .slots import GONE, Free, Slot

if TYPE_CHECKING:
    from .cells import Cells
    from .gate import Gate
    from .holding import Holding

LOOK_AGAIN = 0.5
"""Seconds after which a waiter looks for itself. Hand-over wakes it at once; this heals a hand-over
that an exception cut off half-way."""


class Bell:
    """Wakes one sleeper; may be rung by a finalizer or a signal handler, for it takes no lock."""

    def __init__(self) -> None:
        # Looked up when it is needed: gevent may have put its own in place by then.
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake who sleeps, or who will."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it rings already

    def sleep(self, seconds: float) -> None:
        """Wait for the bell, for `seconds` at most."""
        self._lock.acquire(timeout=seconds)


class Waiter(Bell):
    """A caller in the queue.

    It is taken out of the queue by one giver, who puts something into its inbox. A giver and a
    caller who gives up may meet: then one of the two takes it out again, whoever pops it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inbox: list[Free] = []
        self.gone = False
        self.since = monotonic()

    def offer(self, free: Free) -> bool:
        """Hand `free` over; False where the caller has gone."""
        if self.gone:
            return False
        self.inbox.append(free)
        if self.gone and self.claim() is not None:
            return False
        self.ring()
        return True

    @property
    def lost(self) -> bool:
        """Whether nobody will ever look at what is handed over."""
        return self.gone

    def successor(self) -> Waiter:
        """Another waiter for the same caller."""
        waiter = Waiter()
        waiter.since = self.since
        return waiter

    def claim(self) -> Free | None:
        """What was handed over, for one of the two who ask: the caller, or the giver again."""
        if self.inbox:
            try:
                return self.inbox.pop()
            except IndexError:
                pass  # the other was faster
        return None


class SlotQueue:
    """What is free, and who waits for it.

    Args:
        gate: says whether a permit may be handed out now.
        cells: where it is shown how many wait, and since when.
    """

    def __init__(self, gate: Gate, cells: Cells) -> None:
        self.gate = gate
        self._cells = cells
        self.idle: deque[Holding] = deque()
        """Open connections; the one used last is at the right end and goes first."""
        self.permits: deque[Slot] = deque()
        waiters: deque[Waiter] = deque()
        self.waiters = waiters
        cells.show("waiting", lambda: float(len(waiters)))
        cells.show("waiting_since", lambda: since_when(waiters))

    def take(self) -> Free | None:
        """What is free, an idle connection first; None where nothing is, or others wait already."""
        return None if self.waiters else self._pop()

    def give(self, connection: Holding) -> None:
        """Hand an open connection to the first in the queue, or keep it."""
        if self.waiters and self._offer(connection):
            return
        self.idle.append(connection)
        if self.waiters:  # somebody queued between the look and the append
            self.hand_over()

    def give_permit(self, slot: Slot) -> None:
        """Keep an empty slot; who waits gets it where the gate lets him dial."""
        self.keep(slot)
        if self.waiters:
            self.hand_over()

    def keep(self, free: Free) -> None:
        """Put `free` where it belongs."""
        if isinstance(free, Slot):
            self.gate.leave(free)
            self.permits.append(free)
        else:
            self.idle.append(free)

    def hand_over(self) -> None:
        """Give what is free to those who wait, in their order."""
        while self.waiters:
            free = self._pop()
            if free is None:
                return
            if not self._offer(free):
                self.keep(free)

    def wait(
        self,
        deadline: float,
        *,
        stop: Callable[[float], bool],
        heal: Callable[[], None] = lambda: None,
        first: bool = False,
    ) -> Free | None:
        """Queue until something is handed over; None after `deadline`, or when `stop` says so.

        Args:
            deadline: on the monotonic clock.
            stop: given the time; whether waiting makes no sense any more.
            heal: may find what was lost; called after each sleep, and before giving up.
            first: whether this caller was served already, in vain, and so goes before all others.
        """
        waiter = Waiter()
        try:
            self.enter(waiter, first=first)
            # Only now: what came free since the last look would otherwise be missed.
            self.hand_over()
            while not waiter.inbox:
                now = monotonic()
                if now >= deadline or stop(now):
                    heal()
                    self.hand_over()
                    break
                waiter.sleep(min(deadline - now, self.look_again_in(waiter, now)))
                if not waiter.inbox:
                    heal()
                    waiter = self.queue_again(waiter)
        except BaseException:
            self.leave(waiter, keep=False)
            raise
        return self.leave(waiter, keep=True)

    def enter(self, waiter: Waiter, *, first: bool) -> None:
        """Go into the queue, before all others where the caller was served already, in vain."""
        self.waiters.insert(0 if first else len(self.waiters), waiter)
        self._show()

    def count(self) -> int:
        """How many callers wait; one whose leaving was interrupted, or whose loop ended, not."""
        return sum(not waiter.lost for waiter in list(self.waiters))

    def waiting_since(self) -> float:
        """Since when the first in the queue has waited, on the monotonic clock; 0 for nobody."""
        return since_when(self.waiters)

    def wake_all(self) -> None:
        """Let all who wait see whether that still makes sense."""
        for waiter in list(self.waiters):
            waiter.ring()

    def wake_first(self) -> None:
        """Let whoever comes first now see to the gate."""
        for waiter in list(self.waiters)[:1]:
            waiter.ring()

    def look_again_in(self, waiter: Waiter, now: float) -> float:
        """The first in the queue looks when the gate opens, the others now and then."""
        opens_in = self.gate.opens_in(now)
        if opens_in and self.waiters and self.waiters[0] is waiter:
            return min(opens_in, LOOK_AGAIN)
        return LOOK_AGAIN

    def queue_again(self, waiter: Waiter) -> Waiter:
        """Keep the place in the queue, also where a giver took the waiter out and died."""
        if waiter not in self.waiters:
            waiter.gone = True
            free, waiter = waiter.claim(), waiter.successor()
            if free is None:
                self.waiters.appendleft(waiter)
            else:  # it came at this moment
                waiter.inbox.append(free)
        self.hand_over()
        return waiter

    def leave(self, waiter: Waiter, *, keep: bool) -> Free | None:
        """Go out of the queue, with what was handed over (`keep`) or leaving it to the others."""
        waiter.gone = True
        # Whoever filled the inbox took the waiter out before. The second look saves the exception,
        # the frame of which an interruption would keep alive, and with it what was handed over.
        if not waiter.inbox and waiter in self.waiters:
            try:
                self.waiters.remove(waiter)
            except ValueError:
                pass  # a giver was faster
        free = waiter.claim()
        if free is None and self.gate.outage is not None:
            self.wake_first()
        if free is not None and not keep:
            self._take_back(free)
            free = None
        self._show()
        return free

    def _take_back(self, free: Free) -> None:
        """Keep what a caller leaves behind; where a collection took him along, its place is empty.

        That has taken the slot as well, whose finalizer puts another in its place.
        """
        slot = free if isinstance(free, Slot) else free.slot
        if slot is not None and slot.reference() is not None and slot.capacity is not GONE:
            self.keep(free)
            self.hand_over()
        elif not isinstance(free, Slot):
            free.end()

    def _pop(self) -> Free | None:
        try:
            return self.idle.pop()
        except IndexError:
            return self._pop_permit() if self.permits else None

    def _pop_permit(self) -> Slot | None:
        while self.gate.has_room(now := monotonic()):
            try:
                slot = self.permits.pop()
            except IndexError:
                return None
            if self.gate.admit(slot, now):
                return slot
            self.permits.append(slot)  # others came first; one of them may have ended meanwhile
        return None

    def _offer(self, free: Free) -> bool:
        while True:
            try:
                waiter = self.waiters.popleft()
            except IndexError:
                return False
            if waiter.offer(free):
                return True

    def _show(self) -> None:
        self._cells.show("waiting")
        self._cells.show("waiting_since")


def since_when(waiters: deque[Waiter]) -> float:
    """Since when the first in the queue has waited; 0 where nobody waits."""
    # No exception for an empty queue: an interruption in its handler would keep the frames.
    first = list(waiters)[:1]
    return first[0].since if first else 0.0
