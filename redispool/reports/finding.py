"""Finding: one thing that the doctor says."""

from __future__ import annotations

from dataclasses import dataclass

WRONG, NOTICE = "wrong", "notice"


@dataclass(frozen=True)
class Finding:
    """What was found, in a sentence, and what to do about it."""

    level: str
    """``wrong``, or ``notice`` where it is good to know and harms nobody now."""
    check: str
    """What was looked at; stays the same for programs."""
    about: str
    """The alias or the server."""
    says: str
    change: str
    """What to change, in a sentence; empty where there is nothing to do."""
