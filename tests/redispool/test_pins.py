from __future__ import annotations

import re
import sys
import threading
import traceback
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, NotOwned, PoolTimeout, Redis, pins
from tests.conftest import MakePool
from tests.support import Valkey, eventually, run_threads


@pytest.fixture
def client(pool: ConnectionPool) -> Redis:
    """A client of ours on a pool of two connections."""
    return Redis(connection_pool=pool)


def test_a_pin_is_one_connection(client: Redis, pool: ConnectionPool) -> None:
    """All commands and pipelines of a pinned client run on the same connection."""
    with client.pinned() as pinned:
        assert isinstance(pinned, Redis)
        ids = {pinned.client_id() for _ in range(3)}
        ids |= set(pinned.pipeline().client_id().client_id().execute())
        ids |= set(pinned.pipeline(transaction=False).client_id().execute())
        assert len(ids) == 1
        assert pool.stats().in_use == 1

    assert pool.stats().in_use == 0


def test_an_ordinary_pin_costs_no_reconnect(client: Redis, pool: ConnectionPool) -> None:
    """A connection on which nothing was left is kept."""
    before = client.client_id()
    with client.pinned() as pinned:
        pinned.set("a", "A")
        with pinned.pipeline() as pipe:
            pipe.watch("a")
            pipe.multi()
            pipe.set("a", "B").execute()

    assert client.client_id() == before


def test_watch_on_a_pin_watches(client: Redis) -> None:
    """``watch`` on a pin is no empty word: EXEC fails after a change by somebody else."""
    with client.pinned() as pinned:
        for unwatched in (False, True):
            pinned.watch("stock")
            if unwatched:
                pinned.unwatch()
            client.incr("stock")
            pinned.execute_command("MULTI")
            pinned.execute_command("SET", "stock", 1)
            assert (pinned.execute_command("EXEC") is not None) is unwatched


@pytest.mark.parametrize(
    "command", [["SELECT", 3], ["WATCH", "a"], ["MULTI"], ["CLIENT", "SETNAME", "me"]]
)
def test_state_ends_with_the_pin(client: Redis, command: list[Any]) -> None:
    """What was selected, watched or named on the pin is not there for the next user."""
    before = client.client_id()
    with client.pinned() as pinned:
        pinned.execute_command(*command)

    assert client.client_id() != before
    assert client.client_info()["db"] == 0
    assert client.set("a", "A") is True


def test_state_lasts_as_long_as_the_pin(client: Redis) -> None:
    """SELECT and WATCH hold from command to command."""
    with client.pinned() as pinned:
        pinned.select(3)
        pinned.set("a", "three")
        assert pinned.get("a") == b"three"
        pinned.execute_command("WATCH", "a")
        pinned.get("a")
        with client.pinned() as other:
            other.select(3)
            other.set("a", "changed")
        pinned.execute_command("MULTI")
        pinned.execute_command("SET", "a", "lost")
        assert pinned.execute_command("EXEC") is None

    assert client.get("a") is None


def test_a_transaction_by_watch(client: Redis) -> None:
    """The loop of the documentation: watch, read, multi, write; it sees interference."""
    client.set("n", 1)
    with client.pinned() as pinned, pinned.pipeline() as pipe:
        pipe.watch("n")
        number = int(pinned.get("n"))
        client.set("n", 5)
        pipe.multi()
        pipe.set("n", number + 1)
        with pytest.raises(redis.WatchError):
            pipe.execute()

    assert client.get("n") == b"5"


def test_a_lost_connection_is_told(client: Redis, pool: ConnectionPool, server: Valkey) -> None:
    """The state is lost with the connection: no command is run on another in its place."""
    with client.pinned() as pinned:
        pinned.select(3)
        server.kill_clients(pool.alias)
        with pytest.raises(redis.ConnectionError):
            pinned.set("a", "A")
        for _ in range(2):
            with pytest.raises(
                redis.ConnectionError, match="the pinned connection was lost"
            ) as caught:
                pinned.set("a", "A")
            assert "may have executed" not in str(caught.value)
            with pytest.raises(redis.ConnectionError, match="the pinned connection was lost"):
                pinned.pipeline().set("a", "A").execute()

    assert client.get("a") is None
    assert pool.stats().in_use == 0


def test_a_transaction_does_not_go_on_in_another_session(
    client: Redis, pool: ConnectionPool, server: Valkey
) -> None:
    """`transaction` tries again after a WatchError; not where the session itself was lost."""
    tries = []

    def interfere(pipe: Any) -> None:
        tries.append(server.kill_clients(pool.alias))
        pipe.get("n")

    with client.pinned() as pinned:
        pinned.select(3)
        with pytest.raises(redis.ConnectionError, match="the pinned connection was lost"):
            pinned.transaction(interfere, "n")

    assert len(tries) == 1


def test_those_who_wait_for_their_turn_are_told_of_the_loss(
    client: Redis, pool: ConnectionPool, server: Valkey
) -> None:
    """Of those who wait for a connection that gets lost, each gets the error; none hangs."""
    errors: list[Exception] = []

    def ping() -> None:
        try:
            pinned.ping()
        except redis.ConnectionError as error:
            errors.append(error)

    with client.pinned() as pinned:
        with pinned.pipeline() as pipe:
            pipe.watch("a")
            threads = [threading.Thread(target=ping, daemon=True) for _ in range(3)]
            for thread in threads:
                thread.start()
            eventually(lambda: all("get_connection" in where(thread) for thread in threads))
            server.kill_clients(pool.alias)
            with pytest.raises(redis.WatchError):
                pipe.get("a")
        for thread in threads:
            thread.join(10)

    assert ["was lost" in str(error) for error in errors] == [True] * 3


def test_those_who_wait_for_their_turn_are_told_of_the_end(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an interruption has left a turn without an end, others wait no longer than the pin."""
    monkeypatch.setattr(pins, "LOOK_AGAIN", 0.01)
    errors: list[Exception] = []

    def ping() -> None:
        try:
            pinned.ping()
        except NotOwned as error:
            errors.append(error)

    with client.pinned() as pinned:
        pinned.connection_pool.get_connection()
        thread = threading.Thread(target=ping, daemon=True)
        thread.start()
        eventually(lambda: "get_connection" in where(thread))
    thread.join(10)

    assert ["has ended" in str(error) for error in errors] == [True]


def where(thread: threading.Thread) -> str:
    """The names of the functions that a thread is in."""
    frame = sys._current_frames().get(thread.ident or 0)
    return " ".join(entry.name for entry in traceback.extract_stack(frame)) if frame else ""


def test_use_after_the_end_is_refused(client: Redis, pool: ConnectionPool) -> None:
    """A pinned client that was kept beyond its block runs nothing."""
    with client.pinned() as pinned:
        pipe = pinned.pipeline()

    with pytest.raises(NotOwned, match="with block"):
        pinned.get("a")
    with pytest.raises(NotOwned):
        pipe.get("a").execute()
    assert pool.stats().misuse_total == 0


def test_an_error_in_the_block_gives_the_connection_back(
    client: Redis, pool: ConnectionPool
) -> None:
    """Whatever ends the block, the connection is back."""
    for error in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(error), client.pinned() as pinned:
            pinned.execute_command("MULTI")
            raise error

    assert (pool.stats().in_use, pool.stats().permits) == (0, 2)


def test_threads_take_turns(client: Redis) -> None:
    """Threads that share a pinned client each read their own replies."""
    with client.pinned() as pinned:

        def work(number: int) -> None:
            for turn in range(30):
                word = f"{number}.{turn}"
                assert pinned.echo(word) == word.encode()
                assert pinned.pipeline().echo(word).execute() == [word.encode()]

        run_threads(4, work)


def test_a_watching_pipeline_keeps_the_turn(client: Redis) -> None:
    """Between WATCH and EXEC of one thread no other thread's command runs on the connection."""
    order: list[str] = []
    with client.pinned() as pinned:
        with pinned.pipeline() as pipe:
            pipe.watch("a")
            thread = threading.Thread(target=lambda: order.append(f"other {pinned.ping()}"))
            thread.start()
            assert pinned.ping()  # of the same thread: allowed
            order.append("mine")
            pipe.multi()
            pipe.set("a", "A").execute()
        thread.join()

    assert order == ["mine", "other True"]


@pytest.mark.parametrize("arguments", [{}, {"timeout": 1.0}])
def test_a_pin_on_a_pin_is_the_same(make_pool: MakePool, arguments: dict[str, float]) -> None:
    """A function that pins may be called with a pinned client: it takes no second connection."""
    pool = make_pool(max_connections=1)
    with Redis(connection_pool=pool).pinned() as outer:
        with outer.pinned(**arguments) as inner:
            assert inner.client_id() == outer.client_id()
        with pytest.raises(NotOwned):
            inner.ping()
        assert outer.ping()
        run_threads(1, lambda _: outer.ping())


def test_a_pin_waits_as_long_as_it_is_told(make_pool: MakePool) -> None:
    """`pinned(timeout)` goes before the pool's time-out; the error names the holder's place."""
    pool = make_pool(max_connections=1)
    client = Redis(connection_pool=pool)
    with client.pinned(), pytest.raises(PoolTimeout, match=r"test_pins\.py:\d+") as caught:
        client.pinned(timeout=0.05).__enter__()

    assert caught.value.waited < 1.0
    assert re.search(r"taken at .*test_pins\.py:\d+ in test_a_pin_waits", caught.value.oldest)


def test_a_subscription_of_a_pin_has_its_own_connection(
    client: Redis, pool: ConnectionPool
) -> None:
    """`pubsub()` on a pinned client does not turn the pin's connection into a listener."""
    with client.pinned() as pinned, pinned.pubsub() as pubsub:
        pubsub.subscribe("news")
        assert pinned.ping()
        assert pool.stats().pubsub == 1


def test_a_dropped_pin_gives_its_connection_back(client: Redis, pool: ConnectionPool) -> None:
    """A block that is never left, as that of a dropped generator, does not keep the connection."""

    def generate() -> Any:
        with client.pinned() as pinned:
            yield pinned.ping()

    generator = generate()
    assert next(generator)
    assert pool.stats().in_use == 1
    del generator

    assert pool.stats().in_use == 0


def test_blocking_on_a_pin(client: Redis) -> None:
    """A blocking command may block on a pin as anywhere."""
    with client.pinned() as pinned:
        threading.Timer(0.05, client.rpush, ["list", "x"]).start()
        assert list(pinned.blpop("list", timeout=5)) == [b"list", b"x"]
    eventually(lambda: client.connection_pool.stats().in_use == 0)
