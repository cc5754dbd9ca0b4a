"""redispool for Django: one setting, one line in INSTALLED_APPS, and ``redis``."""

from .pools import pools, redis

__all__ = ["pools", "redis"]
