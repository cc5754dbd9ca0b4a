"""Pipelines and subscriptions while they hold a connection: interrupted, restarted, forked."""

from __future__ import annotations

import threading

import pytest
import redis

from redispool import ConnectionPool, Redis, scope
from tests.conftest import MakePool
from tests.support import Valkey, eventually
from tests.support.callers import in_background
from tests.support.forks import in_child
from tests.support.injection import Kind, count_points, every, strike


@pytest.fixture
def client(pool: ConnectionPool) -> Redis:
    """A client of ours on a pool of two connections."""
    return Redis(connection_pool=pool)


def test_an_interrupted_return_is_neither_repeated_nor_hidden(
    client: Redis, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Ctrl-C comes just after a pipeline's return, that is what its caller gets."""
    release, others = pool.release, []

    def release_and_be_interrupted(connection: object) -> None:
        monkeypatch.undo()
        release(connection)
        others.append(pool.acquire())  # somebody has it at once
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "release", release_and_be_interrupted)
    pipe = client.pipeline().set("a", "A")
    with pytest.raises(KeyboardInterrupt):
        pipe.execute()
    pipe.reset()

    assert others[0].lease
    assert pool.stats().misuse_total == 0
    pool.release(others[0])


def test_a_subscription_outlasts_a_restart(make_pool: MakePool, own_server: Valkey) -> None:
    """A listener subscribes again by itself, as with redis-py's own client."""
    pool = make_pool(host=own_server.host, port=own_server.port, max_connections=2)
    with Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("news")

        def published(what: str) -> bool:
            with own_server.outside() as outside:
                outside.publish("news", what)
            message = pubsub.get_message(timeout=0.2)
            return message is not None and message["data"] == what.encode()

        eventually(lambda: published("before"))
        own_server.stop()
        own_server.start()
        eventually(lambda: published("after"))


def test_a_subscription_that_shall_not_retry_ends_with_its_line(
    make_pool: MakePool, own_server: Valkey
) -> None:
    """``retry="never"`` is for subscriptions too: the reader gets the error."""
    pool = make_pool(host=own_server.host, port=own_server.port, retry="never")
    pubsub = Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    own_server.stop()

    with pytest.raises(redis.ConnectionError):
        list(pubsub.listen())
    pubsub.close()


def test_a_subscription_is_no_leak(make_pool: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """A subscription is there to be held for long: it is logged neither meanwhile nor after."""
    pool = make_pool(leak_threshold=1e-6)
    with Redis(connection_pool=pool).pubsub() as pubsub:
        pubsub.subscribe("news")
        assert pool.stats().pubsub == 1

    assert caplog.records == []


def test_a_child_leaves_the_parents_blocks_quietly(
    client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """To give back is not to use: what the parent holds, a child only forgets."""

    def leave_all() -> int:
        for block in reversed(blocks):
            block.__exit__(None, None, None)
        return len(caplog.records)

    whole = scope()
    pin = client.pinned()
    pubsub = client.pubsub()
    pipe = client.pipeline()
    blocks = [whole, pin, pubsub, pipe]
    for block in blocks:
        block.__enter__()
    pubsub.subscribe("news")
    pipe.watch("a")

    assert in_child(leave_all) == 0
    for block in reversed(blocks):
        block.__exit__(None, None, None)


@pytest.mark.parametrize("kind", ["line", "opcode"])
@pytest.mark.parametrize("change", ["set", "clear"])
def test_a_subscription_can_be_ended_after_any_interruption(
    client: Redis, change: str, kind: Kind
) -> None:
    """No lock stays taken: neither its end nor a finalizer waits for ever."""
    pubsub = client.pubsub()
    work = getattr(pubsub.subscribed_event, change)
    for point in every(count_points(work, kind), at_most=None):
        strike(work, kind, point)
        ended = threading.Thread(target=pubsub.reset, daemon=True)
        ended.start()
        ended.join(5.0)
        assert not ended.is_alive(), point


def test_a_reader_waits_for_the_first_subscription(client: Redis) -> None:
    """`get_message` in one thread wakes when another subscribes."""
    with client.pubsub() as pubsub:
        reader = in_background(lambda: pubsub.get_message(timeout=30.0))
        eventually(lambda: pubsub.subscribed_event.sleepers)
        assert pubsub.get_message(timeout=0.01) is None
        pubsub.subscribe("news")

        assert eventually(lambda: reader)[0]["channel"] == b"news"
