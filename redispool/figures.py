"""Figures: the numbers of each place of a pool, in cells of memory that other processes may read.

A cell is a double: it holds counts exactly up to 2**53, and seconds as they are. All times are of
the monotonic clock, which on one host is the same for all processes.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from itertools import accumulate
from time import monotonic

BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Upper bounds of the buckets of waiting and using, in seconds; the last bucket has none.

OpenTelemetry's advice for ``db.client.connection.wait_time`` and ``use_time``.
"""
BUCKETS = len(BOUNDS) + 1
SHORT = BOUNDS[0]

# The cells of a place. Nearly every lease is for a single command, so that one cell counts both.
# All others are in LEASED; what is asked meanwhile is in COMMANDS, or in SHARED where tasks share.
SINGLE, SINCE, STATE, EXPLICIT = 0, 1, 2, 3
LEASED, COMMANDS, SHARED = 4, 5, 6
WAITED, WAIT_SECONDS, WAIT_LONGEST = 7, 8, 9
CREATED, CREATE_SECONDS = 10, 11
USE_SECONDS, USE_LONGEST = 12, 13
WAITS = 14
USES = WAITS + BUCKETS

# What STATE says of a place.
EMPTY, CONNECTING, OPEN = 0.0, 1.0, 2.0

CELL_BYTES = (USES + BUCKETS) * 8
RECORD_BYTES = 512
"""A part of what can be mapped: see `redispool.board.RECORDS`."""
TEXT_BYTES = RECORD_BYTES - CELL_BYTES


class Record:
    """What happened in one place of a pool, and who is there.

    Kept by the place's holder alone, so it is exact without a lock.

    Args:
        memory: `RECORD_BYTES` bytes, all 0 or with what was there before; its own where it is not
            given.
    """

    __slots__ = ("cells", "commands", "leased", "short_uses", "shown", "single", "text")

    def __init__(self, memory: memoryview | None = None) -> None:
        self.shown = memory is not None
        """Whether others may see it."""
        memory = memoryview(bytearray(RECORD_BYTES)) if memory is None else memory
        self.cells = memory[:CELL_BYTES].cast("d")
        self.text = memory[CELL_BYTES:]
        # What their cells hold, too: reading a cell costs more than this.
        self.single = int(self.cells[SINGLE])
        """Callers who had this place for one command and less than `SHORT`: this alone counts the
        lease, its command and its use, at its end."""
        self.leased = int(self.cells[LEASED])
        """Callers who got this place for as many commands as they liked."""
        self.commands = int(self.cells[COMMANDS])
        """The commands of these."""
        self.short_uses = int(self.cells[USES])
        """Other uses of less than `SHORT`."""

    def take_over(self, other: Record) -> None:
        """Go on where `other` ends."""
        self.text[:] = other.text
        self.cells[:] = other.cells
        self.single, self.leased = other.single, other.leased
        self.commands, self.short_uses = other.commands, other.short_uses

    def clear(self) -> None:
        """Hold nothing."""
        for cell in range(len(self.cells)):
            self.cells[cell] = 0.0

    def note_wait(self, seconds: float) -> None:
        """A caller got this place after waiting in the queue."""
        cells = self.cells
        cells[WAITED] += 1
        cells[WAIT_SECONDS] += seconds
        cells[WAIT_LONGEST] = max(cells[WAIT_LONGEST], seconds)
        cells[WAITS + bisect(BOUNDS, seconds)] += 1

    def note_created(self, seconds: float) -> None:
        """A connection was opened here, and its opener got it."""
        cells = self.cells
        self.note_acquired()
        cells[STATE] = OPEN
        cells[CREATED] += 1
        cells[CREATE_SECONDS] += seconds

    def note_use(self, seconds: float) -> None:
        """Whoever was here has gone, after `seconds`."""
        cells = self.cells
        if seconds < SHORT:
            self.short_uses += 1
            cells[USES] = self.short_uses
        else:
            self.note_long_use(seconds)
        cells[SINCE] = cells[EXPLICIT] = 0.0

    def note_acquired(self) -> None:
        """A caller got this place."""
        self.leased += 1
        self.cells[LEASED] = self.leased

    def note_commands(self, number: int) -> None:
        """Commands are about to be sent here, by others than those of whom `single` tells.

        Two threads may speak on the connection of a subscription. Nothing is called between the
        two steps, so that CPython does not change threads there, and the cell never falls.
        """
        self.commands += number
        self.cells[COMMANDS] = self.commands

    def note_long_use(self, seconds: float) -> None:
        """It was in use for longer than the first of `BOUNDS`; the shorter uses have one cell."""
        cells = self.cells
        cells[USE_SECONDS] += seconds
        cells[USE_LONGEST] = max(cells[USE_LONGEST], seconds)
        cells[USES + bisect(BOUNDS, seconds)] += 1

    def note_holder(self, holder: str, place: str) -> None:
        """Name the holder, who may stay for long, and the line of code that took the place."""
        text = f"{holder}\n{place}".encode(errors="replace")[:TEXT_BYTES]
        self.text[:] = text.ljust(TEXT_BYTES, b"\0")
        self.cells[EXPLICIT] = 1.0

    def holder(self) -> tuple[str, str]:
        """Who was named last, and where the place was taken."""
        holder, _, place = bytes(self.text).rstrip(b"\0").decode(errors="replace").partition("\n")
        return holder, place

    def note_empty(self) -> None:
        """Nobody is here, and no connection."""
        cells = self.cells
        dropped = cells[SINCE] and cells[STATE] == OPEN  # or its holder was interrupted
        # Not where it was lent for a single command, which is counted at its end alone.
        if dropped and sum(cells[USES : USES + BUCKETS]) < cells[LEASED]:
            self.note_use(monotonic() - cells[SINCE])
        cells[SINCE] = cells[EXPLICIT] = 0.0
        cells[STATE] = EMPTY

    @property
    def uses(self) -> tuple[int, ...]:
        """How many uses ended in each bucket.

        Sums of cells that only grow: else a number may fall for a moment under the eyes of another
        process, and to Prometheus a counter that falls began anew.
        """
        short, *longer = (int(number) for number in self.cells[USES : USES + BUCKETS])
        return short + int(self.cells[SINGLE]), *longer


class Total:
    """What happened in several places together.

    Args:
        records: theirs.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        nothing: list[float] = [0.0] * (USES + BUCKETS)
        found = [([*record.cells], record.uses) for record in records]
        cells = [row for row, _ in found] or [nothing]
        sums = [sum(column) for column in zip(*cells, strict=True)]
        # Sums of cells that only grow: so nobody sees them fall.
        self.acquired = int(sums[SINGLE] + sums[LEASED])
        self.commands = int(sums[SINGLE] + sums[COMMANDS] + sums[SHARED])
        self.waited, self.created = int(sums[WAITED]), int(sums[CREATED])
        self.shared = int(sums[SHARED])
        self.wait_seconds, self.use_seconds = sums[WAIT_SECONDS], sums[USE_SECONDS]
        self.create_seconds = sums[CREATE_SECONDS]
        self.wait_longest = max(row[WAIT_LONGEST] for row in cells)
        self.waits = tuple(int(number) for number in sums[WAITS:USES])
        columns = zip(*(uses for _, uses in found), strict=True)
        self.uses = tuple(sum(column) for column in columns) or (0,) * BUCKETS
        longest = max(row[USE_LONGEST] for row in cells)
        self.use_longest = longest or (SHORT if any(self.uses) else 0.0)


def percentile(share: float, buckets: Iterable[int], longest: float) -> float:
    """The time that `share` (0 to 1) of all did not exceed, as far as buckets can tell, in seconds.

    Within a bucket the times are taken to be spread evenly; none is above `longest`.
    """
    sums = list(accumulate(buckets))
    if not sums or not sums[-1]:
        return 0.0
    wanted = share * sums[-1]
    index = next(at for at, upto in enumerate(sums) if upto >= wanted)
    low = BOUNDS[index - 1] if index else 0.0
    high = BOUNDS[index] if index < len(BOUNDS) else longest
    before = sums[index - 1] if index else 0
    within = (wanted - before) / (sums[index] - before) if sums[index] > before else 0.0
    return min(low + (high - low) * within, longest)
