from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import redis

from redispool import EmbeddedServerError, PoolFactory
from redispool.testing import RunningServer, Server, eventually, free_port

# Runs in a process of its own, which is killed: a server whose parent has no time to stop it.
A_PARENT = """
from redispool.testing import Server

server = Server()
server.start()
print(server.port, server.socket_path, flush=True)
input()
"""


def listens(port: int) -> bool:
    """Whether somebody accepts connections on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex((Server.host, port)) == 0


def test_it_answers_on_its_port_and_its_socket() -> None:
    """Inside of the block there is a server for TCP and for unix sockets; behind it, nothing."""
    with Server() as server:
        for url in server.url, f"unix://{server.socket_path}":
            with redis.Redis.from_url(url) as client:
                assert client.ping()
    assert not listens(server.port)
    assert not Path(server.socket_path).parent.exists()


def test_a_directory_that_was_given_stays(tmp_path: Path) -> None:
    """A directory of the caller's is used as it is, and not removed."""
    with Server(tmp_path) as server:
        assert Path(server.socket_path).parent == tmp_path
        assert Path(server.socket_path).is_socket()

    assert tmp_path.is_dir()


def test_a_restart_is_on_the_same_port_and_empty(own_server: Server) -> None:
    """`restart` breaks the connections and loses the data; port and socket stay."""
    with own_server.outside() as client:
        client.set("key", "value")
        before = own_server.url, own_server.socket_path
        own_server.restart()
        with pytest.raises(redis.ConnectionError):
            client.get("key")

    assert (own_server.url, own_server.socket_path) == before
    with own_server.outside() as client:
        assert client.dbsize() == 0


def test_stopping_twice_is_stopping_once(own_server: Server) -> None:
    """A test may stop the server; the fixture that stops it again does no harm."""
    own_server.stop()
    own_server.stop()

    assert not listens(own_server.port)
    assert own_server.log == ""


def test_settings_are_the_servers_own() -> None:
    """Settings are passed on, with ``_`` for ``-``; the URL and the look from outside know both."""
    with Server(maxmemory_policy="allkeys-lru", requirepass="p@ss/word") as server:
        with server.outside() as client:
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru"
        with PoolFactory(server.url) as factory:
            assert factory.client().ping()


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    """A server that ends at once is an error at once, with its log, and leaves nothing behind."""
    server = Server(maxmemory="a lot")

    with pytest.raises(RuntimeError, match="ended with code 1; its log") as raised:
        server.start()

    assert "maxmemory" in str(raised.value)
    assert "argument must be a memory value" in str(raised.value)
    assert not Path(server.socket_path).parent.exists()
    assert server.log == ""


def test_a_port_that_is_taken_is_named_in_the_error(own_server: Server) -> None:
    """Two servers on one port: the second one's error has the reason out of its log."""
    with pytest.raises(RuntimeError, match="Address already in use"):
        Server(port=own_server.port).start()


def test_what_does_not_answer_says_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs and does not answer in time is stopped; the error has its log."""

    def no_answer(server: Server) -> bool:
        return not eventually(lambda: "Ready to accept connections" in server.log)

    monkeypatch.setattr("redispool.testing.server.START_WITHIN", 0.0)
    monkeypatch.setattr(Server, "_answers", no_answer)
    server = Server()

    with pytest.raises(RuntimeError, match="does not answer; its log:") as raised:
        server.start()

    assert "Ready to accept connections" in str(raised.value)
    assert not listens(server.port)
    assert not Path(server.socket_path).parent.exists()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wheel with the server is missing, the error names the extra that brings it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(EmbeddedServerError, match=r'no server to test with: .*"redispool\[embed'):
        Server().start()


def test_it_ends_with_its_parent() -> None:
    """A parent that is killed cannot stop its server: it ends by itself, and removes its files."""
    command = [sys.executable, "-c", A_PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        port, path = parent.stdout.readline().decode().split()
        assert listens(int(port))
        parent.send_signal(signal.SIGKILL)

    eventually(lambda: not listens(int(port)))
    eventually(lambda: not Path(path).parent.exists())


def test_a_forked_child_does_not_keep_it_alive(own_server: Server) -> None:
    """The server can be stopped while a forked child lives, which has a copy of all descriptors."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in processes with threads; this child uses none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)  # until the parent closes its end
        os._exit(0)
    try:
        stopping = threading.Thread(target=own_server.stop, daemon=True)
        stopping.start()
        eventually(lambda: not stopping.is_alive())
    finally:
        os.close(reader)
        os.close(writer)
        os.waitpid(child, 0)


def test_a_ctrl_c_in_the_terminal_is_not_for_the_server(own_server: Server) -> None:
    """It is in a session of its own: tests that are interrupted still find it at their end."""
    with own_server.outside() as client:
        pid = client.info("server")["process_id"]

    assert os.getsid(pid) != os.getsid(0)


def test_its_log_can_be_read_while_it_runs(own_server: Server) -> None:
    """Looking at the log does not disturb the server, which goes on writing at its end."""
    before = own_server.log
    assert "Ready to accept connections" in before
    with own_server.outside() as client:
        client.bgsave()
    eventually(lambda: len(own_server.log) > len(before))

    assert own_server.log.startswith(before)


def test_connections_of_redispool_are_told_from_others(own_server: Server) -> None:
    """`clients` and `kill_clients` see redispool's connections, of some aliases or of all."""
    with PoolFactory({"a": own_server.url, "b": own_server.url}) as factory:
        for alias in factory.aliases:
            factory.client(alias).ping()
        with own_server.outside() as outside:
            outside.ping()
            assert len(own_server.clients()) == 2
            assert len(own_server.clients("a")) == 1
            assert own_server.kill_clients("b") == 1
            assert [row["name"].split(":")[1] for row in own_server.clients()] == ["a"]
            assert outside.ping()


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_server_that_runs_already_is_looked_at_by_its_url(
    own_server: Server, scheme: str
) -> None:
    """The look goes where the URL leads; what is asked for explicitly goes before the URL's."""
    server = RunningServer(f"{scheme}://{own_server.host}:{own_server.port}/2")
    with server.outside() as client:
        client.set("key", "two")
    with own_server.outside(db=2, decode_responses=True) as client:
        assert client.get("key") == "two"
    with server.outside(db=0) as client:
        assert client.get("key") is None


def test_a_look_from_outside_leaves_no_connection(own_server: Server) -> None:
    """The connection of `outside` is closed with its block."""
    with own_server.outside() as watcher:
        for _ in range(3):
            with own_server.outside() as client:
                client.ping()
        eventually(lambda: len(watcher.client_list()) == 1)


def test_a_port_that_is_taken_is_not_free(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port on which somebody listens is passed over."""
    free = free_port()
    drawn = iter([own_server.port - 15_000, own_server.port - 15_000, free - 15_000])
    monkeypatch.setattr("redispool.testing.server.secrets.randbelow", lambda _: next(drawn))

    assert free_port() == free


def test_a_free_port_is_one_that_no_client_gets() -> None:
    """Nobody listens on a free port, and it is below those that Linux and macOS give to clients."""
    ports = [free_port() for _ in range(50)]

    assert not any(listens(port) for port in ports)
    assert max(ports) < 32_768
    assert len(set(ports)) > 40
