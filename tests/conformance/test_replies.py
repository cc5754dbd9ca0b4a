"""Section C of the conformance list: nobody reads another's reply, or meets another's session."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis._parsers import _HiredisParser, _RESP2Parser, _RESP3Parser
from redis.exceptions import (
    ConnectionError,
    ExecAbortError,
    NoScriptError,
    ResponseError,
    TimeoutError,
)

from redispool import ConnectionPool, Redis
from redispool.connection import PooledConnection
from redispool.testing import FaultProxy
from tests.conftest import MakePool
from tests.support import DROP, HANG, Clock, ScriptedServer, Valkey, eventually
from tests.support.callers import ask
from tests.support.sessions import assert_is_fresh


@pytest.fixture(params=[2, 3])
def protocol(request: pytest.FixtureRequest) -> int:
    """RESP2 and RESP3."""
    found: int = request.param
    return found


@pytest.fixture(params=["hiredis", "python"])
def parser(request: pytest.FixtureRequest, protocol: int) -> Any:
    """The parser of hiredis, and redis-py's own."""
    if request.param == "hiredis":
        return _HiredisParser
    return _RESP2Parser if protocol == 2 else _RESP3Parser


@pytest.fixture
def pool(make_pool: MakePool, protocol: int, parser: Any) -> ConnectionPool:
    """A pool of one connection, so that the next user gets what the last one left."""
    return make_pool(max_connections=1, socket_timeout=0.5, protocol=protocol, parser_class=parser)


@pytest.fixture
def client(pool: ConnectionPool) -> Redis:
    """A client of ours on that pool."""
    return Redis(connection_pool=pool)


@pytest.fixture
def outside(flushed: Valkey) -> Iterator[redis.Redis]:
    """A client that has nothing to do with the pool."""
    with flushed.outside() as client:
        yield client


# Replies that nobody has read


def test_unread_reply_arrived(pool: ConnectionPool, outside: redis.Redis) -> None:
    """A reply that has come and was not read is not read by the next user."""
    outside.mset({"a": "A", "b": "B"})
    with pool.connection() as connection:
        connection.send_command("GET", "a")
        eventually(lambda: connection.can_read(0))

    with pool.connection() as connection:
        assert ask(connection, "GET", "b") == b"B"
    assert pool.stats().closed_total["dirty_pending"] == 1


def test_unread_reply_late(pool: ConnectionPool, outside: redis.Redis) -> None:
    """A reply that comes after the return is not read by the next user, nor by those after it."""
    outside.set("b", "B")
    with pool.connection() as connection:
        connection.send_command("BLPOP", "list", 10)

    with pool.connection() as connection:
        outside.rpush("list", "late")
        for _ in range(3):
            assert ask(connection, "GET", "b") == b"B"
        assert ask(connection, "BLPOP", "list", 10) == [b"list", b"late"]


@pytest.mark.parametrize("read", [1, 2, 3])
@pytest.mark.parametrize("kind", [redis.Redis, Redis])
def test_pipeline_partial(
    kind: type[redis.Redis], pool: ConnectionPool, outside: redis.Redis, read: int
) -> None:
    """An error between the replies of a pipeline closes the connection, unless all were read.

    Ours reads all of them before it converts the first.
    """
    client = kind(connection_pool=pool)
    outside.mset({"a": "A", "b": "B"})
    replies: list[bytes] = []

    def parse(reply: bytes, **_: Any) -> bytes:
        replies.append(reply)
        if len(replies) == read:
            raise ZeroDivisionError
        return reply

    client.response_callbacks["GET"] = parse
    with pytest.raises(ZeroDivisionError):
        client.pipeline(transaction=False).get("a").get("a").get("a").execute()

    assert client.get("b") == b"B"
    assert pool.stats().closed_total["dirty_pending"] == (read < 3 and kind is redis.Redis)


@pytest.mark.parametrize("read", [0, 1, 2])
@pytest.mark.parametrize("transaction", [True, False])
def test_pipeline_partial_in_time(
    make_pool: MakePool, scripted: ScriptedServer, read: int, transaction: bool
) -> None:
    """So does a server that falls silent after some of the replies."""
    reply = b"+QUEUED\r\n" if transaction else b"$1\r\n1\r\n"
    scripted.answer("GET", *[reply] * read, HANG)
    pool = make_pool(url=scripted.url, max_connections=1, socket_timeout=0.1, retry="never")
    client = Redis(connection_pool=pool)

    with pytest.raises(TimeoutError):
        client.pipeline(transaction).get("a").get("a").get("a").execute()

    assert client.get("a") == b"value"
    assert scripted.connections == 2


def test_packed_bytes(pool: ConnectionPool) -> None:
    """Bytes that somebody else packed may hold anything; the connection is not lent again."""
    for read in (True, False):
        with pool.connection() as connection:
            connection.send_packed_command([b"*1\r\n$4\r\nPING\r\n"])
            assert not read or connection.read_response() == b"PONG"
        assert pool.stats().idle == 0


def test_garbage(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """Bytes that are no reply raise, and the connection is not lent again."""
    scripted.answer("GET", b"?!?\r\n")
    client = Redis(connection_pool=make_pool(host=scripted.host, port=scripted.port))

    with pytest.raises(redis.RedisError):
        client.get("a")

    assert client.get("a") == b"value"
    assert scripted.connections == 2


# State that somebody has left in the session


def on_raw_connection(pool: ConnectionPool, *command: Any) -> None:
    """As whoever takes a connection of the pool, and reads the reply."""
    with pool.connection() as connection:
        connection.send_command(*command)
        try:
            # What answers a subscription in RESP3 is a push.
            connection.read_response(push_request=command[0].endswith("SUBSCRIBE"))
        except redis.RedisError:
            pass


def unread(pool: ConnectionPool, *command: Any) -> None:
    """The same without reading."""
    with pool.connection() as connection:
        connection.send_command(*command)


def by_execute_command(pool: ConnectionPool, *command: Any) -> None:
    """As a command like others."""
    try:
        Redis(connection_pool=pool).execute_command(*command)
    except redis.RedisError:
        pass


def in_pipeline(pool: ConnectionPool, *command: Any) -> None:
    """In a pipeline."""
    pipe = Redis(connection_pool=pool).pipeline(transaction=False)
    try:
        pipe.execute_command(*command)
        pipe.execute()
    except redis.RedisError:
        pass


def on_pin(pool: ConnectionPool, *command: Any) -> None:
    """On a pinned connection."""
    with Redis(connection_pool=pool).pinned() as pinned:
        try:
            pinned.execute_command(*command)
        except redis.RedisError:
            pass


def on_pin_that_raises(pool: ConnectionPool, *command: Any) -> None:
    """On a pinned connection, with an error in the block."""
    with pytest.raises(ZeroDivisionError), Redis(connection_pool=pool).pinned() as pinned:
        try:
            pinned.execute_command(*command)
        except redis.RedisError:
            pass
        raise ZeroDivisionError


WAYS = [on_raw_connection, unread, by_execute_command, in_pipeline, on_pin, on_pin_that_raises]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def after(
    request: pytest.FixtureRequest, make_pool: MakePool, protocol: int
) -> Iterator[Callable[..., PooledConnection]]:
    """Leaves the state of a command, in each way there is; gives the next user's connection."""
    # What some of them leave is silence, so the limit is short; not so that of the next user.
    pool = make_pool(max_connections=1, socket_timeout=0.1, protocol=protocol)
    with contextlib.ExitStack() as next_user:

        def leave(*command: Any) -> PooledConnection:
            request.param(pool, *command)
            pool._connection_kwargs["socket_timeout"] = 5.0
            connection = next_user.enter_context(pool.connection())
            assert_is_fresh(connection)
            return connection

        yield leave


def test_multi_left_open(after: Callable[..., PooledConnection]) -> None:
    """The next user's commands run, and are not queued in somebody's transaction."""
    connection = after("MULTI")

    assert ask(connection, "SET", "a", "A") == b"OK"


def test_watch_left(after: Callable[..., PooledConnection], outside: redis.Redis) -> None:
    """The next user's transaction does not fail for what somebody watched."""
    connection = after("WATCH", "a")
    outside.set("a", "changed")

    ask(connection, "MULTI")
    ask(connection, "SET", "b", "B")
    assert ask(connection, "EXEC") == [b"OK"]


@pytest.mark.parametrize(
    "refused", [["WATCH a", "UNWATCH a"], ["MULTI", "DISCARD a"], ["WATCH a", "MULTI a", "EXEC"]]
)
def test_left_by_what_was_refused(
    pool: ConnectionPool, outside: redis.Redis, refused: list[str]
) -> None:
    """Nor does the next user meet a transaction or a WATCH whose end the server refused."""
    with pool.connection() as connection:
        for line in refused:
            connection.send_command(*line.split())
            with contextlib.suppress(ResponseError):
                connection.read_response()

    with pool.connection() as connection:
        assert_is_fresh(connection)


def test_select_left(after: Callable[..., PooledConnection], outside: redis.Redis) -> None:
    """The next user is in the database of the pool."""
    outside.set("a", "A")

    assert ask(after("SELECT", 3), "GET", "a") == b"A"


def test_monitor_left(after: Callable[..., PooledConnection], outside: redis.Redis) -> None:
    """The next user does not hear what others do."""
    connection = after("MONITOR")
    outside.set("a", "A")

    assert ask(connection, "GET", "a") == b"A"


@pytest.mark.parametrize("command", ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"])
def test_subscribe_left(
    after: Callable[..., PooledConnection], outside: redis.Redis, command: str
) -> None:
    """The next user gets no messages, and may send any command."""
    outside.set("a", "A")
    connection = after(command, "news")
    outside.publish("news", "hot")
    outside.spublish("news", "hot")

    assert ask(connection, "GET", "a") == b"A"


@pytest.fixture
def guest(outside: redis.Redis) -> Iterator[str]:
    """The name of a user whom the server knows beside the default one."""
    outside.execute_command("ACL SETUSER", "guest", "on", ">word", "~*", "+@all")
    yield "guest"
    outside.execute_command("ACL DELUSER", "guest")


@pytest.mark.parametrize(
    "line",
    [
        "AUTH guest word",
        "HELLO 2",
        "HELLO 3",
        "HELLO 3 AUTH guest word",
        "CLIENT REPLY OFF",
        "CLIENT REPLY SKIP",
        "CLIENT TRACKING ON",
        "CLIENT TRACKING ON BCAST",
        "CLIENT NO-TOUCH ON",
        "CLIENT NO-EVICT ON",
        "CLIENT SETNAME me",
        "CLIENT CAPA redirect",
        "READONLY",
        "READWRITE",
        "RESET",
        "QUIT",
    ],
)
def test_auth_reply_off_tracking_left(
    after: Callable[..., PooledConnection], outside: redis.Redis, guest: str, line: str
) -> None:
    """Nor is the next user somebody else, or without answers, or spoken to in another way."""
    outside.set("a", "A")

    assert ask(after(*line.split()), "GET", "a") == b"A"


def test_scripts_leave_nothing(client: Redis, pool: ConnectionPool) -> None:
    """What a script selects ends with it: the connection is kept, in the database of the pool."""
    client.eval("redis.call('SELECT', 3); return redis.call('SET', 'a', 'elsewhere')", 0)

    with pool.connection() as connection:
        assert_is_fresh(connection)
        assert ask(connection, "GET", "a") is None
    assert pool.stats().created_total == 1


# What is no reason to close a connection


def test_clean_after_error_reply(client: Redis, pool: ConnectionPool) -> None:
    """An error that the server answered is an answer: the connection is kept."""
    client.set("text", "x")
    before = client.client_id()

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        client.lpush("text", 1)
    with pytest.raises(NoScriptError):
        client.evalsha("0" * 40, 0)
    with pytest.raises(ExecAbortError), pool.connection() as connection:
        ask(connection, "MULTI")
        with pytest.raises(ResponseError, match="unknown command"):
            ask(connection, "NOSUCH")
        ask(connection, "EXEC")
    with pytest.raises(ResponseError, match="unknown command"):
        client.pipeline().execute_command("NOSUCH").incr("n").execute()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        client.pipeline(transaction=False).lpush("text", 1).incr("n").execute()

    assert client.client_id() == before
    assert pool.stats().created_total == 1


def test_clean_after_pipeline(client: Redis, pool: ConnectionPool, outside: redis.Redis) -> None:
    """Transactions, pipelines, scripts and ended WATCHes cost no new connection."""
    before = client.client_id()

    assert client.pipeline().incr("n").incr("n").execute() == [1, 2]
    assert client.pipeline(transaction=False).incr("n").get("n").execute() == [3, b"3"]
    assert client.eval("return 7", 0) == 7
    assert client.register_script("return 8")() == 8
    with client.pipeline() as pipe:
        pipe.watch("n")
        pipe.multi()
        assert pipe.incr("n").execute() == [4]
    with client.pipeline() as pipe:
        pipe.watch("n")
    with pytest.raises(redis.WatchError), client.pipeline() as pipe:
        pipe.watch("n")
        outside.incr("n")
        pipe.multi()
        pipe.incr("n").execute()

    assert client.client_id() == before
    assert pool.stats().created_total == 1


@pytest.fixture
def tracking(make_pool: MakePool, outside: redis.Redis) -> ConnectionPool:
    """A pool that lets the server track keys; one is idle, and the server has told it something."""

    def track(connection: PooledConnection) -> None:
        connection.on_connect()
        ask(connection, "CLIENT", "TRACKING", "ON")

    pool = make_pool(max_connections=1, protocol=3, redis_connect_func=track)
    with pool.connection() as connection:
        ask(connection, "GET", "a")
        outside.set("a", "A")
        eventually(lambda: connection.can_read(0))
    return pool


def test_push_is_not_dirt(tracking: ConnectionPool) -> None:
    """A push on an idle connection is no reply of anybody's, and the connection is kept.

    Whoever switches tracking on for a while gets no pushes later: the connection is closed at its
    return. So only a connect function leaves connections on which pushes come.
    """
    with tracking.connection() as connection:
        assert ask(connection, "GET", "a") == b"A"
        assert ask(connection, "ECHO", "x") == b"x"

    assert tracking.stats().created_total == 1


def test_push_is_not_taken_for_the_reply(tracking: ConnectionPool, outside: redis.Redis) -> None:
    """Who read a push in place of a reply left the reply unread: the next user does not get it."""
    outside.set("b", "B")
    with tracking.connection() as connection:
        connection.send_command("GET", "a")
        assert connection.read_response(push_request=True) != b"A"

    with tracking.connection() as connection:
        assert ask(connection, "GET", "b") == b"B"


def test_push_is_not_waited_for(tracking: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the connection is looked at, and replaced without anybody noticing.

    A look cannot tell a push from a stray reply.
    """
    Clock(monkeypatch).advance(1.0)

    with tracking.connection() as connection:
        assert ask(connection, "GET", "a") == b"A"
    assert tracking.stats().closed_total["dead_at_checkout"] == 1


# Bytes that a look at the socket does not see


class TlsServer(ScriptedServer):
    """The same over TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            super()._serve(self._context.wrap_socket(line, server_side=True))


def test_tls_buffered_bytes(
    make_pool: MakePool, tmp_path: Path, parser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stray reply that was decrypted with the one before it is noticed in the empty socket."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    clock, pong = Clock(monkeypatch), b"+PONG\r\n"
    with TlsServer(context) as server:
        pool = make_pool(
            url=f"rediss://{server.host}:{server.port}",
            ssl_ca_certs=tmp_path / "ca.pem",
            parser_class=parser,
            max_connections=1,
            socket_read_size=len(pong),
        )
        server.answer("PING", pong + b"$5\r\nstray\r\n")
        with pool.connection() as connection:
            assert ask(connection, "PING") == b"PONG"
            assert connection._sock.pending()
        clock.advance(1.0)

        with pool.connection() as connection:
            assert ask(connection, "GET", "a") == b"value"

    assert pool.stats().closed_total["dead_at_checkout"] == 1


# The handshake


@pytest.mark.parametrize("step", ["AUTH", "CLIENT", "SELECT"])
@pytest.mark.parametrize("answer", [HANG, DROP, b"-ERR no\r\n", b"?!?\r\n", b":3\r\n"])
def test_handshake_interrupted(
    make_pool: MakePool, scripted: ScriptedServer, step: str, answer: Any
) -> None:
    """What did not shake hands in full, in time or in order is closed, and its place is free."""
    scripted.always(step, answer)
    pool = make_pool(
        url=f"redis://:secret@{scripted.host}:{scripted.port}/1",
        client_name="asked-for",
        max_connections=1,
        timeout=0.2,
        retries=0,
    )
    assert_no_connection_comes_of_it(pool)


@pytest.mark.parametrize("answer", [HANG, DROP, b"-ERR no\r\n", b"?!?\r\n", b"%0\r\n"])
def test_hello_interrupted(make_pool: MakePool, scripted: ScriptedServer, answer: Any) -> None:
    """The same in RESP3."""
    scripted.always("HELLO", answer)
    pool = make_pool(url=scripted.url, protocol=3, timeout=0.2, retries=0, max_connections=1)
    assert_no_connection_comes_of_it(pool)


def assert_no_connection_comes_of_it(pool: ConnectionPool) -> None:
    """The caller gets an error; nothing is open, and the place is free."""
    with pytest.raises(redis.RedisError):
        pool.acquire()

    stats = pool.stats()
    assert (stats.idle, stats.in_use, stats.connecting, stats.permits) == (0, 0, 0, 1)
    assert stats.failed_total == 1


def test_handshake_that_left_a_reply(make_pool: MakePool) -> None:
    """A late reply of the handshake is not that of the first command (go-redis, CVE-2025-29923)."""

    def careless(connection: PooledConnection) -> None:
        connection.on_connect()
        connection.send_command("ECHO", "late")

    pool = make_pool(redis_connect_func=careless, retries=0)

    with pytest.raises(ConnectionError, match="handshake"):
        pool.acquire()


def test_handshake_interrupted_in_use(make_pool: MakePool) -> None:
    """Where Ctrl-C cuts the handshake of a holder who connects again, nobody gets what is left."""
    interrupts = [False, True, False]

    def set_up(connection: PooledConnection) -> None:
        if interrupts.pop(0):
            raise KeyboardInterrupt
        connection.on_connect()

    pool = make_pool(redis_connect_func=set_up, db=3, max_connections=1)
    with pytest.raises(KeyboardInterrupt), pool.connection() as connection:
        connection.disconnect()
        connection.send_command("PING")

    with pool.connection() as connection:
        assert_is_fresh(connection, db=3)
    assert interrupts == []


# Commands whose reply was lost


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("cut", [True, False])
def test_no_blind_resend(
    make_pool: MakePool, flushed: Valkey, outside: redis.Redis, cut: bool, pipelined: bool
) -> None:
    """An INCR whose reply was lost, or was not in time, runs once: its caller gets an error."""
    with FaultProxy(flushed.url) as proxy:
        client = Redis(connection_pool=make_pool(url=proxy.url, socket_timeout=0.2))
        client.ping()
        if cut:
            proxy.cut_reply(1)
        else:
            proxy.hold()

        with pytest.raises((ConnectionError, TimeoutError), match="may have executed"):
            client.pipeline().incr("n").execute() if pipelined else client.incr("n")

        assert outside.get("n") == b"1"
