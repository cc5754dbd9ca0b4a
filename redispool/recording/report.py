"""The report: what a panel shows of a recorder, with a mark at what could be better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from .recorder import MOST, Recorded, Recorder

MANY = 3
"""So many commands of the same name from the same line could be one."""


def report(recorder: Recorder) -> dict[str, Any]:
    """What `recorder` found, for the template ``redispool_recording.html``; JSON can hold it."""
    notes = _Notes(recorder.round_trips)
    rows = [
        {
            "commands": list(each.commands),
            "milliseconds": f"{each.seconds * 1000:.2f}",
            "size": size(each.size),
            "alias": each.alias,
            "place": each.place,
            "error": each.error,
            "notes": notes.of(each),
        }
        for each in recorder.round_trips
    ]
    held = [
        {
            "alias": each.alias,
            "place": each.place,
            "held": "not given back" if each.seconds is None else f"{each.seconds * 1000:.2f} ms",
        }
        for each in recorder.leases
    ]
    return {
        "title": title(recorder),
        "commands": recorder.commands,
        "round_trips": recorder.asked,
        "milliseconds": f"{recorder.seconds * 1000:.2f}",
        "size": size(recorder.size),
        "duplicates": notes.duplicates,
        "n_plus_one": notes.n_plus_one,
        "rows": rows,
        "left_out": max(recorder.asked - MOST, 0),
        "leases": held,
    }


def title(recorder: Recorder) -> str:
    """How much it was, in a few words."""
    plural = "command" if recorder.commands == 1 else "commands"
    return f"{recorder.commands} {plural} in {recorder.seconds * 1000:.2f} ms"


def size(number: int) -> str:
    """Bytes for people."""
    if number < 1000:
        return f"{number} B"
    return f"{number / 1000:.1f} kB" if number < 1_000_000 else f"{number / 1_000_000:.1f} MB"


class _Notes:
    """What is to be said of single round trips, seen beside the others."""

    def __init__(self, round_trips: Iterable[Recorded]) -> None:
        found = list(round_trips)
        self._same = Counter(each.mark for each in found if each.reads)
        kinds = {(_line(each), each.mark) for each in found if each.name}
        self._alike = Counter(line for line, _ in kinds)
        self.duplicates = sum(count - 1 for count in self._same.values())
        """Reads that asked again what the same request had asked."""
        self.n_plus_one = sum(1 for count in self._alike.values() if count >= MANY)
        """Lines that ask one by one for what they could ask together."""

    def of(self, each: Recorded) -> list[str]:
        """What is to be said of `each`."""
        notes = []
        same, alike = self._same[each.mark] if each.reads else 0, self._alike[_line(each)]
        if same > 1:
            notes.append(f"duplicate: asked {same} times")
        if each.name and alike >= MANY:
            notes.append(f"N+1: {alike} different {each.name} from this line; use a pipeline")
        return notes


def _line(each: Recorded) -> Hashable:
    return each.alias, each.name, each.place
