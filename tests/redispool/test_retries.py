from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, PoolClosed, PoolTimeout, Redis
from redispool.connection import PooledConnection
from tests.conftest import MakePool
from tests.support import DROP, HANG, RESET, ScriptedServer, Valkey, eventually
from tests.support.limits import time_limit

LOST = [DROP, RESET]


@pytest.fixture
def make_client(make_pool: MakePool, scripted: ScriptedServer) -> Callable[..., Redis]:
    """Makes clients of the server that answers as told."""

    def make(**options: Any) -> Redis:
        return Redis(connection_pool=make_pool(host=scripted.host, port=scripted.port, **options))

    return make


# What may be sent again


@pytest.mark.parametrize("lost", LOST)
def test_a_read_is_sent_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer, lost: object
) -> None:
    """A GET whose reply was lost is sent again: reading twice changes nothing."""
    scripted.answer("GET", lost)

    assert make_client().get("a") == b"value"
    assert scripted.received["GET"] == 2


def test_a_read_that_timed_out_is_sent_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """The same after ``socket_timeout``."""
    scripted.answer("GET", HANG)

    assert make_client(socket_timeout=0.1).get("a") == b"value"
    assert scripted.received["GET"] == 2


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("command", ["INCR", "SET", "EVAL"])
def test_a_write_is_run_at_most_once(
    make_client: Callable[..., Redis], scripted: ScriptedServer, command: str, lost: object
) -> None:
    """A write whose reply was lost may have run: it is not sent again, and the error says so."""
    scripted.answer(command, lost)
    client = make_client()
    words = {"INCR": ["n"], "SET": ["a", "A"], "EVAL": ["return 1", "0"]}[command]

    with pytest.raises(
        redis.ConnectionError,
        match=rf"The server may have executed {command}; it was not sent again",
    ):
        client.execute_command(command, *words)

    assert scripted.received[command] == 1
    assert client.get("a") == b"value"


def test_a_write_that_timed_out_is_run_at_most_once(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """The same where no reply came in time; the error stays redis-py's TimeoutError."""
    scripted.answer("INCRBY", HANG)
    client = make_client(socket_timeout=0.1)

    with pytest.raises(redis.TimeoutError, match="may have executed INCR"):
        client.incr("n")

    assert scripted.received["INCRBY"] == 1


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_is_run_at_most_once(
    make_client: Callable[..., Redis], scripted: ScriptedServer, transaction: bool
) -> None:
    """A pipeline with a write in it counts as one, with MULTI and EXEC or without."""
    scripted.answer("INCRBY", DROP)
    client = make_client()

    with pytest.raises(redis.ConnectionError, match="may have executed the pipeline"):
        client.pipeline(transaction=transaction).incr("n").execute()

    assert scripted.received["INCRBY"] == 1
    assert client.get("a") == b"value"


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_that_only_reads_is_sent_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer, transaction: bool
) -> None:
    """Reading twice changes nothing, be it between MULTI and EXEC."""
    scripted.answer("GET", DROP)
    scripted.always("EXEC", b"*1\r\n$5\r\nvalue\r\n")
    client = make_client()

    assert client.pipeline(transaction=transaction).get("a").execute() == [b"value"]
    assert scripted.received["GET"] == 2


@pytest.mark.parametrize("transaction", [True, False])
def test_always_sends_pipelines_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer, transaction: bool
) -> None:
    """With ``retry="always"`` the caller has said that running twice does no harm."""
    scripted.answer("INCRBY", DROP)
    scripted.always("EXEC", b"*1\r\n:1\r\n")
    client = make_client(retry="always")

    assert client.pipeline(transaction=transaction).incr("n").execute() == [1]
    assert scripted.received["INCRBY"] == 2


def test_a_pipeline_that_was_refused_in_part_is_not_sent_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """A server that ends its loading between two commands has run the second."""
    scripted.answer("INCRBY", b"-LOADING soon\r\n")
    client = make_client()

    with pytest.raises(redis.ConnectionError, match="may have executed the pipeline"):
        client.pipeline(transaction=False).incr("n").incr("n").execute()

    assert scripted.received["INCRBY"] == 2


def test_always_sends_writes_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """With ``retry="always"`` the caller has said that running twice does no harm."""
    scripted.answer("INCRBY", DROP, DROP)

    assert make_client(retry="always").incr("n") == 1
    assert scripted.received["INCRBY"] == 3


def test_never_sends_nothing_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """With ``retry="never"`` even a read is sent once."""
    scripted.answer("GET", DROP)

    with pytest.raises(redis.ConnectionError):
        make_client(retry="never").get("a")

    assert scripted.received["GET"] == 1


def test_what_never_left_is_sent_again(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that could not be sent in full cannot have run, and is sent again on a new line."""
    client = Redis(connection_pool=pool)
    client.set("n", 1)
    (connection,) = pool.capacity.connections()
    connection._sock.shutdown(socket.SHUT_WR)
    monkeypatch.setattr(PooledConnection, "alive", lambda self: True)

    assert client.incr("n") == 2
    assert pool.stats().created_total == 2


def test_what_a_loading_server_refused_is_sent_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """A server that loads its data runs nothing, so a write may be sent again."""
    scripted.answer("INCRBY", b"-LOADING Redis is loading the dataset in memory\r\n")

    assert make_client().incr("n") == 1


def test_a_server_that_goes_on_loading(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """When its time is over the caller gets the server's own words, no talk of lost writes."""
    scripted.always("INCRBY", b"-LOADING Redis is loading the dataset in memory\r\n")

    with pytest.raises(redis.BusyLoadingError) as caught:
        make_client(timeout=0.5, socket_timeout=0.5).incr("n")

    assert "may have executed" not in str(caught.value)
    assert scripted.received["INCRBY"] >= 2


def test_error_replies_are_no_reason(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """What the server answered with an error it has answered."""
    scripted.answer("GET", b"-WRONGTYPE of value\r\n")

    with pytest.raises(redis.ResponseError):
        make_client().get("a")

    assert scripted.received["GET"] == 1


def test_a_connection_that_is_held_is_not_replaced(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """On a pin even a read is not sent again: what the pin was for is lost with its connection."""
    scripted.answer("GET", DROP)
    client = make_client()

    with client.pinned() as pinned, pytest.raises(redis.ConnectionError):
        pinned.get("a")

    single = client.client()
    scripted.answer("GET", DROP)
    with pytest.raises(redis.ConnectionError):
        single.get("a")
    single.close()
    assert scripted.received["GET"] == 2


def test_errors_of_the_pool_are_not_tried_again(make_pool: MakePool) -> None:
    """Who waited in vain does not wait again, and a closed pool stays closed; nothing has run."""
    pool = make_pool(max_connections=1, timeout=0.1)
    client = Redis(connection_pool=pool)
    with pool.connection():
        started = time.monotonic()
        with pytest.raises(PoolTimeout) as caught:
            client.incr("n")
    assert time.monotonic() - started < 0.5
    assert "may have executed" not in str(caught.value)

    pool.close()
    with pytest.raises(PoolClosed) as closed:
        client.incr("n")
    assert "may have executed" not in str(closed.value)


def test_connecting_is_not_tried_again_on_top(make_pool: MakePool) -> None:
    """The pool tries to connect ``retries`` times more; the client does not multiply that."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    pool = make_pool(host="127.0.0.1", port=port, retries=2)

    with pytest.raises(redis.ConnectionError) as caught:
        Redis(connection_pool=pool).incr("n")

    assert pool.stats().create_failed_total == 3
    assert "may have executed" not in str(caught.value)


# How often, how long


def test_after_as_many_tries_as_allowed_the_error_comes(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """``retries`` is how often a command is sent again."""
    scripted.always("GET", DROP)

    with pytest.raises(redis.ConnectionError):
        make_client(retries=2).get("a")

    assert scripted.received["GET"] == 3


def test_all_tries_together_stay_within_the_deadline(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """However many tries: ``timeout`` plus ``socket_timeout`` is all the time that they have."""
    scripted.always("GET", HANG)
    client = make_client(timeout=1.5, socket_timeout=0.5, retries=50)
    started = time.monotonic()

    with pytest.raises(redis.TimeoutError):
        client.get("a")

    assert 0.5 < time.monotonic() - started < 5.0  # 25 s would be the time of all tries
    assert 2 <= scripted.received["GET"] <= 4


def test_another_try_waits_for_a_connection_only_as_long_as_is_left(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """A second try does not wait in the queue with a time of its own."""
    client = make_client(timeout=0.5, socket_timeout=0.5, max_connections=1)
    pool = client.connection_pool
    taken: list[PooledConnection] = []

    def lose_it_to_another() -> object:
        pool.resize(2)
        taken.append(pool.acquire())
        pool.resize(1)
        return DROP

    scripted.answer("GET", lose_it_to_another)
    started = time.monotonic()

    with pytest.raises(PoolTimeout):
        client.get("a")

    assert time.monotonic() - started < 1.4
    pool.release(taken.pop())


def test_without_limits_a_read_is_still_sent_again(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """``timeout=None`` or ``socket_timeout=None`` is no limit, and so none to trying again."""
    client = make_client(timeout=None, socket_timeout=None)
    scripted.answer("GET", DROP, DROP)

    assert client.get("a") == b"value"


def test_after_another_try_the_usual_limits_hold(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """The deadline of one caller does not stay behind for the next."""
    client = make_client(socket_timeout=3.0)
    scripted.answer("GET", DROP)
    client.get("a")

    with client.connection_pool.connection() as connection:
        assert time_limit(connection) == 3.0
        assert connection._deadline is None


# With a real server


def test_nothing_is_counted_twice(make_pool: MakePool, own_server: Valkey) -> None:
    """While the server's connections are killed all the time, each INCR that succeeded ran once."""
    pool = make_pool(host=own_server.host, port=own_server.port, max_connections=2)
    client = Redis(connection_pool=pool)
    succeeded = failed = 0
    for turn in range(150):
        if turn % 3 == 0:
            own_server.kill_clients(pool.alias)
        try:
            client.incr("n")
            succeeded += 1
        except redis.ConnectionError as error:
            failed += "may have executed" in str(error)

    counted = int(eventually(lambda: client.get("n")))
    assert succeeded <= counted <= succeeded + failed
    assert succeeded


def test_a_write_that_was_sent_often_says_so(
    make_client: Callable[..., Redis], scripted: ScriptedServer
) -> None:
    """Under ``always`` the error tells how often the command was sent."""
    scripted.always("INCRBY", LOST[0])

    with pytest.raises(redis.ConnectionError, match="executed INCRBY; it was sent 3 times"):
        make_client(retry="always", retries=2).incr("n")
