"""redispool for Flask: one setting, one extension, ``redis`` and, for async views, ``aredis``."""

from .extension import RedisPool, aredis, redis

__all__ = ["RedisPool", "aredis", "redis"]
