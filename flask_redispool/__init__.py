"""redispool for Flask: one setting, one extension, and ``redis``."""

from .extension import RedisPool, redis

__all__ = ["RedisPool", "redis"]
