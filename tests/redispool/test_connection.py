from __future__ import annotations

import socket
import threading
import time
from importlib import metadata
from typing import Any

import pytest
import redis
from redis._parsers import Encoder
from redis.connection import HiredisRespSerializer, PythonRespSerializer
from redis.exceptions import ConnectionError, DataError, TimeoutError

from redispool import ConnectionPool, NotOwned, Redis
from redispool.connection import PooledConnection
from redispool.transports import Connection, pooled
from tests.conftest import MakePool
from tests.support import DROP, HANG, ScriptedServer, Valkey, eventually
from tests.support.limits import time_limit

ENCODE = Encoder("utf-8", "strict", False).encode


def ask(connection: PooledConnection, *command: Any) -> Any:
    """Send one command and read its reply."""
    connection.send_command(*command)
    return connection.read_response()


# Opening


def test_every_connection_says_who_it_is(pool: ConnectionPool, server: Valkey) -> None:
    """The server knows each connection by the alias, the host and the process."""
    with pool.connection():
        (row,) = server.clients(pool.alias)

    assert row["name"].split(":")[:2] == ["redispool", pool.alias]


def test_a_unix_socket(make_pool: MakePool, server: Valkey) -> None:
    """``path`` connects over the server's unix socket."""
    pool = make_pool(path=server.socket_path)

    assert redis.Redis(connection_pool=pool).ping()
    assert server.socket_path in server.clients(pool.alias)[0]["addr"]


def test_the_database_is_selected(make_pool: MakePool) -> None:
    """``db`` holds for every connection, and is no state that keeps it from being lent again."""
    pool = make_pool(db=5, max_connections=1)
    client = redis.Redis(connection_pool=pool)

    assert client.client_info()["db"] == 5
    assert client.client_info()["db"] == 5
    assert pool.stats().created_total == 1


def test_the_deadline_covers_the_whole_handshake(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """A server that answers each step at the last moment does not stretch the caller's time."""
    slow = threading.Event()
    scripted.always("AUTH", lambda: slow.wait(0.2) or b"+OK\r\n")
    scripted.always("CLIENT", lambda: slow.wait(0.2) or b"+OK\r\n")
    scripted.always("SELECT", lambda: slow.wait(0.2) or b"+OK\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port, db=1, password="p", timeout=0.3)
    started = time.monotonic()

    with pytest.raises(TimeoutError):
        pool.acquire()

    assert time.monotonic() - started < 0.5
    slow.set()


def test_after_opening_the_usual_limits_hold(make_pool: MakePool) -> None:
    """The deadline of the checkout does not stay behind on the socket."""
    pool = make_pool(timeout=0.5, socket_timeout=7.0)
    with pool.connection() as connection:
        assert time_limit(connection) == 7.0
        ask(connection, "PING")
        assert time_limit(connection) == 7.0


def test_there_may_be_no_limits_at_all(make_pool: MakePool) -> None:
    """All time-outs None: a connection that waits for ever opens and works."""
    pool = make_pool(timeout=None, socket_timeout=None, socket_connect_timeout=None)
    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"
        assert time_limit(connection) is None


def test_a_connect_function_may_set_the_session_up(make_pool: MakePool) -> None:
    """What ``redis_connect_func`` does belongs to the handshake: it is no reason to close."""
    called = []

    def set_up(connection: PooledConnection) -> None:
        called.append(1)
        connection.on_connect()
        ask(connection, "SELECT", 3)

    client = redis.Redis(connection_pool=make_pool(redis_connect_func=set_up))

    assert client.client_info()["db"] == 3
    assert client.client_info()["db"] == 3
    assert len(called) == 1


def test_a_wrong_password_is_not_tried_again(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """What the server refuses it will refuse again: one try, and the server's own words."""
    scripted.always("AUTH", b"-WRONGPASS invalid username-password pair\r\n")
    pool = make_pool(host=scripted.host, port=scripted.port, password="hunter2")

    with pytest.raises(redis.AuthenticationError, match="invalid") as caught:
        pool.acquire()

    assert scripted.received["AUTH"] == 1
    assert "hunter2" not in f"{caught.value} {pool!r} {pool.stats()}"


def test_who_may_not_say_its_name_connects_all_the_same(
    make_pool: MakePool, flushed: Valkey
) -> None:
    """A user of an ACL that allows nothing but GET: the name that nobody asked for is left out."""
    flushed.outside().acl_setuser(
        "reader", enabled=True, passwords=["+p"], commands=["+get"], keys=["*"]
    )
    pool = make_pool(username="reader", password="p", max_connections=1)

    assert Redis(connection_pool=pool).get("a") is None
    asked = make_pool(username="reader", password="p", client_name="asked-for", retries=0)
    with pytest.raises(redis.ResponseError, match="permissions"):
        asked.acquire()


@pytest.mark.parametrize(("protocol", "first"), [(2, b"+OK\r\n"), (3, b"%1\r\n+proto\r\n:3\r\n")])
def test_the_handshake_is_one_round_trip(make_pool: MakePool, protocol: int, first: bytes) -> None:
    """All of it is sent before anything is answered."""

    def answer_once_all_has_come() -> None:
        line, _ = listener.accept()
        with line:
            received = b""
            while b"SELECT" not in received:
                received += line.recv(4096)
            line.sendall(first + b"+OK\r\n" * 4)  # SETNAME, SETINFO twice, SELECT
            line.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_once_all_has_come, daemon=True).start()
        port = listener.getsockname()[1]
        pool = make_pool(url=f"redis://:p@127.0.0.1:{port}/1", protocol=protocol, retries=0)
        with pool.connection() as connection:
            assert connection.ledger.clean


def test_every_connection_says_what_it_is_of(pool: ConnectionPool, flushed: Valkey) -> None:
    """The server knows redispool as the library, as redis-py's ``DriverInfo`` words it."""
    with pool.connection() as connection:
        info = ask(connection, "CLIENT", "INFO").decode()

    assert f"lib-name=redis-py(redispool_v{metadata.version('redispool')})" in info
    assert f"lib-ver={redis.__version__}" in info


def test_a_server_before_redis_6_gets_the_password_alone(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """It knows no user names; what was sent behind the first try is sent again."""
    wrong = b"-ERR wrong number of arguments for 'auth' command\r\n"
    scripted.answer("AUTH", wrong)
    scripted.answer("CLIENT", *([b"-NOAUTH Authentication required.\r\n"] * 3))
    scripted.answer("SELECT", b"-NOAUTH Authentication required.\r\n")
    pool = make_pool(url=f"redis://me:p@{scripted.host}:{scripted.port}/1", retries=0)

    with pool.connection() as connection:
        assert ask(connection, "PING") == b"PONG"

    assert (scripted.received["AUTH"], scripted.received["SELECT"]) == (2, 2)


def test_a_server_that_does_not_speak_resp3(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """The error says which setting to change."""
    scripted.always("HELLO", b"-ERR unknown command 'HELLO'\r\n")
    pool = make_pool(url=scripted.url, protocol=3, retries=0)

    with pytest.raises(ConnectionError, match="set PROTOCOL to 2"):
        pool.acquire()


def test_secrets_are_not_shown(make_pool: MakePool) -> None:
    """Neither a pool nor a connection shows its password."""
    pool = make_pool(host="localhost", username="me", password="hunter2")

    assert "hunter2" not in f"{pool!r} {pool.make_connection()!r}"


# Commands


NUMBERS = [0, -7, 10**30, 1.5, -0.0, 1e22, 1e-7, float("inf"), float("nan")]


class Recorder:
    """A packer that notes what it is given, and packs as redis-py does."""

    def __init__(self, packer: Any) -> None:
        self.packer = packer
        self.given: list[Any] = []

    def pack(self, *args: Any) -> Any:
        self.given += args
        return self.packer.pack(*args)


@pytest.mark.parametrize("packer", [HiredisRespSerializer(), PythonRespSerializer(6000, ENCODE)])
def test_numbers_are_sent_as_redis_py_sends_them(make_pool: MakePool, packer: Any) -> None:
    """The server gets the same text for a number, in one command and in a pipeline."""
    connection = make_pool(command_packer=packer).make_connection()
    for number in NUMBERS:
        expected = b"".join(packer.pack("SET", "a", number))
        assert b"".join(connection.pack_command("SET", "a", number)) == expected
        assert b"".join(connection.pack_commands([("SET", "a", number)])) == expected


def test_no_packer_sees_a_number(make_pool: MakePool) -> None:
    """A packer in C that crashes where a signal strikes it in a number is not given any."""
    recorder = Recorder(HiredisRespSerializer())
    client = redis.Redis(connection_pool=make_pool(command_packer=recorder))

    client.set("a", 1, ex=10)
    client.pipeline().incrbyfloat("a", 0.5).expire("a", 5).execute()

    assert {type(value) for value in recorder.given} == {str, bytes}


@pytest.mark.parametrize("value", [True, None, [], object()])
def test_what_is_no_value_is_refused_before_it_is_sent(pool: ConnectionPool, value: Any) -> None:
    """redis-py's DataError stays, and the connection too."""
    client = redis.Redis(connection_pool=pool)
    client.ping()
    with pytest.raises(DataError):
        client.set("a", value)

    assert pool.stats().idle == 1


def test_several_blocking_commands_in_a_pipeline(make_pool: MakePool) -> None:
    """In a pipeline their times add up, and the last has its time too."""
    client = redis.Redis(connection_pool=make_pool(socket_timeout=0.3))
    pipe = client.pipeline(transaction=False).blpop("a", timeout=0.4).blpop("b", timeout=0.4)

    assert pipe.ping().execute() == [None, None, True]


def test_after_a_blocking_command_the_usual_limit_holds(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """The longer time is the blocking command's alone."""
    scripted.always("BLPOP", b"*-1\r\n")
    scripted.always("GET", HANG)
    pool = make_pool(host=scripted.host, port=scripted.port, socket_timeout=0.1)

    with pool.connection() as connection:
        assert ask(connection, "BLPOP", "a", 60) is None
        with pytest.raises(TimeoutError):
            ask(connection, "GET", "a")


def test_what_was_not_sent_is_told_from_what_was(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """An error in sending is marked: the server cannot have run it; one in reading is not."""
    scripted.answer("GET", DROP)
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)

    with pool.connection() as connection:
        with pytest.raises(ConnectionError) as caught:
            ask(connection, "GET", "a")
        assert not getattr(caught.value, "unsent", False)

    with pool.connection() as connection:
        connection._sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError) as caught:
            connection.send_command("GET", "a")
        assert caught.value.unsent  # type: ignore[attr-defined]


def test_a_batch_that_was_sent_in_part_counts_as_sent(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """Of several commands the first may have left: the server may have run it."""
    pool = make_pool(host=scripted.host, port=scripted.port, max_connections=1)

    with pool.connection() as connection:
        several = connection.pack_commands([("SET", "a", 1), ("SET", "b", 2)])
        transaction = connection.pack_commands([("MULTI",), ("SET", "a", 1), ("EXEC",)])
        for batch, unsent in ((several, False), (transaction, True)):
            ask(connection, "PING")
            connection._sock.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionError) as caught:
                connection.send_packed_command(batch)
            assert getattr(caught.value, "unsent", False) is unsent


def test_a_line_that_broke_in_use_is_renewed_for_its_holder(pool: ConnectionPool) -> None:
    """As in redis-py, the holder of a broken connection may go on; its ledger begins anew."""
    with pool.connection() as connection:
        connection.send_command("GET", "a")
        connection.disconnect()
        assert ask(connection, "PING") == b"PONG"

    assert pool.stats().idle == 1


# Holding


def test_use_after_return_is_refused(pool: ConnectionPool) -> None:
    """Whoever gave a connection back can neither send, nor read another's reply, nor reopen it."""
    with pool.connection() as connection:
        pass

    with pytest.raises(NotOwned):
        connection.send_command("PING")
    with pytest.raises(NotOwned):
        connection.read_response()
    assert pool.stats().idle == 1

    connection.disconnect()
    with pytest.raises(NotOwned):
        connection.connect()


def test_use_after_the_end_is_refused(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """A connection that the pool has closed stays closed: it does not even dial."""
    pool = make_pool(host=scripted.host, port=scripted.port)
    with pool.connection() as connection:
        connection.send_command("SELECT", 1)

    with pytest.raises(NotOwned):
        connection.send_command("PING")
    with pytest.raises(NotOwned):
        connection.connect()
    with pool.connection():
        assert scripted.connections == 2


def test_cut_wakes_who_reads(pool: ConnectionPool) -> None:
    """A holder that waits for a reply gets an error as soon as its line is cut."""
    with pool.connection() as connection:
        connection.send_command("BLPOP", "nothing", 0)
        threading.Timer(0.05, connection.cut).start()

        with pytest.raises(ConnectionError):
            connection.read_response()


def test_alive_sees_what_a_look_can_see(pool: ConnectionPool, server: Valkey) -> None:
    """An open, silent line is alive; one with unexpected bytes or closed by the server is not."""
    with pool.connection() as connection:
        assert connection.alive()

        connection.send_command("PING")
        eventually(lambda: not connection.alive())

    with pool.connection() as connection:
        server.kill_clients(pool.alias)
        eventually(lambda: not connection.alive())


@pytest.mark.parametrize(
    ("answer", "well"),
    [
        (b"+PONG\r\n", True),
        (HANG, False),
        (DROP, False),
        (b"-LOADING soon\r\n", False),
        (b"-NOAUTH who are you?\r\n", False),
        (b"+GNOP\r\n", False),
        (b"?!?\r\n", False),
    ],
)
def test_only_a_pong_in_time_is_an_answer(
    make_pool: MakePool, scripted: ScriptedServer, answer: Any, well: bool
) -> None:
    """The health check takes PONG for health, and nothing else; it raises nothing."""
    scripted.always("PING", answer)
    pool = make_pool(host=scripted.host, port=scripted.port)
    connection = pool.acquire()
    lease = connection.lease.pop()
    started = time.monotonic()

    assert connection.answers(0.1) is well

    assert time.monotonic() - started < 1.0
    assert connection.lease == []
    if well:
        assert time_limit(connection) == pool.options.socket_timeout
        assert connection.ledger.clean
    connection.lease.append(lease)
    pool.release(connection)


def test_any_connection_class_will_do() -> None:
    """A class of redis-py's, or of a third party, gets what the pool needs mixed in, once."""

    class Theirs(redis.Connection):
        pass

    ours = pooled(Theirs)

    assert issubclass(ours, PooledConnection)
    assert issubclass(ours, Theirs)
    assert pooled(ours) is ours
    assert pooled(Connection) is Connection
