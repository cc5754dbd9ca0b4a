"""A shipment: commands that are written together, and which of them have gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .line import Line


class Shipment:
    """Commands on their way out.

    Args:
        packed: the bytes of each.
    """

    __slots__ = ("_data", "_packed", "_sent")

    def __init__(self, packed: Sequence[bytes] = ()) -> None:
        self._packed = packed
        self._data = b"".join(packed)
        self._sent = 0

    @property
    def gone(self) -> bool:
        """Whether the system has taken all of it."""
        return self._sent == len(self._data)

    def send(self, line: Line) -> bool:
        """Send what the system takes now; gives whether that was the rest.

        Raises:
            OSError: the line broke.
        """
        while not self.gone:
            rest = memoryview(self._data)[self._sent :] if self._sent else self._data
            sent = line.send_at_once(rest)
            if not sent:
                return False
            self._sent += sent
        return True

    def left(self) -> int:
        """How many commands have not gone whole: no server can have run one of these."""
        end = 0
        for number, piece in enumerate(self._packed):
            end += len(piece)
            if end > self._sent:
                return len(self._packed) - number
        return 0
