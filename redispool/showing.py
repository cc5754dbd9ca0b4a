"""Showing: a pool keeps its figures where other processes see them, from its first dial on."""

from __future__ import annotations

import secrets
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import logs
from .board import Board
from .options import PoolOptions
from .whereabouts import make_private

if TYPE_CHECKING:
    from .capacity import Capacity
    from .slots import Slot


class Showing:
    """What a pool does to be seen: mixed into the pools."""

    alias: str
    options: PoolOptions
    capacity: Capacity
    face: str
    """For whom the pool is: ``threads`` or ``asyncio``."""
    directory: Path | None = None
    """Where the figures are shown; None for a pool that shows none."""
    _serves: weakref.ref[Any] | None = None
    """Of a pool for subscriptions, the pool that it belongs to."""

    def _begin_to_show(self) -> None:
        """In this process nothing is shown yet."""
        self._boards: dict[str, Board | None] = {}  # one at most; None where it cannot be made
        self._complained = False
        self._token = secrets.token_hex(8)

    def show(self, slot: Slot) -> None:
        """Let others see what happens in the place of `slot`, which is the caller's."""
        board = self.board()
        if board is None or slot.record.shown:
            return
        try:
            record = board.record()
        except OSError as error:
            self._cannot(error)
            return
        slot.show_in(record)

    def board(self) -> Board | None:
        """Where the figures of this process are shown; None where that cannot be."""
        if self.directory is None:
            return None
        if "own" not in self._boards:
            made = self._new_board(self.directory)
            if self._boards.setdefault("own", made) is not made and made is not None:
                made.end()  # another thread was faster
        board = self._boards["own"]
        if board is not None:
            self.capacity.cells.move_to(board.cells())
        return board

    def show_outage(self) -> None:
        """Show what the last dial told: whether the server is away, and why."""
        board, outage = self._boards.get("own"), self.capacity.gate.outage
        if board is not None:
            board.note_outage(str(outage.error) if outage is not None else "")
        for name in ("dialled_at", "reached_at", "away_since"):
            self.capacity.cells.show(name)

    def show_no_more(self) -> None:
        """The pool has ended."""
        board = self._boards.get("own")
        if board is not None:
            board.end()

    def _new_board(self, directory: Path) -> Board | None:
        served: Showing | None = self._serves() if self._serves is not None else self
        if served is None:
            return None
        if served is not self:
            served.board()  # of which this one's figures are a part
        about = {
            "pool": served._token,
            "alias": self.alias,
            "face": self.face,
            "subscriptions": served is not self,
            "server": self.options.server,
            "min_idle": self.options.min_idle,
            "max_waiting": self.options.max_waiting,
            "leak_threshold": self.options.leak_threshold,
        }
        try:
            return Board(make_private(directory), about)
        except OSError as error:
            self._cannot(error)
            return None

    def _cannot(self, error: OSError) -> None:
        if self._complained:  # a full disk would be told at each dial
            return
        self._complained = True
        logs.info(
            "pool %r: its figures are not shown to others: %s",
            self.alias,
            error,
            event="figures_not_shown",
            alias=self.alias,
            reason=str(error),
        )
