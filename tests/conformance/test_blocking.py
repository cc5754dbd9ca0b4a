"""Point 5 of the reliability promises: commands that block, and subscriptions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, PoolTimeout, Redis
from redispool.testing import FaultProxy
from tests.conftest import MakePool
from tests.support import DROP, HANG, ScriptedServer, Valkey, eventually, in_child
from tests.support.callers import in_background
from tests.support.limits import time_limit

LIMIT = 0.3
"""Seconds of ``socket_timeout``; the server looks for blocked clients to wake every 0.1 s."""
LONGER = 0.4
MILLISECONDS = 400

BLOCKING: dict[str, tuple[Callable[[Redis], Any], Any]] = {
    "BLPOP": (lambda client: client.blpop(["list"], LONGER), None),
    "BRPOP": (lambda client: client.brpop(["list"], LONGER), None),
    "BRPOPLPUSH": (lambda client: client.brpoplpush("list", "other", LONGER), None),
    "BLMOVE": (lambda client: client.blmove("list", "other", LONGER), None),
    "BLMPOP": (lambda client: client.blmpop(LONGER, 1, "list", direction="LEFT"), None),
    "BZPOPMIN": (lambda client: client.bzpopmin(["set"], LONGER), None),
    "BZPOPMAX": (lambda client: client.bzpopmax(["set"], LONGER), None),
    "BZMPOP": (lambda client: client.bzmpop(LONGER, 1, ["set"], min=True), None),
    "XREAD": (lambda client: client.xread({"stream": "$"}, block=MILLISECONDS), []),
    "XREADGROUP": (
        lambda client: client.xreadgroup("group", "me", {"stream": ">"}, block=MILLISECONDS),
        [],
    ),
    "WAIT": (lambda client: client.wait(1, MILLISECONDS), 0),
}
"""Commands that find nothing for longer than ``socket_timeout``, and what they then give."""


@pytest.mark.parametrize("command", BLOCKING)
def test_blocking_outlasts_socket_timeout(make_pool: MakePool, command: str) -> None:
    """A command that blocks is waited for as long as the server takes, and a moment longer."""
    client = Redis(connection_pool=make_pool(socket_timeout=LIMIT, max_connections=1))
    client.xgroup_create("stream", "group", mkstream=True)
    run, nothing = BLOCKING[command]

    assert run(client) == nothing

    assert client.connection_pool.stats().created_total == 1


@pytest.mark.parametrize("command", BLOCKING)
def test_blocking_is_not_retried(
    make_pool: MakePool, scripted: ScriptedServer, command: str
) -> None:
    """What a blocking command took may be lost with its reply: the caller is told, and decides."""
    scripted.always(command, DROP)
    pool = make_pool(host=scripted.host, port=scripted.port, retry="always")
    run, _ = BLOCKING[command]

    with pytest.raises(redis.ConnectionError, match="may have executed"):
        run(Redis(connection_pool=pool))

    assert scripted.received[command] == 1


@pytest.mark.parametrize("seconds", [0, 1e11, "1e11"])
def test_blocking_for_ever(make_pool: MakePool, server: Valkey, seconds: Any) -> None:
    """``BLPOP key 0`` waits until something comes, whatever ``socket_timeout`` says.

    So does one for more seconds than a socket counts.
    """
    client = Redis(connection_pool=make_pool(socket_timeout=0.1, alias="patient"))

    def push() -> None:
        # Only once more time has passed for the blocked client than a reply may take.
        eventually(lambda: [row for row in server.clients("patient") if int(row["idle"]) >= 1])
        with server.outside() as other:
            other.rpush("list", "x")

    pushing = threading.Thread(target=push)
    pushing.start()

    assert client.blpop("list", timeout=seconds) == (b"list", b"x")
    pushing.join()


@pytest.mark.parametrize(
    "command",
    [
        ("BLPOP", "list", -10),
        ("BLPOP", "list", "nan"),
        ("BLPOP", "list", float("nan")),
        ("BLPOP", "list", "inf"),
        ("BLPOP", "list", "-inf"),
        ("BLPOP", "list", "1e300"),
        ("BLPOP", "list", "soon"),
        ("BLMPOP", -10, 1, "list", "LEFT"),
        ("WAIT", 1, -10_000),
        ("XREAD", "BLOCK", -10_000, "STREAMS", "stream", "$"),
    ],
    ids=str,
)
def test_times_that_the_server_refuses(
    make_pool: MakePool, flushed: Valkey, command: tuple[Any, ...]
) -> None:
    """What is no time to wait for is refused in the server's own words, at no cost of a line."""
    client = Redis(connection_pool=make_pool(socket_timeout=LIMIT, max_connections=1))
    with flushed.outside() as outside, pytest.raises(redis.ResponseError) as theirs:
        outside.execute_command(*command)

    with pytest.raises(redis.ResponseError) as ours:
        client.execute_command(*command)

    assert str(ours.value) == str(theirs.value)
    assert client.connection_pool.stats().created_total == 1
    with client.connection_pool.connection() as connection:
        assert time_limit(connection) == LIMIT
        assert connection.ledger.clean


@pytest.mark.parametrize("seconds", [0, 60])
def test_blocking_leaves_no_patience(
    make_pool: MakePool, scripted: ScriptedServer, seconds: int
) -> None:
    """Once it has its reply, the next command on the line has ``socket_timeout`` again."""
    scripted.always("BLPOP", b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n")
    scripted.always("GET", HANG)
    pool = make_pool(host=scripted.host, port=scripted.port, socket_timeout=LIMIT, retry="never")
    client = Redis(connection_pool=pool)
    assert client.blpop("list", seconds)

    asked = in_background(lambda: client.get("key"))

    assert isinstance(eventually(lambda: asked)[0], redis.TimeoutError)
    assert scripted.connections == 1


def test_subscriptions_are_counted_apart(make_pool: MakePool) -> None:
    """They take none of ``max_connections``, and ``max_pubsub`` bounds them."""
    pool = make_pool(max_connections=1, max_pubsub=2, timeout=0.5)
    client = Redis(connection_pool=pool)
    with client.pubsub() as first, client.pubsub() as second, client.pubsub() as third:
        first.subscribe("news")
        second.subscribe("news")
        with pytest.raises(PoolTimeout, match="MAX_PUBSUB"):
            third.subscribe("news")

        assert client.ping()
        stats = pool.stats()
        assert (stats.pubsub, stats.in_use) == (2, 0)
        assert (stats.pubsub_timeouts_total, stats.timeouts_total) == (1, 0)


@pytest.mark.parametrize("protocol", [2, 3])
def test_subscriptions_come_back(make_pool: MakePool, flushed: Valkey, protocol: int) -> None:
    """After a cut line a subscription is there again for all its channels, without a word."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(url=proxy.url, protocol=protocol)
        with Redis(connection_pool=pool).pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe("news", "sport")
            pubsub.psubscribe("weather.*")
            proxy.reset_all()

            for channel in ("news", "sport", "weather.today"):
                assert eventually(lambda channel=channel: heard(pubsub, flushed, channel))


def next_of_listen(pubsub: Any) -> Any:
    """What a loop over `listen` gets."""
    return next(pubsub.listen())


def next_of_a_long_wait(pubsub: Any) -> Any:
    """What comes within a long time."""
    return pubsub.get_message(timeout=60.0)


def next_of_short_waits(pubsub: Any) -> Any:
    """What comes, for one who looks again and again."""
    return eventually(lambda: pubsub.get_message(timeout=0.01), within=30.0)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("get", [next_of_listen, next_of_a_long_wait, next_of_short_waits])
def test_subscriptions_notice_a_black_hole(
    make_pool: MakePool, flushed: Valkey, get: Callable[[Any], Any], protocol: int
) -> None:
    """Where packets vanish, a subscription is there again on another line, in time.

    That is the interval of the health check, and then ``socket_timeout`` for its answer.
    """
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(
            url=proxy.url, protocol=protocol, health_check_interval=0.3, socket_timeout=LIMIT
        )
        with Redis(connection_pool=pool).pubsub() as pubsub:
            pubsub.subscribe("news")
            assert get(pubsub)["type"] == "subscribe"
            proxy.black_hole()
            proxy.heal()  # for new lines; the old one stays dead
            started = time.monotonic()

            again = in_background(lambda: get(pubsub))

            assert eventually(lambda: again)[0]["type"] == "subscribe"
            assert time.monotonic() - started < 0.3 + LIMIT + 1.0
            assert proxy.dials == 2
            with flushed.outside() as outside:
                outside.publish("news", "something")
            assert get(pubsub)["data"] == b"something"


def test_subscriptions_tell_of_a_black_hole(make_pool: MakePool, flushed: Valkey) -> None:
    """Where nothing is tried again, the reader is told."""
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(
            url=proxy.url, health_check_interval=0.1, socket_timeout=0.1, retry="never"
        )
        with Redis(connection_pool=pool).pubsub() as pubsub:
            pubsub.subscribe("news")
            assert pubsub.get_message(timeout=5.0)
            proxy.black_hole()
            proxy.heal()

            told = in_background(lambda: next_of_listen(pubsub))

            assert "PING of a subscription" in str(eventually(lambda: told)[0])


@pytest.mark.parametrize("protocol", [2, 3])
def test_silent_subscriptions_keep_their_line(
    make_pool: MakePool, flushed: Valkey, protocol: int
) -> None:
    """A line on which nothing is said is no dead one, nor one that is looked at now and then."""
    limits = {"health_check_interval": 0.1, "socket_timeout": 0.2}
    with FaultProxy(flushed.url) as proxy:
        pool = make_pool(url=proxy.url, protocol=protocol, **limits)
        with Redis(connection_pool=pool).pubsub() as pubsub:
            pubsub.subscribe("news")
            assert pubsub.get_message(timeout=5.0)
            started = time.monotonic()
            assert pubsub.get_message(timeout=0.5) is None  # and some PINGs were answered
            assert time.monotonic() - started >= 0.5

            for _ in range(3):
                rarely = time.monotonic() + sum(limits.values()) + 0.1
                eventually(lambda until=rarely: time.monotonic() > until)
                assert pubsub.get_message(timeout=0) is None

            assert eventually(lambda: heard(pubsub, flushed, "news"))
            assert proxy.dials == 1


def heard(pubsub: Any, server: Valkey, channel: str) -> bool:
    """Whether what is published on `channel` arrives."""
    with server.outside() as outside:
        outside.publish(channel, "something")
    message = pubsub.get_message(timeout=0.2)
    return message is not None and message["channel"] == channel.encode()


def test_subscriptions_notice_a_fork(pool: ConnectionPool) -> None:
    """A child can neither listen nor subscribe on its parent's line; its own work well."""
    client = Redis(connection_pool=pool)
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("news")

        def in_the_child() -> list[Any]:
            with client.pubsub() as own:
                own.subscribe("news")
                said = own.get_message(timeout=5.0)
                theirs = pubsub.get_message, lambda: pubsub.subscribe("more")
                return [said["type"], *map(refused, theirs)]

        assert in_child(in_the_child) == ["subscribe", True, True]
        assert client.pubsub_channels("more") == []
        client.publish("news", "still here")
        assert eventually(lambda: pubsub.get_message(timeout=1.0))["data"] == b"still here"


def refused(listen: Callable[[], Any]) -> bool:
    """Whether a connection of the parent's is refused."""
    try:
        listen()
    except redis.ConnectionError as error:
        return "parent" in str(error)
    return False
