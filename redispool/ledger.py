"""The ledger of a connection: replies still owed, and state that a session was left in.

A look at the socket cannot tell whether a connection may be lent again: a reply can arrive later
than the look. So replies are counted, an idea of redis-rb and redis-client (``pending_reads``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import commands

PLAIN: set[Any] = set()
"""Names, as they were typed, of one word, of commands that leave nothing behind and block nobody.

Most commands are such; they are looked up once and remembered here.
"""
PLAIN_LIMIT = 2000

TAKE_NO_ARGUMENTS = frozenset({"DISCARD", "EXEC", "MULTI", "UNWATCH"})
CHANGES_SESSION = TAKE_NO_ARGUMENTS | {"WATCH"}
"""What `Ledger` follows step by step."""


# What a session was left in.
MULTI, WATCH, STAINED, READ_ONLY = 1, 2, 4, 8


class Ledger:
    """Books kept by the only holder of a connection; the pool judges them when it comes back."""

    __slots__ = ("left", "owed")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new session has begun: nothing owed, nothing left behind."""
        self.owed = 0
        """Replies that have not been read in full."""
        self.left = 0
        """What the next user would find: `MULTI` and so on, added up. 0 is a fresh session."""

    def sent(self, batch: Sequence[Sequence[Any]]) -> bool:
        """Book the commands of `batch`; to be called before their first byte goes out.

        Returns:
            Whether all are plain: none leaves anything behind, or blocks.
        """
        self.owed += len(batch)
        plain = True
        for args in batch:
            if args[0] not in PLAIN:
                plain = False
                self._book(args)
        return plain

    def replied(self) -> None:
        """Book one whole reply, be it an error."""
        self.owed -= 1

    def stain(self) -> None:
        """The session is in a state that nobody knows; the connection must not be lent again."""
        self.left |= STAINED

    def refused_write(self) -> None:
        """The server is a replica, since a failover perhaps."""
        self.left |= READ_ONLY

    @property
    def clean(self) -> bool:
        """Whether the next user would find a fresh session."""
        return not (self.owed or self.left)

    def _book(self, args: Sequence[Any]) -> None:
        first, second = commands.words(args)
        if second and first in TAKE_NO_ARGUMENTS:
            self.stain()  # refused, but what does that do to the transaction?
        elif first == "MULTI":
            self.left |= MULTI
        elif first == "WATCH":
            self.left |= WATCH
        elif first in {"EXEC", "DISCARD"}:
            # Without MULTI the server answers with an error and goes on watching.
            if self.left & MULTI:
                self.left &= ~(MULTI | WATCH)
        elif first == "UNWATCH":
            self.left &= ~WATCH
        elif commands.leaves_state(args):
            self.stain()
        else:
            is_plain(args)  # and is remembered then


def is_plain(args: Sequence[Any]) -> bool:
    """Whether a command leaves nothing behind and blocks nobody; remembers it where it is so."""
    first, _ = commands.words(args)
    if first in CHANGES_SESSION or first in commands.NEVER_PLAIN or len(first) != len(args[0]):
        return False  # looked at each time
    if commands.leaves_state(args):
        return False
    if len(PLAIN) < PLAIN_LIMIT:
        PLAIN.add(args[0])
    return True
