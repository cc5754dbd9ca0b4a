"""redis-py's own client on our pool, in redis-py 7 and 8: all works, and all comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redispool import ConnectionPool, PoolTimeout
from redispool.dropin import client_name
from tests.conftest import MakePool
from tests.support import ScriptedServer, Valkey, eventually, run_threads


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def pool(make_pool: MakePool, request: pytest.FixtureRequest) -> ConnectionPool:
    """A pool of two connections, for each protocol."""
    return make_pool(max_connections=2, protocol=request.param)


@pytest.fixture
def client(pool: ConnectionPool) -> Iterator[redis.Redis]:
    """redis-py's client; at the end of the test all its connections are back."""
    yield redis.Redis(connection_pool=pool)
    assert pool.stats().in_use == 0


def test_a_pool_is_one_of_redis_pys(pool: ConnectionPool) -> None:
    """Code that asks for a ``redis.ConnectionPool`` is content."""
    assert isinstance(pool, redis.ConnectionPool)


def test_commands(client: redis.Redis) -> None:
    """Commands of all kinds give what redis-py's own pool gives."""
    assert client.set("a", "A") is True
    assert client.get("a") == b"A"
    assert client.hset("h", mapping={"x": 1}) == 1
    assert client.hgetall("h") == {b"x": b"1"}
    assert client.zadd("z", {"m": 1.5}) == 1
    assert client.zscore("z", "m") == 1.5
    assert client.sadd("s", "a", "b") == 2
    assert client.smembers("s") == {b"a", b"b"}
    assert sorted(client.scan_iter()) == [b"a", b"h", b"s", b"z"]
    assert client.set("big", b"x" * 3_000_000)
    assert client.get("big") == b"x" * 3_000_000


def test_decoded_replies(make_pool: MakePool) -> None:
    """``decode_responses`` and ``encoding`` reach the connections and the client's encoder."""
    client = redis.Redis(connection_pool=make_pool(decode_responses=True, encoding="latin-1"))
    client.set("a", b"\xe9")

    assert client.get("a") == "é"
    assert client.get_encoder().encoding == "latin-1"


def test_undecodable_replies(make_pool: MakePool) -> None:
    """A reply that cannot be decoded is an error; the next command gets its own reply."""
    pool = make_pool(decode_responses=True, max_connections=1)
    client = redis.Redis(connection_pool=pool)
    with redis.Redis(host=pool.options.host, port=pool.options.port) as other:
        other.set("broken", b"\xff\xfe")

    with pytest.raises(UnicodeDecodeError):
        client.get("broken")

    assert client.ping()


def test_pipelines(client: redis.Redis, pool: ConnectionPool) -> None:
    """Pipelines of all kinds, empty, failing or dropped, give their connection back."""
    assert client.pipeline().set("n", 1).incr("n").execute() == [True, 2]
    assert client.pipeline(transaction=False).incr("n").get("n").execute() == [3, b"3"]
    assert client.pipeline().execute() == []
    with client.pipeline() as pipe:
        pipe.lpush("n", "x").incr("n")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipe.execute()
    replies = (
        client.pipeline(transaction=False).lpush("n", 1).incr("n").execute(raise_on_error=False)
    )
    assert isinstance(replies[0], redis.ResponseError)
    assert replies[1] == 5
    client.pipeline().incr("n")  # never executed

    assert pool.stats().created_total == 1


def test_large_pipelines(client: redis.Redis) -> None:
    """A pipeline that goes out in many pieces comes back in order."""
    pipe = client.pipeline(transaction=False)
    for number in range(5000):
        pipe.set(f"key{number}", f"{number}" * 10)
        pipe.get(f"key{number}")

    assert pipe.execute()[1::2] == [f"{number}".encode() * 10 for number in range(5000)]


def test_watch(client: redis.Redis, pool: ConnectionPool) -> None:
    """WATCH sees what others change, and the connection is clean after EXEC, reset or an error."""
    client.set("n", 1)
    with client.pipeline() as pipe:
        pipe.watch("n")
        assert pipe.get("n") == b"1"
        client.incr("n")
        pipe.multi()
        with pytest.raises(redis.WatchError):
            pipe.incr("n").execute()
    with client.pipeline() as pipe:
        pipe.watch("n")
        assert pipe.unwatch()
    with pytest.raises(ZeroDivisionError), client.pipeline() as pipe:
        pipe.watch("n")
        raise ZeroDivisionError

    assert client.get("n") == b"2"
    assert pool.stats().created_total == 2


def test_a_dropped_watch(client: redis.Redis, pool: ConnectionPool) -> None:
    """A pipeline that is dropped while it watches gives its connection back."""
    pipe = client.pipeline()
    pipe.watch("n")
    assert pool.stats().in_use == 1

    del pipe

    assert pool.stats().in_use == 0


def test_transactions_under_competition(client: redis.Redis) -> None:
    """`transaction` counts right while four threads compete on two connections."""

    def add_one(pipe: Any) -> None:
        number = int(pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", number + 1)

    def work(_: int) -> None:
        for _ in range(10):
            client.transaction(add_one, "n")

    run_threads(4, work)

    assert client.get("n") == b"40"


def test_subscriptions(client: redis.Redis, pool: ConnectionPool) -> None:
    """Subscribe, listen, unsubscribe; the connection is not lent to others afterwards."""
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("news")
        pubsub.psubscribe("n*")
        assert pubsub.get_message(timeout=0.2) is None
        client.publish("news", "hello")
        messages = [eventually(lambda: pubsub.get_message(timeout=1.0)) for _ in range(2)]
        assert {message["type"] for message in messages} == {"message", "pmessage"}
        pubsub.unsubscribe()

    assert pool.stats().in_use == 0
    assert client.get("a") is None


def test_a_subscription_in_a_thread(client: redis.Redis) -> None:
    """`run_in_thread` calls the handler, and stops."""
    heard: list[Any] = []
    pubsub = client.pubsub()
    pubsub.subscribe(news=heard.append)
    thread = pubsub.run_in_thread(sleep_time=0.01)
    client.publish("news", "hello")
    eventually(lambda: heard)
    thread.stop()
    thread.join()

    assert heard[0]["data"] == b"hello"


def test_a_subscription_reconnects(
    client: redis.Redis, pool: ConnectionPool, server: Valkey
) -> None:
    """redis-py subscribes again on a line that broke, which it finds out when it reads."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    assert pubsub.get_message(timeout=0.2) is None
    server.kill_clients(pool.alias)
    with pytest.raises(redis.ConnectionError):
        eventually(lambda: pubsub.get_message(timeout=1.0))

    eventually(lambda: pubsub.get_message(timeout=0.1) or client.publish("news", "hello"))
    message = eventually(lambda: pubsub.get_message(timeout=1.0))
    assert message["data"] == b"hello"
    pubsub.close()


def test_locks(client: redis.Redis) -> None:
    """Locks are taken, refused, extended and released."""
    with client.lock("door", timeout=10, blocking_timeout=0.1) as lock:
        assert not client.lock("door").acquire(blocking=False)
        assert lock.extend(10)

    assert not lock.locked()


def test_scripts(client: redis.Redis) -> None:
    """A registered script is loaded when the server does not know it, also in a pipeline."""
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert script(keys=["n"], args=[2]) == 2
    client.script_flush()
    assert script(keys=["n"], args=[2]) == 4
    client.script_flush()
    pipe = client.pipeline()
    script(keys=["n"], args=[2], client=pipe)
    assert pipe.execute() == [6]


def test_monitor(client: redis.Redis, pool: ConnectionPool) -> None:
    """MONITOR shows what others send, and its connection is not lent again."""
    with client.monitor() as monitor:
        client.get("watched")
        while monitor.next_command()["command"] != "GET watched":
            pass

    assert pool.stats().in_use == 0


def test_a_client_on_a_single_connection(client: redis.Redis, pool: ConnectionPool) -> None:
    """``single_connection_client`` holds one connection until it is closed."""
    with redis.Redis(connection_pool=pool, single_connection_client=True) as single:
        assert single.client_id() == single.client_id()
        single.client_setname("me")
        assert single.client_getname() in {b"me", "me"}
        assert pool.stats().in_use == 1

    assert client.client_getname() not in {b"me", "me"}
    with client.client() as single:
        assert single.ping()


def test_blocking_commands(client: redis.Redis) -> None:
    """A reader that blocks is served by a writer on the other connection."""
    writer = threading.Timer(0.05, client.rpush, ["list", "x"])
    writer.start()

    assert tuple(client.blpop("list", timeout=5)) == (b"list", b"x")
    writer.join()


def test_iterating_and_info(client: redis.Redis) -> None:
    """What takes several round trips, or parses its reply, works."""
    client.mset({f"key{number}": number for number in range(100)})

    assert len(list(client.scan_iter(match="key*", count=10))) == 100
    assert client.info("server")["tcp_port"]
    assert client.config_get("maxclients")["maxclients"]
    assert client.dbsize() == 100


def test_closing_the_client_leaves_the_pool(client: redis.Redis, pool: ConnectionPool) -> None:
    """redis-py does not close a pool that was given to it; ours works on."""
    redis.Redis(connection_pool=pool).close()
    with redis.Redis(connection_pool=pool) as other:
        other.ping()
    del other

    assert client.ping()
    assert not pool.closed


def test_a_client_that_owns_the_pool(make_pool: MakePool) -> None:
    """`Redis.from_pool` closes the connections that it owns; since redis-py 8 it ends the pool."""
    pool = make_pool()
    client = redis.Redis.from_pool(pool)
    assert client.ping()

    client.close()

    assert pool.stats().idle == 0


def test_many_threads_with_one_client(make_pool: MakePool) -> None:
    """Where redis-py's pool has "Too many connections", callers wait; each reads its own value."""
    client = redis.Redis(connection_pool=make_pool(max_connections=3))

    def work(number: int) -> None:
        for turn in range(20):
            client.set(f"key{number}", f"{number}.{turn}")
            assert client.get(f"key{number}") == f"{number}.{turn}".encode()

    run_threads(20, work)


def test_exhaustion_is_no_retry(make_pool: MakePool) -> None:
    """redis-py does not try again where the pool has waited already."""
    pool = make_pool(max_connections=1, timeout=0.05)
    client = redis.Redis(connection_pool=pool)
    with pool.connection(), pytest.raises(PoolTimeout):
        client.ping()

    assert pool.stats().timeouts_total == 1


def test_redis_pys_retry_may_be_set(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """`set_retry` gives redis-py's client its own way to try again."""
    scripted.answer("GET", b"-LOADING not yet\r\n")
    client = redis.Redis(connection_pool=make_pool(host=scripted.host, port=scripted.port))
    with pytest.raises(redis.BusyLoadingError):
        client.get("a")

    client.set_retry(Retry(NoBackoff(), 2))
    scripted.answer("GET", b"-LOADING not yet\r\n", b"-LOADING not yet\r\n")

    assert client.get("a") == b"value"
    assert client.get_retry()


def test_a_retry_reaches_connections_in_use(pool: ConnectionPool) -> None:
    """`set_retry` holds for the connections that are there, lent ones among them."""
    retry = Retry(NoBackoff(), 2)
    with pool.connection() as held:
        pool.set_retry(retry)
        assert held.retry is retry


def test_the_figures_that_redis_py_has(client: redis.Redis, pool: ConnectionPool) -> None:
    """What redis-py's metrics and third parties look at says how many are idle and in use."""
    client.ping()
    with pool.connection():
        assert len(pool._get_in_use_connections()) == 1
    assert len(pool._get_free_connections()) == 1
    assert pool.max_connections == 2


def test_connection_arguments_are_redis_pys(pool: ConnectionPool) -> None:
    """`connection_kwargs` holds what redis-py's client looks for."""
    kwargs = pool.connection_kwargs

    assert kwargs["host"] == pool.options.host
    assert kwargs["protocol"] == pool.options.protocol
    assert kwargs["decode_responses"] is False


def test_a_repr_for_people(pool: ConnectionPool) -> None:
    """It says the alias, the server and the bound; or that it is closed."""
    assert repr(pool) == f"<ConnectionPool {pool.alias!r}: {pool.options.server}, 2 connections>"
    pool.close()
    assert repr(pool).endswith("closed>")


@pytest.mark.parametrize(
    ("alias", "start"),
    [
        ("default", "redispool:default:"),
        ("web sessions", "redispool:web_sessions:"),
        ("é", "redispool:_:"),
    ],
)
def test_names_for_the_server(alias: str, start: str) -> None:
    """Whatever the alias, the name is one that ``CLIENT SETNAME`` takes."""
    assert client_name(alias).startswith(start)
    assert all("!" <= letter <= "~" for letter in client_name(alias))


def test_a_name_of_ones_own(make_pool: MakePool) -> None:
    """``client_name`` goes before the name that the pool would give."""
    client = redis.Redis(connection_pool=make_pool(client_name="shop"))

    assert client.client_getname() in {b"shop", "shop"}
