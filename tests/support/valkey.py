"""A real server, as redispool.testing starts it."""

from __future__ import annotations

from redispool.testing import Server as Valkey
from redispool.testing import free_port

__all__ = ["Valkey", "free_port"]
