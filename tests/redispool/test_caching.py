from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cache import CacheConfig, CacheFactory, CacheInterface
from redis.retry import Retry

from redispool import InvalidOption, PoolFactory, PoolOptions, Redis
from redispool.shared_cache import CacheKey
from tests.conftest import MakePool
from tests.support import Valkey, eventually, run_threads
from tests.support.forks import in_child
from tests.support.injection import Kind, count_points, every, strike

MakeClient = Callable[..., Redis]


@pytest.fixture
def make_client(make_pool: MakePool) -> MakeClient:
    """Makes clients with a cache, each on a pool of its own."""

    def make(**options: Any) -> Redis:
        if "cache" not in options:
            options.setdefault("cache_config", CacheConfig())
        return Redis(connection_pool=make_pool(protocol=3, **options))

    return make


@pytest.fixture
def client(make_client: MakeClient) -> Redis:
    """A client with a cache."""
    return make_client()


@pytest.fixture
def other(flushed: Valkey) -> Iterator[redis.Redis]:
    """A client of another program."""
    with flushed.outside() as outside:
        yield outside


def calls(other: redis.Redis, command: str = "get") -> int:
    """How many times the server has run `command`."""
    stats: dict[str, Any] = other.info("commandstats")  # type: ignore[assignment]
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def change(other: redis.Redis, name: str, value: Any) -> None:
    """Set a key, and wait until the server has told everybody."""
    other.set(name, value)
    other.ping()  # the server writes out what is pending before it reads the next command


def entry_of(client: redis.Redis, *args: Any) -> Any:
    """What the cache has for a command with one key."""
    cache = client.get_cache()
    assert cache is not None
    return cache.get(CacheKey(args[0], (args[1],), args))


# Hits and misses


@pytest.mark.parametrize("retry", ["safe", Retry(NoBackoff(), 0)], ids=["ours", "redis-py's"])
def test_a_hit_needs_no_round_trip(make_client: MakeClient, other: redis.Redis, retry: Any) -> None:
    """What was read is kept and served, whoever decides what is tried again."""
    client = make_client(retry=retry)
    other.set("name", "Ada")
    assert client.get("name") == b"Ada"
    before = calls(other)

    assert [client.get("name") for _ in range(5)] == [b"Ada"] * 5

    assert calls(other) == before
    assert entry_of(client, "GET", "name").cache_value == b"Ada"


def test_a_change_is_seen_at_the_next_read(client: Redis, other: redis.Redis) -> None:
    """What another client wrote, deleted or flushed is not served any more."""
    other.set("name", "Ada")
    assert client.get("name") == b"Ada"

    change(other, "name", "Grace")
    assert client.get("name") == b"Grace"

    other.delete("name")
    other.ping()
    assert client.get("name") is None
    assert entry_of(client, "GET", "name") is None

    change(other, "name", "Ada")
    assert client.get("name") == b"Ada"
    other.flushdb()
    other.ping()
    assert client.get("name") is None


def test_a_client_sees_its_own_writes(client: Redis) -> None:
    """A write on the same line is followed by the word that the cache is old."""
    for number in range(20):
        client.set("number", number)
        assert client.get("number") == str(number).encode()


def test_all_that_was_read_of_a_key_goes_with_it(client: Redis, other: redis.Redis) -> None:
    """A command of several keys is asked again when any of them changes, and others stay."""
    other.mset({"a": 1, "b": 2, "c": 3})
    assert client.mget("a", "b") == [b"1", b"2"]
    assert client.getrange("b", 0, 0) == b"2"
    assert client.get("c") == b"3"

    change(other, "b", 5)

    assert client.mget("a", "b") == [b"1", b"5"]
    assert client.getrange("b", 0, 0) == b"5"
    before = calls(other)
    assert client.get("c") == b"3"
    assert calls(other) == before


def test_arguments_make_another_reply(client: Redis, other: redis.Redis) -> None:
    """Two commands of the same key are told apart by all of their arguments."""
    other.set("word", "redispool")

    assert [client.getrange("word", 0, end) for end in (1, 4, 1)] == [b"re", b"redis", b"re"]


def test_nothing_is_no_reply_to_keep(client: Redis, other: redis.Redis) -> None:
    """That a key is not there is asked each time, as in redis-py."""
    before = calls(other)

    assert [client.get("absent"), client.get("absent")] == [None, None]

    assert calls(other) == before + 2
    assert client.get_cache().size == 0


def test_what_does_not_only_read_passes_the_cache(client: Redis, other: redis.Redis) -> None:
    """Writes, commands without their keys, and replies that are not decoded are always asked."""
    client.set("number", 1)
    assert client.incr("number") == 2
    assert client.execute_command("GET", "number") == b"2"
    assert client.execute_command("GET", "number", keys=["number"], NEVER_DECODE=True) == b"2"

    assert client.get_cache().size == 0


def test_what_is_returned_is_the_callers(client: Redis, other: redis.Redis) -> None:
    """Who changes a list that he got, at first or from the cache, changes nobody else's."""
    other.rpush("list", "a", "b")

    for _ in range(3):
        found: Any = client.lrange("list", 0, -1)
        assert found == [b"a", b"b"]
        found.append("c")


def test_texts_are_kept_as_texts(make_client: MakeClient, other: redis.Redis) -> None:
    """With ``decode_responses`` a hit is what the answer was, and is taken back as well."""
    client = make_client(decode_responses=True)
    other.hset("hash", mapping={"é": "ü"})

    assert [client.hgetall("hash"), client.hgetall("hash")] == [{"é": "ü"}] * 2
    other.hset("hash", "é", "ö")
    other.ping()
    assert client.hgetall("hash") == {"é": "ö"}


def test_an_argument_that_may_change_is_not_remembered(client: Redis, other: redis.Redis) -> None:
    """A bytearray has no place in the name of an entry; the command runs all the same."""
    other.set("name", "Ada")

    assert client.get(bytearray(b"name")) == b"Ada"
    assert client.get(b"name") == client.get("name") == b"Ada"


def test_the_cache_is_bounded(make_client: MakeClient, other: redis.Redis) -> None:
    """What was used the longest time ago goes first; the books of a connection are bounded too."""
    client = make_client(cache_config=CacheConfig(max_size=3))
    for number in range(30):
        other.set(f"key{number}", number)
        client.get(f"key{number}")
        client.get("key0")

    assert client.get_cache().size == 3
    assert entry_of(client, "GET", "key0") is not None
    assert entry_of(client, "GET", "key27") is None
    with client.connection_pool.connection() as connection:
        assert len(connection._promises._entries) <= 7


def test_flushing_the_cache_is_heeded(client: Redis, other: redis.Redis) -> None:
    """Who empties the cache by hand makes the next read ask the server."""
    other.set("name", "Ada")
    client.get("name")
    before = calls(other)

    client.get_cache().flush()

    assert client.get("name") == b"Ada"
    assert calls(other) == before + 1


# Who owns what


def test_a_connection_serves_what_was_promised_to_itself(client: Redis, other: redis.Redis) -> None:
    """What another connection read is asked for once more; then both serve it from one entry."""
    pool = client.connection_pool
    other.set("name", "Ada")
    before = calls(other)

    def read_on_both() -> list[Any]:
        with pool.connection():
            found = client.get("name")
        return [found, client.get("name")]

    assert read_on_both() == [b"Ada", b"Ada"]
    assert calls(other) == before + 2
    assert read_on_both() == read_on_both() == [b"Ada", b"Ada"]

    assert calls(other) == before + 2
    assert client.get_cache().size == 1


def test_an_idle_owner_may_have_news(client: Redis, other: redis.Redis) -> None:
    """An entry whose owner is idle, with the invalidation unread, is not served by another."""
    pool = client.connection_pool
    first, second = pool.acquire(), pool.acquire()
    pool.release(second)
    other.set("name", "Ada")
    assert client.get("name") == b"Ada"  # read by the second
    second = pool.acquire()
    pool.release(second)
    pool.release(first)  # the one that is lent next
    change(other, "name", "Grace")

    assert client.get("name") == b"Grace"
    with pool.connection():
        assert client.get("name") == b"Grace"


def test_an_owner_in_use_is_left_alone(client: Redis, other: redis.Redis) -> None:
    """While another thread waits for a reply on the owner, nobody else reads its line."""
    pool = client.connection_pool
    other.set("name", "Ada")
    assert client.get("name") == b"Ada"
    told, changed = threading.Event(), threading.Event()

    def wait_on_the_owner() -> Any:
        with pool.connection() as owner:
            owner.send_command("BLPOP", "list", 10)
            told.set()
            assert changed.wait(10)
            return owner.read_response()

    def read_meanwhile() -> Any:
        assert told.wait(10)
        change(other, "name", "Grace")
        found = client.get("name")
        other.rpush("list", "done")
        changed.set()
        return found

    assert run_threads(2, lambda n: (wait_on_the_owner, read_meanwhile)[n]()) == [
        [b"list", b"done"],
        b"Grace",
    ]
    assert client.get("name") == b"Grace"


def test_threads_never_go_back_in_time(make_client: MakeClient, flushed: Valkey) -> None:
    """With many readers and connections no read gives what was old when it began."""
    client = make_client(cache_config=CacheConfig(max_size=4))
    known, ended = [0], threading.Event()

    def write() -> None:
        try:
            with flushed.outside() as other:
                for number in range(1, 400):
                    change(other, "number", number)
                    known[0] = number
        finally:
            ended.set()

    def read() -> None:
        while not ended.is_set():
            least = known[0]
            assert int(client.get("number") or 0) >= least
            client.get(f"other{least % 7}")

    run_threads(5, lambda n: read() if n else write())


def test_news_do_not_make_an_idle_connection_dirty(client: Redis, other: redis.Redis) -> None:
    """A connection that heard an invalidation while it was idle is lent again."""
    pool = client.connection_pool
    for number in range(3):
        change(other, "name", number)
        assert client.get("name") == str(number).encode()
        with pool.connection() as connection:
            pass
        change(other, "name", "news")
        connection.last_used -= 1.0  # long enough for a look

    assert client.get("name") == b"news"
    assert pool.stats().created_total == 1


@pytest.mark.parametrize("how", ["recycle", "disconnect", "kill"])
def test_replies_go_with_their_connection(client: Redis, other: redis.Redis, how: str) -> None:
    """What a closed connection was promised nobody has any more."""
    pool = client.connection_pool
    other.set("name", "Ada")
    assert client.get("name") == b"Ada"
    with pool.connection() as connection:
        number = connection_id(connection)
        if how == "disconnect":
            connection.disconnect()
    if how == "recycle":
        pool.recycle()
    if how == "kill":
        other.client_kill_filter(_id=number)
    else:
        assert client.get_cache().size == 0
    change(other, "name", "Grace")
    before = calls(other)

    assert client.get("name") == b"Grace"
    assert calls(other) == before + 1
    assert pool.stats().in_use == 0


def connection_id(connection: Any) -> int:
    """Its number on the server."""
    connection.send_command("CLIENT", "ID")
    return int(connection.read_response())


def test_a_child_begins_with_an_empty_cache(client: Redis, other: redis.Redis) -> None:
    """A forked child cannot hear what its parent's lines say; the parent keeps what it has."""
    other.set("name", "Ada")
    client.get("name")
    before = calls(other)

    assert in_child(lambda: (client.get_cache().size, client.get("name"))) == (0, b"Ada")

    assert calls(other) == before + 1
    assert client.get("name") == b"Ada"
    assert calls(other) == before + 1


# Sessions that are not like others


def test_pins_and_pipelines_ask_the_server(client: Redis, other: redis.Redis) -> None:
    """What is read within a pin, a pipeline, a transaction or a WATCH comes from the server."""
    other.set("name", "Ada")
    client.get("name")
    before = calls(other)

    with client.pinned() as pin:
        assert pin.get("name") == b"Ada"
    for transaction in (False, True):
        assert client.pipeline(transaction).get("name").execute() == [b"Ada"]
    with client.pipeline() as pipe:
        pipe.watch("name")
        assert pipe.get("name") == b"Ada"

    assert calls(other) == before + 4


def test_subscriptions_have_no_cache(client: Redis, other: redis.Redis) -> None:
    """A subscription is told nothing of keys, and works beside a cache."""
    assert client.connection_pool.subscriptions.cache is None
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
        assert eventually(lambda: pubsub.get_message(timeout=1.0))["type"] == "subscribe"
        other.publish("news", "!")
        assert eventually(lambda: pubsub.get_message(timeout=1.0))["data"] == b"!"


def test_a_client_of_one_connection(make_pool: MakePool, other: redis.Redis) -> None:
    """``single_connection_client`` is served from the cache as well."""
    pool = make_pool(protocol=3, cache_config=CacheConfig())
    other.set("name", "Ada")
    with Redis(connection_pool=pool, single_connection_client=True) as client:
        client.get("name")
        before = calls(other)
        assert client.get("name") == b"Ada"
        assert calls(other) == before


def test_tls_and_unix_sockets_alike(
    make_client: MakeClient, flushed: Valkey, other: redis.Redis
) -> None:
    """Where the socket is not a plain one, news are heard through redis-py's look at it."""
    client = make_client()
    with client.connection_pool.connection() as connection:
        connection._wire._plain = False
        connection._wire.limit(5.0)
    other.set("name", "Ada")
    assert [client.get("name"), client.get("name")] == [b"Ada"] * 2

    change(other, "name", "Grace")

    assert client.get("name") == b"Grace"
    assert client.connection_pool.stats().created_total == 1


# Interruptions


@pytest.mark.parametrize("kind", ["line", "opcode"])
@pytest.mark.parametrize("state", ["miss", "hit", "news"])
def test_an_interruption_leaves_nothing_wrong(
    client: Redis, other: redis.Redis, kind: Kind, state: str
) -> None:
    """Wherever a cached read is interrupted, the next gives what is right, and no place is lost."""

    def prepare(number: int) -> None:
        change(other, "name", number)
        if state != "miss":
            client.get("name")
        if state == "news":
            change(other, "name", number + 1)

    def work() -> Any:
        return client.get("name")

    for _ in range(3):  # Python 3.13 shows the opcodes of a function only from its second run on
        prepare(0)
        points = count_points(work, kind)
    assert points > 20
    for point in every(points, at_most=None if kind == "line" else 60):
        prepare(10 * point)
        outcome = strike(work, kind, point)
        assert not outcome.error, outcome.error

        right = str(10 * point + (state == "news")).encode()
        assert [client.get("name"), client.get("name")] == [right, right], point
        change(other, "name", "last")
        assert client.get("name") == b"last", point


# Options


def test_a_cache_of_ones_own(make_client: MakeClient, other: redis.Redis) -> None:
    """``cache`` is used as it is, and found at the client and the pool."""
    cache = CacheFactory(CacheConfig(max_size=5)).get_cache()
    client = make_client(cache=cache)
    other.set("name", "Ada")
    client.get("name")

    assert client.get_cache() is client.connection_pool.cache is cache
    assert cache.size == 1
    assert isinstance(cache, CacheInterface)


def test_a_cache_is_an_option_of_settings(flushed: Valkey) -> None:
    """A dict of settings takes the configuration of a cache, and so does the client."""
    settings = {"URL": flushed.url, "PROTOCOL": 3, "CACHE_CONFIG": CacheConfig(max_size=7)}
    with PoolFactory({"default": settings}) as factory:
        assert factory.client().get_cache().config.get_max_size() == 7
        assert factory.client().ping()
    with Redis.from_url(flushed.url, protocol=3, cache_config=CacheConfig(max_size=8)) as client:
        assert client.get_cache().config.get_max_size() == 8


def test_no_cache_unless_asked_for(make_pool: MakePool) -> None:
    """Without the option there is no cache, nor anything of it in the connections."""
    pool = make_pool(protocol=3)

    assert pool.cache is None
    assert Redis(connection_pool=pool).get_cache() is None
    with pool.connection() as connection:
        assert type(connection).__name__ == "Connection"
        assert not connection.tracks


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"cache_config": CacheConfig()}, "PROTOCOL = 3"),
        ({"cache": CacheFactory().get_cache(), "protocol": 2}, "PROTOCOL = 3"),
        ({"cache": {}, "protocol": 3}, r"must be a redis\.cache\.CacheInterface"),
        ({"cache_config": 5, "protocol": 3}, r"must be a redis\.cache\.CacheConfig"),
        (
            {"cache": CacheFactory().get_cache(), "cache_config": CacheConfig(), "protocol": 3},
            "keep one",
        ),
        ({"url": "redis://h?cache=x"}, "cannot be given in a URL"),
    ],
    ids=["no protocol", "protocol 2", "no cache", "no configuration", "both", "URL"],
)
def test_what_cannot_be_a_cache(options: dict[str, Any], complaint: str) -> None:
    """A cache that could not work is refused before a socket opens."""
    with pytest.raises(InvalidOption, match=complaint):
        PoolOptions(**options)


def test_a_server_that_does_not_track(flushed: Valkey, make_pool: MakePool) -> None:
    """Where the server refuses to say what changes, nothing is served, and the error says why."""
    with flushed.outside() as admin:
        admin.acl_setuser(
            "blind",
            enabled=True,
            nopass=True,
            keys=["*"],
            categories=["+@all"],
            commands=["-client|tracking"],
        )
    pool = make_pool(
        protocol=3, cache_config=CacheConfig(), username="blind", password="x", timeout=0.1
    )
    try:
        with pytest.raises(redis.ConnectionError, match="leave out CACHE"):
            Redis(connection_pool=pool).get("name")
    finally:
        with flushed.outside() as admin:
            admin.acl_deluser("blind")
