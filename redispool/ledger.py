"""The ledger of a connection: replies still owed, and state that a session was left in.

A look at the socket cannot tell whether a connection may be lent again: a reply can arrive later
than the look. So replies are counted, an idea of redis-rb and redis-client (``pending_reads``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import commands

# Most commands are plain; their names are looked up once and remembered here.
_plain: set[Any] = set()
_PLAIN_LIMIT = 2000

TAKE_NO_ARGUMENTS = frozenset({"DISCARD", "EXEC", "MULTI", "UNWATCH"})


class Ledger:
    """Books kept by the only holder of a connection; the pool judges them when it comes back."""

    __slots__ = ("demoted", "multi", "owed", "stained", "watch")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new session has begun: nothing owed, nothing left behind."""
        self.owed = 0
        self.multi = False
        self.watch = False
        self.stained = False
        self.demoted = False
        """Whether the server refused a write: it is a replica, since a failover perhaps."""

    def sent(self, batch: Iterable[Sequence[Any]]) -> None:
        """Book the commands of `batch`; to be called before their first byte goes out."""
        for args in batch:
            self.owed += 1
            if args[0] not in _plain:
                self._book(args)

    def replied(self) -> None:
        """Book one whole reply, be it an error."""
        self.owed -= 1

    def stain(self) -> None:
        """The session is in a state that nobody knows; the connection must not be lent again."""
        self.stained = True

    @property
    def clean(self) -> bool:
        """Whether the next user would find a fresh session."""
        return not (self.owed or self.stained or self.multi or self.watch)

    def _book(self, args: Sequence[Any]) -> None:
        first, second = commands.words(args)
        if second and first in TAKE_NO_ARGUMENTS:
            self.stained = True  # refused, but what does that do to the transaction?
        elif first == "MULTI":
            self.multi = True
        elif first == "WATCH":
            self.watch = True
        elif first in {"EXEC", "DISCARD"}:
            # Without MULTI the server answers with an error and goes on watching.
            self.watch = self.watch and not self.multi
            self.multi = False
        elif first == "UNWATCH":
            self.watch = False
        elif commands.leaves_state(args):
            self.stained = True
        elif first not in commands.LEAVES_NOTHING and len(_plain) < _PLAIN_LIMIT:
            _plain.add(args[0])
