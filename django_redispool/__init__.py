"""redispool for Django: one setting, one line in INSTALLED_APPS, ``redis`` and ``aredis``."""

from .pools import aredis, pools, redis

__all__ = ["aredis", "pools", "redis"]
