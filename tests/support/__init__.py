"""What the tests share: a real server, one that misbehaves as told, patience, time, forks."""

from __future__ import annotations

from .clock import Clock
from .forks import in_child
from .patience import eventually, in_time, run_threads
from .scripted import BLACK_HOLE, DROP, HANG, RESET, ScriptedServer
from .valkey import Valkey

__all__ = [
    "BLACK_HOLE",
    "DROP",
    "HANG",
    "RESET",
    "Clock",
    "ScriptedServer",
    "Valkey",
    "eventually",
    "in_child",
    "in_time",
    "run_threads",
]
