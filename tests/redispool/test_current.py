from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from redispool import PoolFactory, Redis
from redispool.client import Pipeline, PubSub
from redispool.current import CurrentRedis

from ..conftest import MakeFactory
from ..support import Valkey, eventually


class NothingThere(Exception):
    """What a finder raises that finds no client."""


def nothing() -> Redis:
    """A finder that finds no client."""
    raise NothingThere("make one first")


@pytest.fixture
def redis(factory: PoolFactory) -> CurrentRedis:
    """A client that stands for the one of the factory."""
    return CurrentRedis(factory.client, "redis of the test")


def test_it_can_be_made_before_there_is_a_client() -> None:
    """Making, showing, closing and dropping it asks for no client."""
    redis = CurrentRedis(nothing, "redis of nobody")

    assert isinstance(redis, Redis)
    assert isinstance(redis, redis_py.Redis)
    assert repr(redis) == "<redis of nobody>"
    assert not hasattr(redis, "__wrapped__")
    assert repr(copy.copy(redis)) == "<redis of nobody>"
    redis.close()
    del redis
    gc.collect()


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda redis: redis.get("key"), id="command"),
        pytest.param(lambda redis: redis.execute_command("GET", "key"), id="execute_command"),
        pytest.param(lambda redis: redis.pipeline(), id="pipeline"),
        pytest.param(lambda redis: redis.pubsub(), id="pubsub"),
        pytest.param(lambda redis: redis.pinned().__enter__(), id="pinned"),
        pytest.param(lambda redis: redis.client(), id="client"),
        pytest.param(lambda redis: redis.register_script("return 1"), id="script"),
        pytest.param(lambda redis: redis.lock("name").acquire(), id="lock"),
        pytest.param(lambda redis: redis.monitor(), id="monitor"),
        pytest.param(lambda redis: redis.connection_pool, id="pool"),
    ],
)
def test_where_no_client_is_found_the_finder_says_why(use: Callable[[Redis], Any]) -> None:
    """The error of the finder reaches the caller as it is, whatever was tried."""
    with pytest.raises(NothingThere, match="make one first"):
        use(CurrentRedis(nothing, "redis of nobody"))


def test_each_use_looks_anew(make_factory: MakeFactory, flushed: Valkey) -> None:
    """It stands for another client as soon as another one is found."""
    place = f"redis://{flushed.host}:{flushed.port}"
    factory = make_factory({"default": f"{place}/0", "other": f"{place}/1"})
    found = factory.client()
    redis = CurrentRedis(lambda: found, "redis of the moment")

    redis.set("name", "first")
    found = factory.client("other")

    assert redis.get("name") is None
    assert redis.connection_pool is factory.pool("other")


def test_it_has_whatever_a_client_has(redis: CurrentRedis, factory: PoolFactory) -> None:
    """No attribute of the client of the moment is hidden by one of its own."""
    client = factory.client()

    assert vars(client)
    for name, value in vars(client).items():
        assert getattr(redis, name) is value


def test_a_missing_attribute_is_missing(redis: CurrentRedis) -> None:
    """What no client has is an AttributeError here too, as `hasattr` and others expect."""
    assert not hasattr(redis, "no_such_command")
    assert not hasattr(redis, "__html__")
    assert copy.copy(redis).ping()


def test_commands_pipelines_and_scripts(redis: CurrentRedis) -> None:
    """It does what redis-py's client does, with the classes that give connections back."""
    pipeline = redis.pipeline()
    assert isinstance(pipeline, Pipeline)

    assert pipeline.set("hits", 1).incr("hits").execute() == [True, 2]
    assert redis.register_script("return redis.call('incr', KEYS[1])")(keys=["hits"]) == 3
    assert redis.transaction(lambda pipe: pipe.multi() or pipe.incr("hits"), "hits") == [4]
    assert list(redis.scan_iter("hi*")) == [b"hits"]


def test_callbacks_are_those_of_the_client(redis: CurrentRedis, factory: PoolFactory) -> None:
    """A callback that was set for the client of the moment is used, also in pipelines."""
    factory.client().set_response_callback("GET", lambda reply: reply.decode().upper())
    redis.set("name", "ada")

    assert redis.get("name") == "ADA"
    assert redis.pipeline().get("name").execute() == ["ADA"]


def test_pinned_holds_one_connection(redis: CurrentRedis, factory: PoolFactory) -> None:
    """In the block of `pinned` all runs on one connection; after it, the connection is back."""
    with redis.pinned() as pin:
        same = {pin.client_id() for _ in range(3)}
        assert redis.client_id() not in same
        assert len(same) == 1
        assert factory.pool().stats().in_use == 1

    assert factory.pool().stats().in_use == 0


def test_a_subscription_hears_what_is_published(redis: CurrentRedis, factory: PoolFactory) -> None:
    """A pub/sub takes its connection from the pool's subscriptions, and gives it back."""
    with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        assert isinstance(pubsub, PubSub)
        pubsub.subscribe("news")
        eventually(lambda: redis.publish("news", "rain") == 1)

        message = eventually(lambda: pubsub.get_message(timeout=1))
        assert message["data"] == b"rain"
        assert factory.pool().stats().pubsub == 1
    assert factory.pool().stats().pubsub == 0


def test_a_lock_locks(redis: CurrentRedis) -> None:
    """A lock is held by one at a time, and its release lets the next one in."""
    with redis.lock("door", timeout=10):
        assert not redis.lock("door", timeout=10).acquire(blocking=False)
    assert redis.lock("door", timeout=10).acquire(blocking=False)


def test_it_closes_nothing(redis: CurrentRedis, factory: PoolFactory) -> None:
    """The pool belongs to the application: neither `close` nor a ``with`` block ends it."""
    with redis as same:
        same.ping()
    redis.close()

    assert not factory.pool().closed
    assert redis.ping()
    assert factory.pool().stats().created_total == 1


def test_client_is_on_the_pool_of_the_moment(redis: CurrentRedis, factory: PoolFactory) -> None:
    """``redis.client()`` holds one connection of its own until it is closed."""
    with redis.client() as single:
        assert single.client_id() == single.client_id() != redis.client_id()
        assert factory.pool().stats().in_use == 1
    assert factory.pool().stats().in_use == 0
