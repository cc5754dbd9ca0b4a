from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, InvalidOption, PoolClosed, Redis
from tests.conftest import MakePool
from tests.support import HANG, ScriptedServer, Valkey, eventually, run_threads


@pytest.fixture
def client(pool: ConnectionPool) -> Redis:
    """A client of ours on a pool of two connections."""
    return Redis(connection_pool=pool)


# Who closes what


def test_a_client_never_closes_a_shared_pool(pool: ConnectionPool) -> None:
    """Neither `close`, nor ``with``, nor the end of the client ends a pool that was given to it."""
    Redis(connection_pool=pool).close()
    with Redis(connection_pool=pool) as client:
        client.ping()
    del client
    for gone in (Redis(connection_pool=pool), Redis(connection_pool=pool).pipeline()):
        del gone
    gc.collect()

    assert not pool.closed
    assert pool.stats().created_total == pool.stats().idle == 1


def test_a_client_closes_the_pool_that_it_made(server: Valkey) -> None:
    """A client made from a URL or options has its own pool, and `close` or ``with`` ends that."""
    clients = [
        Redis(server.host, server.port),
        Redis(host=server.host, port=server.port, max_connections=3, alias="own"),
        Redis.from_url(server.url, max_connections=3),
        Redis(url=server.url),
    ]
    for client in clients:
        assert client.ping()
        client.close()
        assert client.connection_pool.closed
        with pytest.raises(PoolClosed):
            client.ping()

    with Redis.from_url(server.url) as client:
        client.ping()
    assert client.connection_pool.closed


def test_a_dropped_client_leaves_nothing(server: Valkey) -> None:
    """A client with a pool of its own takes its connections along."""
    client = Redis.from_url(server.url, alias="dropped")
    client.ping()
    assert len(server.clients("dropped")) == 1
    pool = weakref.ref(client.connection_pool)

    del client

    eventually(lambda: not server.clients("dropped"))
    assert pool() is None


def test_what_outlives_its_client_goes_on(server: Valkey) -> None:
    """A pipeline or subscription of a client that was dropped at once still has a pool."""
    pipe = Redis.from_url(server.url).pipeline()
    assert pipe.ping().execute() == [True]

    pubsub = Redis.from_url(server.url).pubsub()
    pubsub.subscribe("news")
    assert eventually(lambda: pubsub.get_message(timeout=1.0))["type"] == "subscribe"
    pubsub.close()


def test_nonsense_is_refused_before_anything_is_opened() -> None:
    """A misspelt option of the client is named, and nothing has to be cleaned up."""
    with pytest.raises(InvalidOption, match=r"max_conections: .*max_connections"):
        Redis(max_conections=3)
    with pytest.raises(InvalidOption, match="by a Retry of redis-py alone"):
        Redis(retry_on_error=[redis.ResponseError])
    with pytest.raises(InvalidOption):
        Redis.from_url("redis://localhost/abc")


# What it is


def test_it_is_redis_pys_client(client: Redis) -> None:
    """Our client is a ``redis.Redis``, with all its commands."""
    assert isinstance(client, redis.Redis)
    client.set("a", "A", ex=100)
    assert client.get("a") == b"A"
    assert client.ttl("a") == 100


def test_database_and_password_are_options(make_pool: MakePool, server: Valkey) -> None:
    """The first four arguments of redis-py's client stand where they stood."""
    with Redis(server.host, server.port, 3) as client:
        assert client.client_info()["db"] == 3
    refused = pytest.raises(redis.AuthenticationError)
    with Redis(server.host, server.port, 0, "wrong") as client, refused:
        client.ping()


def test_redis_pys_pool_works_too(server: Valkey) -> None:
    """Our client on a pool of redis-py's is as good as redis-py's client."""
    pool = redis.ConnectionPool(host=server.host, port=server.port)
    client = Redis(connection_pool=pool)
    assert client.pipeline().set("a", "A").get("a").execute() == [True, b"A"]
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
    with client.pipeline() as pipe:
        pipe.watch("a")
    client.close()
    assert client.ping()
    pool.disconnect()


def test_replies_may_be_parsed_ones_own_way(client: Redis) -> None:
    """`set_response_callback` counts, in pipelines and pins too."""
    client.set_response_callback("GET", lambda reply, **_: [reply])
    client.set("a", "A")

    assert client.get("a") == [b"A"]
    assert client.pipeline(transaction=False).get("a").execute() == [[b"A"]]
    with client.pinned() as pinned:
        assert pinned.get("a") == [b"A"]


def test_response_callbacks_are_each_clients_own(client: Redis, pool: ConnectionPool) -> None:
    """What is written into `response_callbacks` of a client or a pipeline, no other sees."""
    client.set("a", "A")
    pipe = client.pipeline(transaction=False)
    client.response_callbacks["get"] = lambda reply, **_: [reply]
    pipe.response_callbacks["GET"] = lambda reply, **_: {reply}

    assert client.get("a") == [b"A"]
    assert pipe.get("a").execute() == [{b"A"}]
    assert client.pipeline(transaction=False).get("a").execute() == [[b"A"]]
    assert Redis(connection_pool=pool).get("a") == b"A"
    assert Redis(connection_pool=pool).info("server")["redis_version"]


def test_a_class_of_ones_own_keeps_its_attributes(pool: ConnectionPool) -> None:
    """What a subclass sets before redis-py's constructor runs is its instance's, and no other's."""

    class Tenant(Redis):
        def __init__(self, tenant: str) -> None:
            self.tenant = tenant
            super().__init__(connection_pool=pool)

    assert [Tenant(name).tenant for name in ("a", "b")] == ["a", "b"]
    assert not hasattr(Redis(connection_pool=pool), "tenant")


def test_assigned_response_callbacks_are_those(client: Redis) -> None:
    """A dict that is assigned is the one that counts, as with redis-py."""
    client.set("a", "A")
    callbacks: dict[str, Any] = {}
    client.response_callbacks = callbacks
    callbacks["GET"] = lambda reply, **_: [reply]

    assert client.response_callbacks is callbacks
    assert client.get("a") == [b"A"]


def test_a_class_of_ones_own(pool: ConnectionPool) -> None:
    """What a subclass adds is there on a pin, and where a command is tried again."""

    class Shouting(Redis):
        def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
            reply = super().parse_response(connection, command_name, **options)
            return reply.upper() if isinstance(reply, bytes) else reply

    client = Shouting(connection_pool=pool)
    client.set("a", "hello")

    assert client.get("a") == b"HELLO"
    with client.pinned() as pinned:
        assert pinned.get("a") == b"HELLO"


# What takes a connection for longer


def test_a_client_on_a_single_connection(client: Redis, pool: ConnectionPool) -> None:
    """`client()` holds one connection, and gives it back when it is closed or dropped."""
    with client.client() as single:
        assert single.client_id() == single.client_id()
        assert pool.stats().in_use == 1
    assert pool.stats().in_use == 0

    single = client.client()
    single.ping()
    del single
    assert pool.stats().in_use == 0
    assert pool.stats().misuse_total == 0


def test_a_pin_of_a_single_connection_is_another(client: Redis, pool: ConnectionPool) -> None:
    """A pin taken from a client on a single connection neither uses nor returns that one."""
    with client.client() as single:
        with single.pinned() as pinned:
            assert pinned.client_id() != single.client_id()
        assert single.ping()
        assert pool.stats().in_use == 1


def test_pipelines(client: Redis, pool: ConnectionPool) -> None:
    """Pipelines give their connection back, and it is as good as it was."""
    assert client.pipeline().incr("n").incr("n").execute() == [1, 2]
    with client.pipeline() as pipe:
        pipe.watch("n")
        assert pool.stats().in_use == 1
        pipe.multi()
        assert pipe.incr("n").execute() == [3]

    assert (pool.stats().in_use, pool.stats().created_total) == (0, 1)


@pytest.mark.parametrize("answer", [HANG, b"?!?\r\n"])
def test_a_watch_that_cannot_be_ended_is_given_back(
    make_pool: MakePool, scripted: ScriptedServer, answer: Any
) -> None:
    """Where the server does not answer UNWATCH, the connection is closed, and its place is free."""
    scripted.always("WATCH", b"+OK\r\n")
    scripted.always("UNWATCH", answer)
    pool = make_pool(host=scripted.host, port=scripted.port, socket_timeout=0.1, max_connections=1)
    pipe = Redis(connection_pool=pool).pipeline()
    pipe.watch("n")

    try:
        pipe.reset()
    except redis.RedisError:
        pass

    assert pool.stats().permits == 1
    pipe.reset()
    assert scripted.connections == 1


def test_transactions_with_a_function(client: Redis) -> None:
    """`transaction` runs the function until nobody interferes."""
    interfered = []

    def add_one(pipe: Any) -> None:
        number = int(pipe.get("n") or 0)
        if not interfered:
            interfered.append(client.set("n", 10))
        pipe.multi()
        pipe.set("n", number + 1)

    client.transaction(add_one, "n")

    assert client.get("n") == b"11"


def test_subscriptions(client: Redis, pool: ConnectionPool) -> None:
    """A subscription takes none of the pool's connections, and gives its own back."""
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("news")
        assert (pool.stats().pubsub, pool.stats().in_use) == (1, 0)
        assert pubsub.get_message(timeout=0.1) is None
        client.publish("news", "hello")
        assert eventually(lambda: pubsub.get_message(timeout=1.0))["data"] == b"hello"

    assert pool.stats().pubsub == 0


def test_a_dropped_subscription(client: Redis, pool: ConnectionPool) -> None:
    """A subscription that nobody closed ends when it is dropped."""
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    del pubsub

    assert pool.stats().pubsub == 0
    eventually(lambda: client.pubsub_channels() == [])


def test_a_subscription_in_a_thread(client: Redis) -> None:
    """`run_in_thread` hears what is said, and ends."""
    heard: list[Any] = []
    pubsub = client.pubsub()
    pubsub.subscribe(news=heard.append)
    thread = pubsub.run_in_thread(sleep_time=0.01)
    client.publish("news", "hello")
    eventually(lambda: heard)
    thread.stop()
    thread.join()

    assert heard[0]["data"] == b"hello"


def test_locks_and_scripts(client: Redis, pool: ConnectionPool) -> None:
    """redis-py's locks and scripts work, and hold no connection between their commands."""
    script = client.register_script("return redis.call('INCR', KEYS[1])")
    with client.lock("door", timeout=10):
        assert pool.stats().in_use == 0
        assert script(keys=["n"]) == 1
    with client.pinned() as pinned:
        assert script(keys=["n"], client=pinned) == 2


def test_monitor(client: Redis, pool: ConnectionPool) -> None:
    """MONITOR takes a connection, and the place is free afterwards."""
    with client.monitor() as monitor:
        client.get("watched")
        while monitor.next_command()["command"] != "GET watched":
            pass

    assert pool.stats().in_use == 0


def test_one_client_for_many_threads(make_pool: MakePool, server: Valkey) -> None:
    """Commands, pipelines, pins and transactions of many threads on few connections keep apart."""
    pool = make_pool(max_connections=3)
    client = Redis(connection_pool=pool)

    def work(number: int) -> None:
        key = f"key{number}"
        for turn in range(10):
            value = f"{number}.{turn}".encode()
            client.set(key, value)
            assert client.get(key) == value
            assert client.pipeline().set(key, value).get(key).execute() == [True, value]
            with client.pinned() as pinned:
                pinned.select(1)
                pinned.set(key, value)
                assert pinned.get(key) == value
            assert client.get(key) == value

    run_threads(20, work)

    assert pool.stats().in_use == 0
    assert client.dbsize() == 20


def test_a_reader_does_not_hold_up_a_writer(client: Redis) -> None:
    """While one thread blocks on the server, another works on."""
    threading.Timer(0.05, client.rpush, ["list", "x"]).start()

    assert list(client.blpop("list", timeout=5)) == [b"list", b"x"]


def test_subscriptions_share_no_lock(client: Redis) -> None:
    """What an interruption leaves taken in one subscription does not stop the others."""
    first, second = client.pubsub(), client.pubsub()

    dispatchers = {id(each._event_dispatcher) for each in (first, second, client)}
    assert len(dispatchers) == 3


def test_options_beside_a_pool_are_refused(pool: ConnectionPool) -> None:
    """What a client with a given pool could only ignore is refused by name."""
    with pytest.raises(TypeError, match="decode_responses"):
        Redis(connection_pool=pool, decode_responses=True)
    with pytest.raises(TypeError, match="host"):
        Redis("elsewhere", connection_pool=pool)


PUSH = b">2\r\n+told\r\n*1\r\n+a\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        (PUSH + b"$5\r\nvalue\r\n",),
        (PUSH[:7], PUSH[7:], PUSH + b"$5\r\nva", b"lue\r\n", PUSH),
        (PUSH, b"$", b"5\r\nvalue\r\n" + PUSH[:-3], PUSH[-3:]),
    ],
)
def test_a_push_is_no_reply(
    make_pool: MakePool, scripted: ScriptedServer, answer: tuple[bytes, ...]
) -> None:
    """Whatever comes before a reply, in the midst of several or in pieces: each gets its own."""
    pool = make_pool(host=scripted.host, port=scripted.port, protocol=3, max_connections=1)
    client = Redis(connection_pool=pool)
    scripted.always("GET", answer)

    for _ in range(3):
        assert client.get("a") == b"value"
    with client.pinned() as pinned:
        assert pinned.get("a") == b"value"
    batch = client.pipeline(transaction=False).get("a").incr("n").get("a").get("a")
    assert batch.execute() == [b"value", 1, b"value", b"value"]
    assert client.incr("n") == 1
