"""Contenders: each client as its users make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

import redispool

from ..contenders import CONTENDERS as POOLS
from .clients import (
    Bare,
    Client,
    Glide,
    Ours,
    PackingBare,
    PooledBare,
    RedisLike,
    Single,
    Valkey,
)
from .suite import Contender

FLOOR = "bare socket"
PACKING = "bare socket that packs"
OURS = "redispool"
REDIS_PY = "redis-py"

BOUND = 100
"""``max_connections`` of every pool: more than there are threads, so that nobody waits."""

TIMEOUT = 20.0
"""Seconds to wait for a connection, where a pool waits."""


def of_redis_py(kind: str) -> Callable[[str], Client]:
    """redis-py's client on one of its pools."""

    def opened(url: str) -> Client:
        pool = POOLS[kind].make_pool(url, BOUND, TIMEOUT)
        return RedisLike(
            POOLS[kind].make_client(pool), pool, lambda: redis.Redis(connection_pool=pool)
        )

    return opened


def single(url: str) -> Client:
    """redis-py's client with one connection."""
    pool = redis.ConnectionPool.from_url(url)
    return Single(redis.Redis(connection_pool=pool, single_connection_client=True), pool)


def valkey_py(url: str) -> Client:
    """valkey-py, on its plain pool."""
    import valkey

    pool = valkey.ConnectionPool.from_url(url, max_connections=BOUND)
    client = valkey.Valkey(connection_pool=pool)
    return Valkey(client, pool, lambda: valkey.Valkey(connection_pool=pool))


def flask_redis(url: str) -> Client:
    """flask-redis: one object of the application, which passes attributes on."""
    from flask import Flask
    from flask_redis import FlaskRedis

    app = Flask(__name__)
    app.config["REDIS_URL"] = url
    extension = FlaskRedis(app, max_connections=BOUND)
    return RedisLike(extension, extension.connection_pool, lambda: extension.connection_pool)


def django_redis(url: str) -> Client:
    """django-redis: the client behind a cache, without the pickles of the cache."""
    options = {"CONNECTION_POOL_KWARGS": {"max_connections": BOUND}}
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "OPTIONS": options}
    configure_django(CACHES={"default": cache})
    from django_redis import get_redis_connection

    client = get_redis_connection("default")
    return RedisLike(client, client.connection_pool, lambda: get_redis_connection("default"))


def ours(url: str) -> Client:
    """redispool without a framework."""
    factory = factory_for(url)
    return Ours(factory.client(), factory.pool(), factory.client)


def ours_anew(url: str) -> Client:
    """redispool, with a new client for each request."""
    pool = factory_for(url).pool()
    client = redispool.Redis(connection_pool=pool)
    return Ours(client, pool, lambda: redispool.Redis(connection_pool=pool))


def ours_in_flask(url: str) -> Client:
    """``flask_redispool.redis``, in a context of the application that does not end."""
    from flask import Flask

    from flask_redispool import RedisPool
    from flask_redispool import redis as proxy

    app = Flask(__name__)
    app.config["REDISPOOL"] = {"default": {"URL": url, "MAX_CONNECTIONS": BOUND}}
    RedisPool(app)
    app.app_context().push()
    return Ours(proxy, proxy.connection_pool, lambda: proxy.connection_pool)


def ours_in_django(url: str) -> Client:
    """``django_redispool.redis``."""
    configure_django(REDISPOOL={"default": {"URL": url, "MAX_CONNECTIONS": BOUND}})
    from django_redispool import redis as proxy

    return Ours(proxy, proxy.connection_pool, lambda: proxy.connection_pool)


def factory_for(url: str) -> redispool.PoolFactory:
    """The pools of an application with one URL."""
    return redispool.PoolFactory({"default": {"url": url, "max_connections": BOUND}})


def configure_django(**settings: Any) -> None:
    """Make the process one of a Django project; for a second URL, with other settings."""
    import django
    from django.conf import settings as django_settings
    from django.test.utils import override_settings

    if django_settings.configured:
        override_settings(**settings).enable()
    else:
        django_settings.configure(**settings)
        django.setup()


CONTENDERS = {
    FLOOR: Contender(Bare, one_per_thread=True),
    PACKING: Contender(PackingBare, only=("pipeline", "execute", "unix-pipeline")),
    "bare sockets in a deque": Contender(PooledBare, only=("threads", "core", "unix-threads")),
    REDIS_PY: Contender(of_redis_py("ConnectionPool")),
    "redis-py, blocking pool": Contender(of_redis_py("BlockingConnectionPool")),
    "redis-py, single connection": Contender(single, one_per_thread=True),
    "valkey-py": Contender(valkey_py, needs="valkey"),
    "valkey-glide": Contender(Glide, needs="glide_sync", tcp_only=True),
    "flask-redis": Contender(flask_redis, needs="flask_redis"),
    "django-redis": Contender(django_redis, needs="django_redis"),
    OURS: Contender(ours),
    "redispool, new client": Contender(ours_anew, only=("client",)),
    "redispool in Flask": Contender(ours_in_flask, needs="flask", only=("client",)),
    "redispool in Django": Contender(ours_in_django, needs="django", only=("client",)),
}
"""By name, in the order of the tables and of each round."""
