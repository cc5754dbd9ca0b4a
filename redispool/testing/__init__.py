"""What tests of an application with Redis need, and its framework does not bring."""

from __future__ import annotations

from .proxy import FaultProxy

__all__ = ["FaultProxy"]
