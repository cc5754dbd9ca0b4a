from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import trustme
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.retry import Retry

from redispool import (
    AsyncConnectionPool,
    AsyncRedis,
    ConnectionPool,
    InvalidOption,
    NotOwned,
    PoolFactory,
    PoolTimeout,
    Redis,
    TooManyWaiting,
    scope,
)
from redispool.aio.watch import READ, watches
from tests.conftest import MakeAsyncPool, MakeFactory
from tests.support import Valkey
from tests.support.loops import Run, outcome_of, until
from tests.support.scripted import HANG, ScriptedServer


def test_it_is_a_client_of_redis_py(make_async_pool: MakeAsyncPool) -> None:
    """The client and its pool are what redis-py's are, and making one opens nothing."""
    pool = make_async_pool()
    client = AsyncRedis(connection_pool=pool)

    assert isinstance(client, redis.asyncio.Redis)
    assert isinstance(pool, redis.asyncio.ConnectionPool)
    assert client.get_encoder().encode("x") == b"x"
    assert pool.stats().created_total == 0


def test_the_pool_goes_under_redis_pys_own_client(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """``redis.asyncio.Redis(connection_pool=pool)`` works unchanged, pub/sub among it."""
    pool = make_async_pool(max_connections=2)
    client = redis.asyncio.Redis(connection_pool=pool)

    async def work() -> None:
        assert await client.set("key", "value")
        assert await client.pipeline().get("key").get("key").execute() == [b"value"] * 2
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("news")
            assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        async with client.lock("lock", timeout=5):
            pass
        async with client.monitor() as monitor:
            assert monitor.connection is not None
        await client.aclose()
        assert await client.get("key") == b"value"

    run(work())

    assert pool.stats().in_use == 0


def test_pipelines_and_transactions(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Pipelines give the replies in order, and errors where they belong."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=1))

    async def work() -> None:
        pipe = client.pipeline()
        assert await pipe.set("key", 1).incr("key").execute() == [True, 2]
        found = await client.pipeline().lpush("key", "x").get("key").execute(raise_on_error=False)
        assert isinstance(found[0], redis.ResponseError)
        assert found[1] == b"2"
        with pytest.raises(redis.ResponseError, match="Command # 1"):
            await client.pipeline(transaction=False).lpush("key", "x").get("key").execute()
        replies = await client.pipeline().hset("hash", "a", "1").hgetall("hash").execute()
        assert replies == [1, {b"a": b"1"}]
        big = "x" * 300_000
        assert await client.pipeline(transaction=False).set("big", big).get("big").execute() == [
            True,
            big.encode(),
        ]

    run(work())

    assert client.connection_pool.stats().created_total == 1


def test_watch_sees_changes(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A transaction whose key was changed by somebody else is refused; `transaction` repeats it."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=2))

    async def work() -> None:
        await client.set("key", 1)
        async with client.pipeline() as pipe:
            await pipe.watch("key")
            await client.set("key", 2)
            pipe.multi()
            pipe.get("key")
            with pytest.raises(redis.WatchError):
                await pipe.execute()

        async def double(pipe: Any) -> None:
            value = int(await pipe.get("key"))
            pipe.multi()
            pipe.set("key", 2 * value)

        assert await client.transaction(double, "key") == [True]
        assert await client.get("key") == b"4"

    run(work())


def test_a_pin_holds_one_connection(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """All that is done on a pin runs on its connection; the next user finds no trace of it."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        async with client.pinned() as pin:
            await pin.execute_command("SELECT", 5)
            await pin.set("key", "five")
            numbers = await asyncio.gather(*[pin.client_id() for _ in range(5)])
            assert len(set(numbers)) == 1
            await pin.watch("key")
            async with pin.pipeline() as pipe:
                await pipe.watch("key")
                assert await pin.get("key") == b"five"
                pipe.multi()
                assert await pipe.get("key").execute() == [b"five"]
            with pytest.raises(PoolTimeout):
                await pool.acquire(0)
        with pytest.raises(NotOwned, match="pin has ended"):
            await pin.get("key")
        assert await client.get("key") is None

    run(work())

    assert pool.stats().closed_total["dirty_tainted"] == 1


def test_a_lost_pin_is_not_repaired(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """What was watched on a line that broke is gone; the pin says so, and opens no other line."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=2))

    async def work() -> None:
        async with client.pinned() as pin:
            with pytest.raises(redis.ConnectionError):
                await client.client_kill_filter(_id=await pin.client_id())
                await pin.get("key")
            with pytest.raises(redis.ConnectionError, match="was lost"):
                await pin.get("key")

    run(work())


def test_subscriptions_are_counted_apart(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A subscription takes none of ``max_connections``; beyond ``max_pubsub`` one is refused."""
    pool = make_async_pool(max_connections=1, max_pubsub=1, timeout=0.05)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("news")
            await pubsub.psubscribe("n*")
            kinds = [(await pubsub.get_message(timeout=5))["type"] for _ in range(2)]
            assert kinds == ["subscribe", "psubscribe"]
            assert await pubsub.get_message(timeout=0) is None
            assert await client.publish("news", "x") == 2
            kinds = [(await pubsub.get_message(timeout=None))["type"] for _ in range(2)]
            assert sorted(kinds) == ["message", "pmessage"]
            assert (pool.stats().pubsub, pool.stats().in_use) == (1, 0)
            with pytest.raises(PoolTimeout, match="MAX_PUBSUB"):
                await client.pubsub().subscribe("more")
        assert pool.stats().pubsub == 0

    run(work())


def test_a_reader_of_a_subscription_that_is_cancelled_loses_nothing(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """A task may give up waiting for a message; the next one gets it."""
    client = AsyncRedis(connection_pool=make_async_pool())

    async def work() -> Any:
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe("news")
            await until(lambda: client.connection_pool.stats().pubsub)
            await pubsub.get_message(timeout=1)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await pubsub.get_message(timeout=None)
            await client.publish("news", "x")
            return await pubsub.get_message(timeout=5)

    assert run(work())["data"] == b"x"


def test_a_subscription_that_is_closed_under_its_reader(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """Closing a subscription ends the wait of the task that reads it."""
    client = AsyncRedis(connection_pool=make_async_pool(retry="never"))

    async def work() -> Any:
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe("news")
        await pubsub.get_message(timeout=1)
        reader = asyncio.ensure_future(pubsub.get_message(timeout=None))
        waits = watches.of(asyncio.get_running_loop())._waits[READ]
        await until(lambda: pubsub.connection._line.fd in waits)
        await pubsub.aclose()
        return await asyncio.wait_for(outcome_of(reader), 5)

    assert isinstance(run(work()), Exception)


def test_a_subscription_outlasts_a_broken_line(
    make_async_pool: MakeAsyncPool, flushed: Valkey, run: Run
) -> None:
    """A listener whose line breaks subscribes again, and hears what comes then."""
    pool = make_async_pool()
    client = AsyncRedis(connection_pool=pool)

    async def work() -> Any:
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe("news")
            await pubsub.get_message(timeout=1)
            flushed.kill_clients(pool.alias)
            while True:
                await client.publish("news", "x")
                found = await pubsub.get_message(timeout=0.05)
                if found is not None:
                    return found

    assert run(work())["data"] == b"x"


def test_a_subscription_notices_a_silent_line(scripted: ScriptedServer, run: Run) -> None:
    """A listener that hears nothing asks for a sign of life; without one it subscribes anew."""
    client = AsyncRedis(
        host=scripted.host, port=scripted.port, health_check_interval=0.05, socket_timeout=0.1
    )
    scripted.always("SUBSCRIBE", b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")

    async def work() -> None:
        scripted.answer("PING", HANG)
        pubsub = client.pubsub()
        await pubsub.subscribe("news")
        listener = asyncio.ensure_future(_listen(pubsub))
        await until(lambda: scripted.received["SUBSCRIBE"] >= 2)
        listener.cancel()
        await outcome_of(listener)
        await pubsub.aclose()
        await client.aclose()

    run(work())


async def _listen(pubsub: Any) -> None:
    async for _ in pubsub.listen():
        pass


def test_blocking_commands_outlast_the_time_limit(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A command that waits on the server is given its own time, on top of ``socket_timeout``."""
    client = AsyncRedis(connection_pool=make_async_pool(socket_timeout=0.4))

    async def work() -> None:
        assert await client.blpop(["nothing"], timeout=0.6) is None
        assert await client.xread({"stream": "$"}, block=600) in ([], {}, None)

    run(work())


def test_a_scope_gives_back_what_was_forgotten(
    make_async_pool: MakeAsyncPool, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    """What a task took in a scope and forgot goes back at its end, with a line in the log."""
    pool = make_async_pool(max_connections=2)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        with scope() as current:
            pubsub = client.pubsub()
            await pubsub.subscribe("news")
            pipe = client.pipeline()
            await pipe.watch("key")
            await client.get("key")
        assert current.commands == 1
        assert (pool.stats().in_use, pool.stats().pubsub) == (0, 0)

    run(work())

    assert {"AsyncPubSub" in text or "AsyncPipeline" in text for text in caplog.messages} == {True}
    assert len(caplog.messages) == 2


def test_a_callback_of_the_user_may_be_a_coroutine_function(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """`set_response_callback` is for one client alone, and may await; in its pipelines too."""
    pool = make_async_pool()
    client, other = AsyncRedis(connection_pool=pool), AsyncRedis(connection_pool=pool)

    async def shout(reply: bytes, **_: Any) -> str:
        return reply.decode().upper()

    client.set_response_callback("GET", shout)

    async def work() -> None:
        await client.set("key", "value")
        assert await client.get("key") == "VALUE"
        assert await other.get("key") == b"value"
        for transaction in (True, False):
            pipe = client.pipeline(transaction)
            assert await pipe.get("key").get("key").exists("key").execute() == ["VALUE"] * 2 + [1]

    run(work())


def test_closing_a_client_leaves_the_shared_pool_open(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """``async with`` and `aclose` of a client end only a pool that it made itself."""
    pool = make_async_pool()

    async def work() -> None:
        async with AsyncRedis(connection_pool=pool) as client:
            await client.ping()
        assert not pool.closed
        async with AsyncRedis(connection_pool=pool, single_connection_client=True) as single:
            assert len({await single.client_id() for _ in range(3)}) == 1
        assert pool.stats().in_use == 0
        async with AsyncRedis(host=pool.options.host, port=pool.options.port) as own:
            await own.ping()
        assert own.connection_pool.closed

    run(work())


def test_who_closes_a_client_may_decide_about_the_pool(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """``aclose(True)`` ends a shared pool too, ``aclose(False)`` leaves an own one open."""
    pool = make_async_pool()
    own = AsyncRedis(host=pool.options.host, port=pool.options.port)

    async def work() -> None:
        await own.aclose(close_connection_pool=False)
        assert await own.ping()
        await own.aclose()
        await AsyncRedis(connection_pool=pool).aclose(close_connection_pool=True)

    run(work())

    assert own.connection_pool.closed
    assert pool.closed


def test_a_pool_of_somebody_else_is_asked_for_nothing_of_ours(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """A stand-in for a pool that answers to every name, as proxies and mocks do, serves."""

    class StandIn:
        def __getattr__(self, name: str) -> Any:
            is_theirs = hasattr(redis.asyncio.ConnectionPool, name) or name == "connection_kwargs"
            return getattr(pool, name) if is_theirs else object()

    pool = make_async_pool()
    client = AsyncRedis(connection_pool=StandIn())

    assert run(client.set("key", "value"))  # type: ignore[arg-type]
    assert pool.stats().acquired_total == 1


def test_a_pin_of_a_client_with_one_connection_has_another(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """Between commands a pin keeps its connection from none of the tasks that share the pin."""
    pool = make_async_pool()
    client = AsyncRedis(connection_pool=pool, single_connection_client=True)

    async def work() -> None:
        own = await client.client_id()
        async with client.pinned() as pinned, asyncio.timeout(5):
            first = await pinned.client_id()
            others = await asyncio.create_task(pinned.pipeline().client_id().execute())
            assert others == [first] != [own]
        await client.aclose()

    run(work())

    assert pool.stats().in_use == 0


@pytest.mark.parametrize("multiplex", [False, True])
def test_a_connection_that_is_given_to_a_client_is_used(
    make_async_pool: MakeAsyncPool, run: Run, multiplex: bool
) -> None:
    """Commands go to the ``connection`` of a client, where it has one, as in redis-py."""
    pool = make_async_pool(multiplex=multiplex)
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        client.connection = await pool.acquire()
        await client.client_setname("mine")
        assert await client.client_getname() == "mine"
        await client.set("key", "value")
        await client.aclose()

    run(work())

    assert pool.stats().created_total == 1
    assert pool.stats().in_use == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_and_decoding(
    make_async_pool: MakeAsyncPool, protocol: int, run: Run
) -> None:
    """RESP2 and RESP3 give the same, and so do texts; a database and a name are chosen at once."""
    client = AsyncRedis(
        connection_pool=make_async_pool(
            protocol=protocol, decode_responses=True, db=3, client_name="mine"
        )
    )

    async def work() -> None:
        await client.hset("hash", mapping={"a": "ä"})
        assert await client.hgetall("hash") == {"a": "ä"}
        assert await client.client_getname() == "mine"
        assert (await client.client_info())["db"] == 3
        with pytest.raises(redis.ResponseError):
            await client.lpush("hash", "x")
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe("news")
            await pubsub.get_message(timeout=1)
            await client.publish("news", "x")
            assert (await pubsub.get_message(timeout=5))["data"] == "x"

    run(work())

    assert client.connection_pool.stats().created_total == 1


def test_unix_sockets(flushed: Valkey, make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A unix socket serves several loops as TCP does."""
    client = AsyncRedis(connection_pool=make_async_pool(path=str(flushed.socket_path)))

    for number in range(3):
        assert run(client.incr("hits")) == number + 1  # type: ignore[arg-type]

    assert client.connection_pool.stats().created_total == 1


def test_ipv6(run: Run) -> None:
    """An IPv6 address is dialled as it is."""
    try:
        server = Valkey(bind="::1")
        with server:
            client = AsyncRedis(host="::1", port=server.port)
            assert run(_ping_and_close(client))
    except (AssertionError, RuntimeError, OSError) as error:
        pytest.skip(f"there is no IPv6 here: {error}")


async def _ping_and_close(client: AsyncRedis) -> bool:
    try:
        return bool(await client.ping())
    finally:
        await client.aclose()


def test_tls_through_many_loops(tmp_path: Path, run: Run) -> None:
    """A TLS line, too, belongs to no loop, and carries large values both ways."""
    with tls_server(tmp_path) as server:
        client = AsyncRedis(
            host=server.host, port=server.port, ssl=True, ssl_ca_certs=str(tmp_path / "ca.pem")
        )
        big = b"x" * 2_000_000
        server.always("GET", b"$%d\r\n%s\r\n" % (len(big), big))

        for _ in range(3):
            assert run(client.get("key")) == big  # type: ignore[arg-type]
            assert run(client.set("key", big))  # type: ignore[arg-type]

        assert client.connection_pool.stats().created_total == 1
        assert server.connections == 1

        stranger = AsyncRedis(host=server.host, port=server.port, ssl=True, retry="never")
        with pytest.raises(redis.ConnectionError, match="certificate"):
            run(stranger.ping())  # type: ignore[arg-type]
        run(client.aclose())
        run(stranger.aclose())


def tls_server(place: Path) -> TlsServer:
    """A server whose certificate is trusted by who trusts ``ca.pem`` in `place`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(place / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return TlsServer(context)


class TlsServer(ScriptedServer):
    """The same over TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            super()._serve(self._context.wrap_socket(line, server_side=True))


def test_credentials_may_be_awaited(scripted: ScriptedServer, run: Run) -> None:
    """A callable that gives the password may be a coroutine function; so may redis-py's hook."""
    asked, connected = [], []

    async def password() -> str:
        asked.append(1)
        return "secret"

    async def on_connect(connection: Any) -> None:
        connected.append(1)
        await connection.on_connect()

    client = AsyncRedis(
        host=scripted.host,
        port=scripted.port,
        credential_provider=password,
        redis_connect_func=on_connect,
    )

    async def work() -> None:
        assert await client.get("key") == b"value"
        await client.aclose()

    run(work())

    assert (asked, connected, scripted.received["AUTH"]) == ([1], [1], 1)


@pytest.mark.parametrize("kind", [Retry, AsyncRetry], ids=["threads", "asyncio"])
def test_a_retry_for_threads_is_made_one_for_asyncio(
    make_async_pool: MakeAsyncPool, run: Run, kind: type[Any]
) -> None:
    """redis-py would take a ``Retry`` for threads, and try nothing again."""
    pool = make_async_pool(retry=kind(NoBackoff(), 2))

    async def work() -> None:
        connection = await pool.acquire()
        assert isinstance(connection.retry, AsyncRetry)
        assert connection.retry.get_retries() == 2
        pool.release(connection)
        assert await AsyncRedis(connection_pool=pool).ping()

    run(work())


def test_a_parser_of_ones_own_is_for_threads() -> None:
    """The error of an alias with one names the setting, and what the asyncio client does."""
    factory = PoolFactory({"other": {"PARSER_CLASS": redis.connection.DefaultParser}})

    with pytest.raises(InvalidOption, match="reads with hiredis") as told:
        factory.async_client("other")
    assert 'REDISPOOL["other"]["PARSER_CLASS"]' in str(told.value)


@pytest.mark.parametrize("name", ["parser_class", "command_packer", "ssl_validate_ocsp"])
def test_what_asyncio_cannot_do_is_refused(name: str) -> None:
    """An option that asyncio connections do not take is refused by name, before a socket opens."""
    options: dict[str, Any] = {name: True, "ssl": name.startswith("ssl")}

    with pytest.raises(InvalidOption, match=name):
        AsyncConnectionPool(**options)


def test_a_cache_is_for_threads() -> None:
    """An alias with a cache has no asyncio client, and the error names the setting."""
    factory = PoolFactory({"default": {"PROTOCOL": 3, "CACHE_CONFIG": CacheConfig()}})

    with pytest.raises(InvalidOption, match=r'REDISPOOL\["default"\]\["CACHE_CONFIG"\]'):
        factory.async_client()


def test_connections_that_ask_a_sentinel(
    flushed: Valkey, make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """redis-py's connections that find their server by a Sentinel are lent like others."""

    class Sentinels:
        is_master, check_connection = True, False

        async def get_master_address(self) -> tuple[str, int]:
            return flushed.host, flushed.port

    pool = make_async_pool(
        host="nobody.invalid", port=1, connection_class=SentinelManagedConnection
    )
    pool._connection_kwargs["connection_pool"] = Sentinels()
    client = AsyncRedis(connection_pool=pool)

    async def work() -> None:
        assert await asyncio.gather(*[client.echo("x") for _ in range(10)]) == [b"x"] * 10

    for _ in range(2):
        run(work())

    assert pool.stats().created_total <= 10


def test_a_factory_closes_both_kinds(make_factory: MakeFactory, run: Run) -> None:
    """`aclose` and `close` end the pools for threads and for asyncio alike."""
    factory = make_factory()

    async def work() -> None:
        async with factory:
            assert await factory.async_client().ping()
            assert factory.client().ping()

    run(work())

    assert factory.async_pool().closed
    assert factory.pool().closed
    assert issubclass(TooManyWaiting, PoolTimeout)


@pytest.mark.parametrize(
    ("kind", "pool"), [(AsyncRedis, ConnectionPool), (Redis, AsyncConnectionPool)]
)
def test_a_pool_of_the_other_kind_is_refused(kind: Any, pool: Any) -> None:
    """At once, and with what gives the right one; not at the first command."""
    with pytest.raises(
        TypeError, match=rf"{kind.__name__} takes .* not a {pool.__name__}; .*pool\(\)"
    ):
        kind(connection_pool=pool())
