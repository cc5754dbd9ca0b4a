"""The gate: how many connections are dialled at once, and when, while the server is away.

Without it a server that comes back meets all callers at the same moment. Two dials at once while
all is well, and one after a pause during an outage; HikariCP and psycopg_pool bound theirs too. No
lock, no I/O and no clock: the time is handed in.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .frames import without_frames
from .policy import Policy

if TYPE_CHECKING:
    from .slots import Slot

DIALS_AT_ONCE = 2


@dataclass(slots=True)
class Outage:
    """The time since the first dial that failed, times on the monotonic clock."""

    since: float
    error: Exception
    """What the last dial ended in, without its traceback, which would keep callers' frames."""
    next_dial: float
    failures: int = 1

    def note(self, error: Exception, next_dial: float) -> None:
        """Another dial failed."""
        self.error, self.failures, self.next_dial = error, self.failures + 1, next_dial


class Gate:
    """Lets callers with an empty slot dial, a few at a time; who may not, waits in the queue.

    Who dials is read off the slots themselves: one that was dropped half-way, by an interruption or
    in a forked child, is not counted, so no turn can be lost.

    Args:
        policy: the pauses, and for how long a server is waited for.
        at_once: how many may dial at the same time while the server is not known to be away.
    """

    def __init__(self, policy: Policy, at_once: int = DIALS_AT_ONCE) -> None:
        self._policy = policy
        self._at_once = at_once
        self._diallers: list[weakref.ref[Slot]] = []  # in the order in which they came
        self._outages: dict[str, Outage] = {}  # one at most; a dict takes and drops it in one step
        self.known = False
        """Whether the server has ever completed a handshake."""
        self.dialled_at = self.reached_at = 0.0
        """When the last dial ended, and the last one that succeeded, on the monotonic clock."""

    @property
    def outage(self) -> Outage | None:
        """The outage of now, if there is one."""
        return self._outages.get("now")

    def opens_in(self, now: float) -> float:
        """Seconds until somebody may dial again; 0 where nothing is known against it."""
        outage = self.outage
        return 0.0 if outage is None else max(outage.next_dial - now, 0.0)

    def has_room(self, now: float) -> bool:
        """Whether the next caller may dial."""
        return not self.opens_in(now) and self._ahead_of(None) < self._limit

    def admit(self, slot: Slot, now: float) -> bool:
        """Let the holder of an empty slot dial; ``leave`` ends its turn.

        Of several who ask at once, the order in the list decides: appending is one step.
        """
        if self.opens_in(now):
            return False
        self._diallers.append(slot.reference)
        if self._ahead_of(slot.reference) < self._limit:
            return True
        self.leave(slot)
        return False

    def leave(self, slot: Slot) -> None:
        """The dial has ended, or will not be made."""
        slot.loop = None
        self._forget(slot.reference)

    def failed(self, error: Exception, now: float) -> Outage | None:
        """Note a dial that failed; gives the outage where it began with this one."""
        self.dialled_at = now
        # Complete before it is seen: an interruption must not leave half of it, nor the frames of
        # the error, which hold the slot of the dial.
        failures = self.outage.failures if self.outage is not None else 0
        next_dial = now + self._policy.pause_before_dial(failures)
        begun = Outage(now, without_frames(error), next_dial)
        outage = self._outages.setdefault("now", begun)
        if outage is begun:
            return begun
        outage.note(begun.error, next_dial)
        return None

    def succeeded(self, now: float) -> Outage | None:
        """Note a completed handshake; gives the outage that it ended.

        Nothing less ends one: a proxy accepts connections for a server that is away.
        """
        self.known, self.dialled_at, self.reached_at = True, now, now
        return self._outages.pop("now", None)

    def hopeless(self, now: float, last_return: float) -> bool:
        """Whether nobody shall wait for the server any more.

        Args:
            now: the time.
            last_return: when a connection last came back in order. As long as that happens the
                server is there, and only refuses further connections.
        """
        outage = self.outage
        if outage is None:
            return False
        quiet_for = now - max(outage.since, last_return)
        return self._policy.gives_up(outage.failures, quiet_for, known=self.known)

    @property
    def _limit(self) -> int:
        return self._at_once if self.outage is None else 1

    def _ahead_of(self, own: weakref.ref[Slot] | None) -> int:
        """How many who are dialling came before `own`; all of them for None."""
        ahead = 0
        for reference in list(self._diallers):
            if reference is own:
                break
            slot = reference()
            if slot is None or not slot.dialling:
                self._forget(reference)
            elif not slot.stands_still:
                ahead += 1
        return ahead

    def _forget(self, reference: weakref.ref[Slot]) -> None:
        if reference in self._diallers:  # spares the exception
            try:
                self._diallers.remove(reference)
            except ValueError:
                pass  # another was faster
