"""Contenders: each client as its users make it, and the same work asked of each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import redis

import redispool

from ..contenders import CONTENDERS as POOLS
from . import values
from .bare import BareSocket
from .timing import Call

FLOOR = "bare socket"
PACKING = "bare socket that packs"
OURS = "redispool"
REDIS_PY = "redis-py"

BOUND = 100
"""``max_connections`` of every pool: more than there are threads, so that nobody waits."""

TIMEOUT = 20.0
"""Seconds to wait for a connection, where a pool waits."""


class Client:
    """A contender that is ready: each method gives a call to be timed, or None."""

    def get(self, size: int) -> Call:
        """GET of a value of `size` bytes."""
        raise NotImplementedError

    def set(self, size: int) -> Call:
        """SET of a value of `size` bytes."""
        raise NotImplementedError

    def execution(self, length: int) -> tuple[Call, Call]:
        """A pipeline of that many GETs: what makes and fills it, and what executes it."""
        raise NotImplementedError

    def pipeline(self, length: int) -> Call:
        """The same in one call."""
        fill, execute = self.execution(length)

        def pipeline() -> Any:
            fill()
            return execute()

        return pipeline

    def mget(self, count: int) -> Call:
        """MGET of that many keys."""
        raise NotImplementedError

    def hgetall(self) -> Call:
        """HGETALL of a hash of a hundred fields."""
        raise NotImplementedError

    def checkout(self) -> Call | None:
        """Take a connection from the pool and give it back."""
        return None

    def fetch(self) -> Call | None:
        """Make or fetch the client, as each request does it."""
        return None

    def first(self) -> Call | None:
        """Connect and GET once; before each call comes `disconnect`."""
        return self.get(10)

    def disconnect(self) -> None:
        """Close and forget the connections."""
        raise NotImplementedError


def nothing() -> None:
    """What there is to prepare where all was packed ahead."""


class Bare(Client):
    """The floor: what is sent is packed ahead."""

    def __init__(self, url: str) -> None:
        self._bare = BareSocket(url)
        self._connected = True

    def get(self, size: int) -> Call:
        return self._asking(b"GET", values.key(size))

    def set(self, size: int) -> Call:
        return self._asking(b"SET", values.key(size), values.value(size))

    def mget(self, count: int) -> Call:
        return self._asking(b"MGET", *values.keys(count))

    def hgetall(self) -> Call:
        return self._asking(b"HGETALL", values.HASH)

    def execution(self, length: int) -> tuple[Call, Call]:
        commands = [(b"GET", key) for key in values.keys(length)]
        packed = b"".join(self._bare.prepared(*words) for words in commands)
        return nothing, partial(self._bare.ask_many, packed, length)

    def first(self) -> Call:
        """Connect and ask once."""
        command = self._bare.prepared(b"GET", values.key(10))

        def first() -> Any:
            self._bare.open()
            return self._bare.ask(command)

        return first

    def disconnect(self) -> None:
        self._bare.drop()

    def _asking(self, *words: bytes) -> Call:
        return partial(self._bare.ask, self._bare.prepared(*words))


class PackingBare(Bare):
    """The floor of pipelines, where packing is a part of the work."""

    def execution(self, length: int) -> tuple[Call, Call]:
        commands = [(b"GET", key) for key in values.keys(length)]
        return nothing, partial(self._bare.pack_and_ask_many, commands)


class RedisLike(Client):
    """redis-py, what derives from it, and what wraps it.

    Args:
        client: what the application calls.
        pool: what it takes connections from.
        fetch: how each request comes by the client.
    """

    def __init__(self, client: Any, pool: Any, fetch: Call | None = None) -> None:
        self._client = client
        self._pool = pool
        self._fetch = fetch

    def get(self, size: int) -> Call:
        client, key = self._client, values.key(size)
        return lambda: client.get(key)

    def set(self, size: int) -> Call:
        client, key, value = self._client, values.key(size), values.value(size)
        return lambda: client.set(key, value)

    def mget(self, count: int) -> Call:
        client, keys = self._client, values.keys(count)
        return lambda: client.mget(keys)

    def hgetall(self) -> Call:
        client = self._client
        return lambda: client.hgetall(values.HASH)

    def execution(self, length: int) -> tuple[Call, Call]:
        client, keys, made = self._client, values.keys(length), []

        def fill() -> None:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.get(key)
            made.append(pipe)

        return fill, lambda: made.pop().execute()

    def checkout(self) -> Call:
        take, give = self._pool.get_connection, self._pool.release
        return lambda: give(take())

    def fetch(self) -> Call | None:
        return self._fetch

    def disconnect(self) -> None:
        self._pool.disconnect()
        self._pool.reset()  # or redis-py would keep the objects, and only dial again


class Single(RedisLike):
    """A client that holds one connection."""

    def first(self) -> None:
        return None  # it keeps the object, and only dials again

    def checkout(self) -> None:
        return None


class Valkey(RedisLike):
    """valkey-py, a fork of an older redis-py."""

    def checkout(self) -> Call:
        take, give = self._pool.get_connection, self._pool.release
        return lambda: give(take("GET"))


class Glide(Client):
    """valkey-glide's synchronous client: one connection for all threads, and a core in Rust."""

    def __init__(self, url: str) -> None:
        import glide_sync

        parts = urlsplit(url)
        address = glide_sync.NodeAddress(parts.hostname, parts.port)
        self._glide = glide_sync
        self._configuration = glide_sync.GlideClientConfiguration([address])
        self._client = self._made()

    def _made(self) -> Any:
        return self._glide.GlideClient.create(self._configuration)

    def get(self, size: int) -> Call:
        return partial(self._client.get, values.key(size))

    def set(self, size: int) -> Call:
        return partial(self._client.set, values.key(size), values.value(size))

    def mget(self, count: int) -> Call:
        return partial(self._client.mget, values.keys(count))

    def hgetall(self) -> Call:
        return partial(self._client.hgetall, values.HASH)

    def execution(self, length: int) -> tuple[Call, Call]:
        client, keys, made = self._client, values.keys(length), []

        def fill() -> None:
            batch = self._glide.Batch(False)
            for key in keys:
                batch.get(key)
            made.append(batch)

        return fill, lambda: client.exec(made.pop(), True)

    def first(self) -> Call:
        """Make the client, which connects, and ask once."""

        def first() -> Any:
            self._client = self._made()
            return self._client.get(values.key(10))

        return first

    def disconnect(self) -> None:
        self._client.close()


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
    return RedisLike(factory.client(), factory.pool(), factory.client)


def ours_anew(url: str) -> Client:
    """redispool, with a new client for each request."""
    pool = factory_for(url).pool()
    client = redispool.Redis(connection_pool=pool)
    return RedisLike(client, pool, lambda: redispool.Redis(connection_pool=pool))


def ours_in_flask(url: str) -> Client:
    """``flask_redispool.redis``, in a context of the application that does not end."""
    from flask import Flask

    from flask_redispool import RedisPool
    from flask_redispool import redis as proxy

    app = Flask(__name__)
    app.config["REDISPOOL"] = {"default": {"URL": url, "MAX_CONNECTIONS": BOUND}}
    RedisPool(app)
    app.app_context().push()
    return RedisLike(proxy, proxy.connection_pool, lambda: proxy.connection_pool)


def ours_in_django(url: str) -> Client:
    """``django_redispool.redis``."""
    configure_django(REDISPOOL={"default": {"URL": url, "MAX_CONNECTIONS": BOUND}})
    from django_redispool import redis as proxy

    return RedisLike(proxy, proxy.connection_pool, lambda: proxy.connection_pool)


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


@dataclass(frozen=True)
class Contender:
    """Who is measured.

    Args:
        open: makes a client for a URL.
        needs: the module that has to be installed.
        tcp_only: it cannot use a unix socket.
        one_per_thread: threads do not share it.
        only: how the names of the measures begin that it takes part in.
    """

    open: Callable[[str], Client]
    needs: str = "redis"
    tcp_only: bool = False
    one_per_thread: bool = False
    only: tuple[str, ...] = ("",)

    @property
    def installed(self) -> bool:
        """Whether it can take part."""
        return importlib.util.find_spec(self.needs) is not None


CONTENDERS = {
    FLOOR: Contender(Bare, one_per_thread=True),
    PACKING: Contender(PackingBare, only=("pipeline", "execute", "unix-pipeline")),
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
