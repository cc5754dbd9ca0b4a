from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from redispool.testing import FaultProxy
from tests.support import Valkey, eventually

SOON = 0.2
"""Seconds after which a client gives up on a server that does not answer."""


@pytest.fixture
def proxy(flushed: Valkey) -> Iterator[FaultProxy]:
    """A proxy in front of the real server."""
    with FaultProxy(flushed.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    """redis-py's client on one connection through the proxy, open already, and never retrying."""
    with connect(proxy) as client:
        client.ping()
        yield client


def connect(proxy: FaultProxy, timeout: float = 10.0) -> redis.Redis:
    """A client with a connection of its own, which it opens now."""
    return redis.Redis(
        host=proxy.host,
        port=proxy.port,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=None,
        single_connection_client=True,
    )


def dial(proxy: FaultProxy, timeout: float = 10.0) -> socket.socket:
    """A connection without a client; nothing is said."""
    return socket.create_connection((proxy.host, proxy.port), timeout)


def test_everything_passes_until_told_otherwise(proxy: FaultProxy, client: redis.Redis) -> None:
    """Many clients at once, and values greater than any buffer, come through unchanged."""
    value = os.urandom(5_000_000)

    def use(number: int) -> bool:
        with connect(proxy) as own:
            own.set(f"key{number}", value + bytes([number]))
            return own.get(f"key{number}") == value + bytes([number])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(8)))


def test_a_client_that_reads_slowly_gets_all(proxy: FaultProxy, flushed: Valkey) -> None:
    """What a client has no room for waits in the proxy, and comes whole once there is room."""
    value = os.urandom(20_000_000)
    with flushed.outside() as outside:
        outside.set("key", value)
    with socket.socket() as line, line.makefile("rb") as stream:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect((proxy.host, proxy.port))
        line.sendall(b"GET key\r\n")
        eventually(lambda: any(each.replies.full for each in list(proxy._lines)))
        assert stream.readline() == b"$20000000\r\n"
        assert stream.read(len(value)) == value


def test_the_url_leads_to_the_same_database_by_way_of_the_proxy(flushed: Valkey) -> None:
    """User, password, database and options of the URL stay; host and port are the proxy's."""
    with FaultProxy(f"redis://me:a%40b@localhost:{flushed.port}/3?protocol=3") as proxy:
        assert proxy.url == f"redis://me:a%40b@127.0.0.1:{proxy.port}/3?protocol=3"


@pytest.mark.parametrize("url", ["unix:///tmp/redis.sock", "embedded://", "localhost:6379"])
def test_what_is_no_tcp_url_is_refused(url: str) -> None:
    """A server that is not reached over TCP is refused at once, and the error quotes the URL."""
    with pytest.raises(ValueError, match="over TCP") as raised:
        FaultProxy(url)

    assert repr(url) in str(raised.value)


def test_connections_are_counted(proxy: FaultProxy) -> None:
    """`dials` is how many were accepted so far, `open` how many of them are open now."""
    first, second = dial(proxy), dial(proxy)
    eventually(lambda: proxy.open == 2)
    first.close()
    eventually(lambda: proxy.open == 1)
    second.close()
    eventually(lambda: proxy.open == 0)

    assert proxy.dials == 2


def test_who_waits_for_a_first_reply_is_dialling(proxy: FaultProxy) -> None:
    """`most_dialling` counts connections at once from their start to their first reply."""
    with connect(proxy) as first, connect(proxy) as second:
        assert first.ping()
        assert second.ping()
        assert proxy.most_dialling == 1

    proxy.hold()
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(lambda: connect(proxy).close()) for _ in range(3)]
        eventually(lambda: proxy.held == 3)
        assert proxy.most_dialling == 3
        proxy.let_go()
        for future in waiting:
            future.result()


def test_who_hung_up_is_dialling_no_more(proxy: FaultProxy) -> None:
    """Dials that follow each other, each given up before the next one, are never two at once."""
    proxy.hold()
    for _ in range(200):
        line = dial(proxy)
        line.sendall(b"PING\r\n")
        line.close()
    eventually(lambda: proxy.dials == 200)

    assert proxy.most_dialling == 1


def test_replies_are_held_and_let_go(
    proxy: FaultProxy, client: redis.Redis, flushed: Valkey
) -> None:
    """Held replies reach nobody, though the server has done its work; let go, they arrive."""
    proxy.hold()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(client.incr, "hits")
        eventually(lambda: proxy.held == 1)
        with flushed.outside() as outside:
            assert outside.get("hits") == b"1"
        assert not answer.done()
        assert proxy._pause() is None  # it sleeps meanwhile
        proxy.let_go()
        assert answer.result() == 1

    assert proxy.held == 0


@pytest.mark.parametrize(("replies_only", "ways"), [(True, 1), (False, 2)])
def test_what_is_delayed_comes_no_sooner(
    proxy: FaultProxy, client: redis.Redis, replies_only: bool, ways: int
) -> None:
    """A delay is added to each way that it is meant for; `heal` ends it."""
    proxy.delay(SOON, replies_only=replies_only)
    started = time.monotonic()
    client.ping()
    assert time.monotonic() - started >= ways * SOON

    proxy.delay(3600.0)
    proxy.heal()
    assert client.ping()


def test_what_is_delayed_keeps_its_order(proxy: FaultProxy, client: redis.Redis) -> None:
    """A reply that is late is not overtaken by the next one when the delay ends."""
    proxy.delay(SOON)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(lambda: [client.echo("1"), client.echo("2")])
        eventually(lambda: proxy._pause() is not None)
        proxy.heal()

        assert late.result() == [b"1", b"2"]


def test_a_black_hole_swallows_and_stays_open(
    proxy: FaultProxy, flushed: Valkey, client: redis.Redis
) -> None:
    """Bytes are lost both ways, nothing is closed, and new connections fare the same."""
    proxy.black_hole()
    with pytest.raises(redis.TimeoutError), connect(proxy, SOON) as another:
        another.ping()
    with dial(proxy, SOON) as line:
        line.sendall(b"SET key value\r\n")
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.sendall(b"SET key value\r\n")
        eventually(lambda: proxy.swallowed >= 2 * len(b"SET key value\r\n"))
        assert proxy.open == 2
    with flushed.outside() as outside:
        assert outside.exists("key") == 0


def test_a_black_hole_tells_nothing_of_the_servers_end(own_server: Valkey) -> None:
    """In a black hole not even the end of the server comes through."""
    with FaultProxy(own_server.url) as proxy, dial(proxy, SOON) as line:
        eventually(lambda: proxy.open == 1)
        proxy.black_hole()
        own_server.stop()
        with pytest.raises(TimeoutError):
            line.recv(1)


def test_who_was_in_a_black_hole_stays_dead(proxy: FaultProxy) -> None:
    """After `heal` new connections work; one that lost bytes never shifts replies: it is silent."""
    with dial(proxy, SOON) as line:
        eventually(lambda: proxy.open == 1)
        proxy.black_hole()
        proxy.heal()
        line.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            line.recv(1)
        with connect(proxy) as client:
            assert client.ping()


def test_what_was_on_its_way_into_a_black_hole_is_lost(proxy: FaultProxy) -> None:
    """A reply that was late or held when the black hole came is lost with the rest."""
    proxy.hold()
    with dial(proxy, SOON) as line:
        line.sendall(b"PING\r\n")
        eventually(lambda: proxy.held == 1)
        proxy.black_hole()
        proxy.heal()
        with pytest.raises(TimeoutError):
            line.recv(1)


def test_a_black_hole_may_leave_new_connections_waiting(proxy: FaultProxy) -> None:
    """With `accept=False` a new connection looks open, gets no answer, and is served later."""
    proxy.black_hole(accept=False)
    with dial(proxy, SOON) as line:
        line.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            line.recv(1)
        assert proxy.dials == 0
        proxy.heal()
        line.settimeout(10.0)
        assert line.recv(7) == b"+PONG\r\n"


def test_all_connections_are_closed(proxy: FaultProxy) -> None:
    """`close_all` is seen as an orderly end (FIN) by each client, also with a request under way."""
    proxy.hold()
    lines = [dial(proxy) for _ in range(3)]
    eventually(lambda: proxy.open == 3)
    for line in lines:
        line.sendall(b"PING\r\n")
    eventually(lambda: proxy.held == 3)
    proxy.close_all()

    for line in lines:
        assert line.recv(1) == b""
        line.close()
    assert proxy.open == 0


def test_all_connections_are_reset(proxy: FaultProxy) -> None:
    """`reset_all` is seen as a reset (RST) by each client; new connections work."""
    lines = [dial(proxy) for _ in range(3)]
    eventually(lambda: proxy.open == 3)
    proxy.reset_all()

    for line in lines:
        with pytest.raises(ConnectionResetError):
            line.recv(1)
        line.close()
    with connect(proxy) as client:
        assert client.ping()


def test_new_connections_are_refused(proxy: FaultProxy, client: redis.Redis) -> None:
    """While it refuses nobody listens; who is connected stays; `accept` is on the same port."""
    port = proxy.port
    for _ in range(3):
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        assert client.ping()
        proxy.accept()
        dial(proxy).close()

    assert proxy.port == port


def test_nobody_gets_the_port_of_one_who_refuses(proxy: FaultProxy) -> None:
    """A port that refuses is kept: whoever asks for any free port is given another one."""
    proxy.refuse()
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind((proxy.host, proxy.port))


def test_new_connections_are_reset(proxy: FaultProxy, client: redis.Redis) -> None:
    """With `reset_new` a connection is accepted and reset; the open ones stay; `accept` ends it."""
    proxy.reset_new()
    dialled = proxy.dials
    with pytest.raises(ConnectionResetError), dial(proxy) as line:
        line.recv(1)
    assert proxy.dials == dialled + 1
    assert client.ping()

    proxy.accept()
    with connect(proxy) as another:
        assert another.ping()


@pytest.mark.parametrize("after", [0, 1, 5, 11])
def test_a_reply_is_cut(proxy: FaultProxy, flushed: Valkey, after: int) -> None:
    """So many bytes of the next reply come through, then its connection ends, and no other."""
    reply = b"$5\r\nvalue\r\n"
    with flushed.outside() as outside:
        outside.set("key", "value")
    with dial(proxy) as line, dial(proxy) as other:
        proxy.cut_reply(after)
        line.sendall(b"GET key\r\n")
        with line.makefile("rb") as stream:
            assert stream.read() == reply[:after]
        other.sendall(b"GET key\r\n")
        assert other.recv(100) == reply


def test_a_reply_is_duplicated_once(proxy: FaultProxy) -> None:
    """The next reply comes twice, and the one after it once."""
    with dial(proxy) as line, line.makefile("rb") as stream:
        proxy.duplicate_reply()
        line.sendall(b"PING\r\n")
        assert stream.read(14) == b"+PONG\r\n+PONG\r\n"
        line.sendall(b"ECHO 1\r\n")
        assert stream.read(7) == b"$1\r\n1\r\n"


def test_heal_ends_every_fault(proxy: FaultProxy) -> None:
    """Whatever was ordered and has not happened yet: after `heal` a new client notices nothing."""
    orders: list[Callable[[], None]] = [
        lambda: proxy.delay(3600.0),
        proxy.hold,
        proxy.black_hole,
        lambda: proxy.black_hole(accept=False),
        proxy.refuse,
        proxy.reset_new,
        lambda: proxy.cut_reply(1),
        proxy.duplicate_reply,
    ]
    for order in orders:
        order()
        proxy.heal()
        with connect(proxy) as client:
            assert client.echo("first") == b"first"
            assert client.echo("second") == b"second"
            assert not client.connection.can_read(0)


def test_a_server_that_is_away_ends_the_connection(own_server: Valkey) -> None:
    """Where the server is away, a client is accepted and closed; once it is back, it is served."""
    with FaultProxy(own_server.url) as proxy:
        own_server.stop()
        proxy.black_hole(accept=False)
        with dial(proxy) as line:
            line.sendall(b"PING\r\n")  # unread, and still no reset
            proxy.heal()
            assert line.recv(1) == b""
        own_server.start()
        with connect(proxy) as client:
            assert client.ping()


def test_the_servers_last_words_arrive(own_server: Valkey) -> None:
    """What the server says before it closes is delivered before the end, also after a delay."""
    with own_server.outside() as outside:
        outside.config_set("maxclients", 1)
        with FaultProxy(own_server.url) as proxy:
            proxy.delay(SOON)
            with dial(proxy) as line, line.makefile("rb") as stream:
                assert stream.read().startswith(b"-ERR max number of clients reached")


def test_at_its_end_nothing_is_left(flushed: Valkey) -> None:
    """When the block ends, its connections, its thread and its port are gone; orders say so."""
    threads = threading.active_count()
    with FaultProxy(flushed.url) as proxy:
        line = dial(proxy)
        eventually(lambda: proxy.open == 1)

    with line:
        assert line.recv(1) == b""
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    with pytest.raises(RuntimeError, match="inside of its with block"):
        proxy.hold()
