"""One hook for all that a forked child must not share with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What has something to do in a forked child before anything else runs there."""

    def after_fork_in_child(self) -> None:
        """Let go of what belongs to the parent. Takes no lock that a parent's thread could hold.

        Where it was interrupted it is called again.
        """


_references: set[weakref.ref[Forkable]] = set()
"""No WeakSet, which cannot be listed while another thread adds to it, and no lock, which a child
could inherit from a thread that it does not have: a set is copied and changed in one step each.
"""


def register(forkable: Forkable) -> None:
    """Call ``forkable.after_fork_in_child()`` in every forked child, as long as it exists."""
    _references.add(weakref.ref(forkable, _references.discard))


def registered() -> list[Forkable]:
    """What was registered and still exists: among others, all pools of the process."""
    return [found for reference in list(_references) if (found := reference()) is not None]


_complete = False
"""In a child, between the two hooks: whether the first was not interrupted."""


def _after_fork_in_child() -> None:
    """Let go of everything, though one of them may raise."""
    global _complete
    errors: list[Exception] = []
    for forkable in registered():
        try:
            forkable.after_fork_in_child()
        except Exception as error:
            errors.append(error)
    _complete = True
    if errors:
        raise errors[0]


def _after_an_interruption() -> None:
    """Do it again, where a signal handler raised meanwhile.

    Python only prints that, and the child goes on: it would go on with what is its parent's.
    """
    global _complete
    if not _complete:
        _after_fork_in_child()
    _complete = False


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
    os.register_at_fork(after_in_child=_after_an_interruption)
