"""A server that answers as told, from redispool.testing."""

from __future__ import annotations

from redispool.testing import BLACK_HOLE, DROP, HANG, RESET, ScriptedServer

__all__ = ["BLACK_HOLE", "DROP", "HANG", "RESET", "ScriptedServer"]
