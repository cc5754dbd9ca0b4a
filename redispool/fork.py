"""One hook for all that a forked child must not share with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What has something to do in a forked child before anything else runs there."""

    def after_fork_in_child(self) -> None:
        """Let go of what belongs to the parent. Takes no lock that a parent's thread could hold."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(forkable: Forkable) -> None:
    """Call ``forkable.after_fork_in_child()`` in every forked child, as long as it exists."""
    _forkables.add(forkable)


def registered() -> list[Forkable]:
    """What was registered and still exists: among others, all pools of the process."""
    return list(_forkables)


def _after_fork_in_child() -> None:
    for forkable in registered():
        forkable.after_fork_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
