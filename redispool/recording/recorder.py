"""The recorder: the commands and leases of one context, with durations, sizes and places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from .. import commands, leases
from . import masking, swapping

MOST = 1000
"""Round trips that are kept; those beyond are only counted."""


@dataclass(frozen=True)
class Recorded:
    """One round trip: a command, or the commands of a pipeline."""

    alias: str
    commands: tuple[str, ...]
    """Shortened, and without secrets."""
    seconds: float
    """The time that the caller waited, for a connection too."""
    size: int
    """The bytes of the reply, without those of the protocol."""
    place: str
    """The line of the application's code, as ``file:line in function``."""
    error: str = ""
    """The class of the error that it ended in."""
    name: str = ""
    """The name of a single command, in capitals; empty for a pipeline."""
    reads: bool = False
    """Whether it is a single command that only reads."""
    mark: int = field(default=0, repr=False)
    """The same for the same command with the same arguments."""


@dataclass
class Leased:
    """A connection that was held for longer than a command."""

    alias: str
    place: str
    since: float
    seconds: float | None = None
    """How long; None while it is held."""


class Recorder:
    """What is asked between `start` and `stop`, in this context and in those that begin from it.

    So it covers threads of ``asyncio.to_thread`` and asgiref, and tasks, but no other threads.
    """

    def __init__(self) -> None:
        self.round_trips: list[Recorded] = []
        self.leases: list[Leased] = []
        self.commands = self.asked = 0
        """All commands, and all round trips, those beyond `MOST` among them."""
        self.seconds = 0.0
        self.size = 0
        self.active = False
        self._held: dict[int, tuple[leases.Lease, Leased]] = {}
        self._previous: swapping.Listener | None = None

    def start(self) -> None:
        """Begin to record in this context."""
        if not self.active:
            self.active = True
            swapping.SWAPS.begin()
            self._previous = swapping.listening.get()
            swapping.listening.set(self)

    def stop(self) -> None:
        """End it; again, it does nothing. From any context."""
        if self.active:
            self.active = False
            if swapping.listening.get() is self:
                swapping.listening.set(self._previous)
            swapping.SWAPS.end()

    # Of the methods that are swapped

    def note(self, pool: Any, batch: Sequence[Sequence[Any]], started: float, outcome: Any) -> None:
        """Note a round trip that began at `started` and ended in `outcome`, a reply or an error."""
        seconds = monotonic() - started
        failed = isinstance(outcome, BaseException)
        size = 0 if failed else masking.size_of(outcome)
        self.asked += 1
        self.commands += len(batch)
        self.seconds += seconds
        self.size += size
        if len(self.round_trips) >= MOST:
            return
        single = batch[0] if len(batch) == 1 else None
        self.round_trips.append(
            Recorded(
                alias=getattr(pool, "alias", ""),
                commands=tuple(map(masking.shown, batch)),
                seconds=seconds,
                size=size,
                place=leases.caller(),
                error=type(outcome).__name__ if failed else "",
                name=" ".join(commands.words(single)[:1]) if single else "",
                reads=bool(single) and commands.only_reads(single or ()),
                mark=hash(tuple(map(repr, single or ()))),
            )
        )

    def lease_begins(self, alias: str, lease: leases.Lease) -> None:
        """Note a connection that is held for longer than a command."""
        leased = Leased(alias, lease.place, lease.since)
        self._held[id(lease)] = lease, leased
        self.leases.append(leased)

    def lease_ends(self, lease: leases.Lease, now: float) -> None:
        """Note that it was given back."""
        _, leased = self._held.pop(id(lease), (None, None))
        if leased is not None:
            leased.seconds = now - leased.since


@contextlib.contextmanager
def record() -> Iterator[Recorder]:
    """Record what a ``with`` block asks of Redis."""
    recorder = Recorder()
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()
