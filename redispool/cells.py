"""Cells: what is counted and shown of a pool as a whole, where other processes may read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

CLOSE_REASONS = (
    "dead_at_checkout",
    "dead_in_use",
    "dirty_pending",
    "dirty_tainted",
    "drained",
    "idle",
    "lifetime",
    "pool_closed",
    "read_only",
    "resized",
)
CHECKS = ("look", "ping")
COUNTED = (
    *("timeouts", "rejected", "cancelled", "failed", "create_failed", "misuse", "reclaimed"),
    *(f"closed {reason}" for reason in CLOSE_REASONS),
    *(f"checked {kind}" for kind in CHECKS),
)
"""What is counted for a whole pool."""
SHOWN = (
    *(
        "max_connections",
        "waiting",
        "waiting_since",
        "dialled_at",
        "reached_at",
        "away_since",
        "shut",
    ),
    *COUNTED,
)
"""What stands in the cells of a pool, beside those of its places."""
CELL_OF = {name: index for index, name in enumerate(SHOWN)}
POOL_BYTES = len(SHOWN) * 8


class Cells:
    """The cells of a pool as a whole."""

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(POOL_BYTES)).cast("d")
        self._shown: dict[str, Callable[[], float]] = {}
        self._moved = False

    def show(self, name: str, read: Callable[[], float] | None = None) -> None:
        """Write what `read` gives; without it, what the one of the last time gives.

        Where several write at the same time, whoever comes last sees what is true by then.
        """
        if read is None:
            read = self._shown[name]
        else:
            self._shown[name] = read
        while True:
            memory, value = self._memory, read()
            memory[CELL_OF[name]] = value
            if read() == value and memory is self._memory:
                return

    def show_all(self) -> None:
        """Write everything: what was interrupted before it was shown."""
        for name in list(self._shown):
            self.show(name)

    def move_to(self, memory: memoryview) -> None:
        """Show everything in `memory`, of `POOL_BYTES` bytes, from now on.

        Where it was interrupted it is called again.
        """
        if self._moved:
            return
        self._memory = memory.cast("d")
        self.show_all()
        self._moved = True


class Counts(Mapping[str, int]):
    """Counters that are exact among threads and may be used in finalizers; 0 where none was added.

    Args:
        cells: where they are shown.
    """

    def __init__(self, cells: Cells) -> None:
        self._counter: Counter[str] = Counter()
        self._cells = cells

    def add(self, name: str) -> None:
        """Add one.

        ``Counter.update`` of an iterable is one step in CPython, where ``+= 1`` is three.
        """
        counter = self._counter  # and not self, which would make a cycle with the cells
        counter.update((name,))
        self._cells.show(name, lambda: float(counter[name]))

    def __getitem__(self, name: str) -> int:
        return self._counter[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counter)

    def __len__(self) -> int:
        return len(self._counter)
