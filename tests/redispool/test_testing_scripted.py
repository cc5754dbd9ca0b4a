from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import redis

from redispool.testing import BLACK_HOLE, DROP, HANG, RESET, ScriptedServer, eventually

PING = b"*1\r\n$4\r\nPING\r\n"
GET = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"
VALUE = b"$5\r\nvalue\r\n"


@pytest.fixture
def line(scripted: ScriptedServer) -> Iterator[socket.socket]:
    """A connection to the scripted server, without a client."""
    with socket.create_connection((scripted.host, scripted.port), 10.0) as line:
        yield line


def read(line: socket.socket, size: int) -> bytes:
    """So many bytes, or all that came before the end."""
    data = b""
    while len(data) < size and (piece := line.recv(size - len(data))):
        data += piece
    return data


def test_without_an_order_it_is_a_server(scripted: ScriptedServer) -> None:
    """redis-py's client can connect, in RESP2 and RESP3, and run a command; each is counted."""
    for protocol in 2, 3:
        with redis.Redis.from_url(scripted.url, protocol=protocol) as client:
            assert client.get("key") == b"value"

    assert scripted.received["GET"] == 2
    assert scripted.connections == 2


def test_orders_are_obeyed_in_turn(scripted: ScriptedServer, line: socket.socket) -> None:
    """Each answer is for one command; when they are used up, it answers as always."""
    scripted.always("GET", b":3\r\n")
    scripted.answer("GET", b":1\r\n", lambda: b":2\r\n")
    line.sendall(GET * 4)

    assert read(line, 16) == b":1\r\n:2\r\n:3\r\n:3\r\n"


def test_hanging_is_for_one_command(scripted: ScriptedServer, line: socket.socket) -> None:
    """`HANG` leaves out one answer: the next command is answered, as if it were the first."""
    scripted.answer("GET", HANG)
    line.sendall(GET + PING)

    assert read(line, 7) == b"+PONG\r\n"


def test_a_black_hole_is_for_good(scripted: ScriptedServer, line: socket.socket) -> None:
    """`BLACK_HOLE` answers nothing more on this connection and keeps it open; others are served."""
    scripted.answer("GET", BLACK_HOLE)
    line.sendall(GET)
    eventually(lambda: scripted.received["GET"])
    line.sendall(PING)
    with socket.create_connection((scripted.host, scripted.port), 10.0) as other:
        other.sendall(PING)
        assert read(other, 7) == b"+PONG\r\n"
    line.setblocking(False)
    with pytest.raises(BlockingIOError):
        line.recv(1)

    assert scripted.received["PING"] == 1


def test_dropping_is_an_orderly_end(scripted: ScriptedServer, line: socket.socket) -> None:
    """`DROP` is seen as the end of the connection (FIN)."""
    scripted.answer("GET", DROP)
    line.sendall(GET)

    assert line.recv(1) == b""


def test_resetting_is_not(scripted: ScriptedServer, line: socket.socket) -> None:
    """`RESET` is seen as a reset (RST)."""
    scripted.answer("GET", RESET)
    line.sendall(GET)

    with pytest.raises(ConnectionResetError):
        line.recv(1)


def test_half_a_reply(scripted: ScriptedServer, line: socket.socket) -> None:
    """Bytes and then `DROP`: the bytes arrive, then the connection ends."""
    scripted.answer("GET", (VALUE[:6], DROP))
    line.sendall(GET)

    assert read(line, 100) == VALUE[:6]


def test_a_reply_that_comes_twice(scripted: ScriptedServer, line: socket.socket) -> None:
    """The same bytes as two steps: one reply too many."""
    scripted.answer("GET", (VALUE,) * 2)
    line.sendall(GET + PING)

    assert read(line, 2 * len(VALUE) + 7) == VALUE * 2 + b"+PONG\r\n"


def test_a_reply_that_is_withheld(scripted: ScriptedServer, line: socket.socket) -> None:
    """A step may wait for an event: nothing comes before it is set, and the reply after that."""
    told = threading.Event()
    scripted.answer("GET", (told.wait, VALUE))
    line.sendall(GET)
    eventually(lambda: scripted.received["GET"])
    line.setblocking(False)
    with pytest.raises(BlockingIOError):
        line.recv(1)
    line.settimeout(10.0)
    told.set()

    assert read(line, len(VALUE)) == VALUE


def test_hanging_up_ends_all_connections(scripted: ScriptedServer, line: socket.socket) -> None:
    """`hang_up` closes from the server's side; new connections are accepted."""
    line.sendall(PING)
    read(line, 7)
    scripted.hang_up()
    assert line.recv(1) == b""

    with redis.Redis.from_url(scripted.url) as client:
        assert client.ping()


def test_behind_its_block_nobody_listens() -> None:
    """When the block ends, so do its connections, and its port is refused."""
    with ScriptedServer() as server:
        line = socket.create_connection((server.host, server.port), 10.0)
        eventually(lambda: server.connections)

    with line:
        assert line.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), 10.0)
