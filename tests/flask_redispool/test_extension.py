from __future__ import annotations

import gc
from collections.abc import Callable
from threading import get_ident
from typing import Any

import pytest
import redis as redis_py
from flask import Flask

import redispool
from flask_redispool import RedisPool, redis
from redispool import ConnectionPool, InvalidOption, PoolFactory

from ..support import Valkey, eventually, run_threads
from .conftest import MakeApp, factory_of, held

# Registering


def test_the_factory_is_where_flask_keeps_extensions(shop: Flask) -> None:
    """``app.extensions["redispool"]`` is the application's PoolFactory."""
    assert isinstance(shop.extensions["redispool"], PoolFactory)


def test_short_and_long_form_are_alike(flushed: Valkey) -> None:
    """``RedisPool(app)`` does what ``init_app(app)`` does."""
    short, long = Flask("short"), Flask("long")
    short.config["REDIS_URL"] = long.config["REDIS_URL"] = flushed.url

    RedisPool(short)
    RedisPool().init_app(long)

    assert factory_of(short).options == factory_of(long).options


def test_registering_opens_nothing(make_app: MakeApp) -> None:
    """An application starts while its server is away; the first command opens a connection."""
    app = make_app(REDISPOOL={"default": "redis://127.0.0.1:1/0"})

    assert factory_of(app).stats()["default"].created_total == 0


@pytest.mark.parametrize("second", ["same object", "other object"])
def test_a_second_registration_is_refused(shop: Flask, second: str) -> None:
    """An application has one set of pools: registering it again is an error, and no more."""
    pools, before = RedisPool(), shop.extensions["redispool"]
    if second == "same object":
        fresh = Flask("fresh")
        pools.init_app(fresh)
        shop, before = fresh, fresh.extensions["redispool"]

    with pytest.raises(RuntimeError, match=r"has a RedisPool already; call RedisPool\(app\) or i"):
        pools.init_app(shop)
    assert shop.extensions["redispool"] is before


def test_a_refused_setting_leaves_nothing_behind(flushed: Valkey) -> None:
    """An application whose settings were refused can be registered once they are mended."""
    app = Flask("shop")
    app.config["REDISPOOL"] = {"default": {"MAX_CONECTIONS": 2}}
    with pytest.raises(InvalidOption):
        RedisPool(app)

    app.config["REDISPOOL"] = {"default": {"URL": flushed.url, "MAX_CONNECTIONS": 2}}
    RedisPool(app)

    assert factory_of(app).pool().max_connections == 2


def test_a_dropped_application_leaves_no_connection(flushed: Valkey) -> None:
    """An application that is dropped, as a test suite drops many, takes its connections along."""
    app: Flask | None = Flask("shop")
    assert app is not None
    app.config["REDIS_URL"] = flushed.url
    RedisPool(app)
    with app.app_context():
        redis.ping()
    assert len(flushed.clients()) == 1

    app = None
    gc.collect()

    eventually(lambda: not flushed.clients())


# Several applications


def make_one(pools: RedisPool, name: str, setting: dict[str, Any]) -> Flask:
    """An application that is registered with an extension that others share."""
    app = Flask(name)
    app.config["REDISPOOL"] = {"default": setting}
    pools.init_app(app)
    return app


def test_applications_of_one_extension_never_meet(flushed: Valkey, own_server: Valkey) -> None:
    """Applications registered with one object keep their own server, database and options."""
    pools = RedisPool()
    settings = {
        "here": {"URL": flushed.url, "MAX_CONNECTIONS": 1},
        "beside": {"URL": flushed.url.removesuffix("0") + "1", "MAX_CONNECTIONS": 2},
        "there": {"URL": own_server.url, "MAX_CONNECTIONS": 3},
    }
    apps = {name: make_one(pools, name, setting) for name, setting in settings.items()}

    for name, app in apps.items():
        with app.app_context():
            redis.set("name", name)
    found = {}
    for name, app in apps.items():
        with app.app_context():
            found[name] = redis.get("name"), pools.pool().max_connections
        factory_of(app).close(timeout=0)

    assert found == {"here": (b"here", 1), "beside": (b"beside", 2), "there": (b"there", 3)}


def test_the_innermost_context_decides(make_app: MakeApp, flushed: Valkey) -> None:
    """In nested app contexts the commands go where the innermost one's settings point."""
    outer = make_app("outer", REDIS_URL=f"redis://{flushed.host}:{flushed.port}/1")
    inner = make_app("inner", REDIS_URL=f"redis://{flushed.host}:{flushed.port}/2")

    with outer.app_context():
        redis.set("name", "outer")
        with inner.app_context():
            assert redis.get("name") is None
            redis.set("name", "inner")
        assert redis.get("name") == b"outer"

    with flushed.outside(db=2) as client:
        assert client.get("name") == b"inner"


def test_a_pipeline_stays_with_its_application(make_app: MakeApp, flushed: Valkey) -> None:
    """What was begun in one application is not finished in another that became the current one."""
    outer = make_app("outer", REDIS_URL=f"redis://{flushed.host}:{flushed.port}/1")
    inner = make_app("inner", REDIS_URL=f"redis://{flushed.host}:{flushed.port}/2")

    with outer.app_context():
        pipeline = redis.pipeline()
        pipeline.set("name", "outer")
        with inner.app_context():
            pipeline.execute()

        assert redis.get("name") == b"outer"


# Aliases


def test_aliases_are_clients_and_pools_of_their_own(make_app: MakeApp, flushed: Valkey) -> None:
    """``pools.client("sessions")`` and ``pools.pool("sessions")`` are those of that alias."""
    place = f"redis://{flushed.host}:{flushed.port}"
    app = make_app(REDISPOOL={"default": f"{place}/0", "sessions": f"{place}/1"})
    pools = RedisPool()

    with app.app_context():
        pools.client("sessions").set("name", "session")

        assert redis.get("name") is None
        assert pools.client("sessions").get("name") == b"session"
        assert pools.client() is pools.client("default")
        assert isinstance(pools.pool("sessions"), ConnectionPool)
        assert pools.pool("sessions").alias == "sessions"


def test_an_unknown_alias_is_answered_with_the_known_ones(shop: Flask) -> None:
    """The error of an alias that nobody defined names it, and those that are defined."""
    with (
        shop.app_context(),
        pytest.raises(InvalidOption, match=r'REDISPOOL\["sesions"\]: is not defined.*: default'),
    ):
        RedisPool().client("sesions")


# Where there is no application


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda: redis.get("key"), id="redis"),
        pytest.param(lambda: redis.pipeline(), id="pipeline"),
        pytest.param(lambda: redis.pubsub(), id="pubsub"),
        pytest.param(lambda: redis.pinned().__enter__(), id="pinned"),
        pytest.param(lambda: RedisPool().client(), id="client"),
        pytest.param(lambda: RedisPool().pool(), id="pool"),
    ],
)
def test_outside_of_a_context_the_error_says_what_to_write(use: Callable[[], Any]) -> None:
    """Without a current app each use fails, and says how to get one."""
    with pytest.raises(RuntimeError, match=r"outside of an app context.*with app\.app_context\(\)"):
        use()


def test_an_unregistered_application_is_told_how_to_register(flushed: Valkey) -> None:
    """The error of an application that nobody registered names it and the call that is missing."""
    app = Flask("bakery")

    with app.app_context(), pytest.raises(RuntimeError, match=r"'bakery'.*RedisPool\(app\), or in"):
        redis.get("key")


def test_redis_can_be_looked_at_without_an_application() -> None:
    """``redis`` is an instance of redis-py's class, and tells its name, wherever it is."""
    assert isinstance(redis, redis_py.Redis)
    assert isinstance(redis, redispool.Redis)
    assert repr(redis) == "<redis of the current Flask app>"


# What a request can do


def answered(app: Flask, view: Callable[[], Any]) -> str:
    """What the application answers when `view` is the view."""
    app.add_url_rule("/", view_func=view)
    response = app.test_client().get("/")
    assert response.status_code == 200, response.text
    return response.text


def test_a_view_uses_the_pool_of_its_application(shop: Flask) -> None:
    """The same connection serves one request after the other."""
    shop.add_url_rule("/", "hits", lambda: str(redis.incr("hits")))

    answers = [shop.test_client().get("/").text for _ in range(3)]

    assert answers == ["1", "2", "3"]
    assert factory_of(shop).stats()["default"].created_total == 1


def test_a_view_does_what_a_client_can(shop: Flask) -> None:
    """Pipelines, transactions, scripts, locks, pins and subscriptions work through `redis`."""

    def view() -> dict[str, Any]:
        def double(pipe: Any) -> None:
            hits = int(pipe.get("hits"))
            pipe.multi()
            pipe.set("hits", 2 * hits)

        found: dict[str, Any] = {"pipeline": redis.pipeline().set("hits", 1).incr("hits").execute()}
        found["transaction"] = redis.transaction(double, "hits")
        script = redis.register_script("return redis.call('incr', KEYS[1])")
        found["script"] = script(keys=["hits"])
        with redis.lock("door", timeout=10), redis.pinned() as pin:
            found["pinned"] = pin.incr("hits")
        with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe("news")
            redis.publish("news", "rain")
            message = eventually(lambda: pubsub.get_message(timeout=1))
            found["pubsub"] = message["data"].decode()
        return found

    shop.add_url_rule("/", view_func=view)

    assert shop.test_client().get("/").get_json() == {
        "pipeline": [True, 2],
        "transaction": [True],
        "script": 5,
        "pinned": 6,
        "pubsub": "rain",
    }
    assert held(shop) == 0


def test_an_async_view_may_use_the_client(shop: Flask) -> None:
    """An async view, which Flask runs in an event loop in another thread, finds its application."""
    view_threads = []

    async def hits() -> str:
        view_threads.append(get_ident())
        with redis.pinned() as pin:
            return str(pin.incr("hits"))

    assert answered(shop, hits) == "1"
    assert shop.test_client().get("/").text == "2"
    assert get_ident() not in view_threads
    assert factory_of(shop).stats()["default"].created_total == 1


def test_threads_share_the_pool(make_app: MakeApp, flushed: Valkey) -> None:
    """Sixteen threads with two connections wait for one another, and each gets its own values."""
    app = make_app(REDISPOOL={"default": {"URL": flushed.url, "MAX_CONNECTIONS": 2}})

    def work(number: int) -> list[bytes | None]:
        found = []
        for round_ in range(25):
            with app.app_context():
                redis.set(f"{number}:{round_}", f"value of {number}:{round_}")
                found.append(redis.get(f"{number}:{round_}"))
        return found

    for number, found in enumerate(run_threads(16, work)):
        assert found == [b"value of %d:%d" % (number, round_) for round_ in range(25)]
    assert factory_of(app).stats()["default"].created_total <= 2
    assert len(flushed.clients()) <= 2


def test_the_shell_knows_redis(shop: Flask) -> None:
    """``flask shell`` has `redis` at hand."""
    assert shop.make_shell_context()["redis"] is redis
