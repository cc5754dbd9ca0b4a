"""Servers: a real one for tests that ends with them, or one that runs already."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import redis
from redis.connection import parse_url

from redispool.embedded.wheel import find_binary
from redispool.errors import EmbeddedServerError

from .patience import eventually

__all__ = ["RunningServer", "Server", "free_port"]

WITH_ITS_PARENT = """
home=$1; shift
exec 3<&0
"$@" 3<&- & server=$!
{ read line <&3; kill -9 $server; } & guard=$!
wait $server; status=$?
kill $guard 2>/dev/null
[ -z "$home" ] || rm -rf "$home"
exit $status
"""
"""Runs a server until it ends, or a line or the end of the input comes; the latter comes even where
the parent was killed. What it kept is removed in each case."""

START_WITHIN = 10.0
"""Seconds until a server answers; it takes some hundredths."""


class RunningServer:
    """A server that runs, and a look at it from outside.

    Args:
        url: such as ``redis://localhost:6379/0``.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        """The URL, for ``REDISPOOL`` or ``REDIS_URL``."""
        return self._url

    def outside(self, **options: Any) -> redis.Redis:
        """redis-py's own client, on a connection of its own; `options` go before the URL's."""
        url = re.sub("^valkey", "redis", self.url)
        pool = redis.ConnectionPool(**{**parse_url(url), **options})  # type: ignore[no-untyped-call]
        client = redis.Redis(connection_pool=pool, single_connection_client=True)
        client.auto_close_connection_pool = True
        return client

    def clients(self, *aliases: str) -> list[dict[str, str]]:
        """The connections of redispool that the server knows, or those of `aliases` alone."""
        with self.outside() as client:
            rows: list[dict[str, str]] = client.client_list()
        starts = tuple(f"redispool:{alias}:" for alias in aliases) or ("redispool:",)
        return [row for row in rows if row["name"].startswith(starts)]

    def kill_clients(self, *aliases: str) -> int:
        """Close the connections of redispool from the server's side; gives how many there were."""
        rows = self.clients(*aliases)
        with self.outside() as client:
            for row in rows:
                client.client_kill_filter(_id=row["id"])
        return len(rows)


class Server(RunningServer):
    """A Valkey of the tests' own, from the extra ``embedded``; a context manager.

    It listens on a TCP port and a unix socket, keeps its data in memory, and ends with the process
    that started it, however that one ends.

    Args:
        directory: for its unix socket; where it is not given, one that lasts while the server runs.
        port: where it listens; any free port where it is not given.
        settings: the server's own, such as ``maxclients=20``; ``requirepass`` is put into the URL.
    """

    host = "127.0.0.1"

    def __init__(self, directory: Path | None = None, *, port: int = 0, **settings: Any) -> None:
        self.port = port or free_port()
        """The TCP port, the same after each start."""
        self._own = directory is None
        # Not pytest's tmp_path: the path of a unix socket has room for a hundred bytes only.
        anywhere = Path(tempfile.gettempdir(), f"redispool-{secrets.token_hex(6)}")
        self._home = directory or anywhere
        self.socket_path = str(self._home / "valkey.sock")
        """The unix socket."""
        self._settings = {name.replace("_", "-"): value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        password = quote(str(self._settings.get("requirepass", "")), safe="")
        self._login = f":{password}@" if password else ""
        super().__init__(f"redis://{self._login}{self.host}:{self.port}/0")

    @property
    def log(self) -> str:
        """What the server has written since it was started."""
        if self._log is None:
            return ""
        # Read at a place, not from one on: the server writes through the same descriptor.
        text = os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)
        return text.decode(errors="replace")

    def start(self) -> None:
        """Start it, empty, and wait until it answers.

        Raises:
            EmbeddedServerError: the extra ``embedded`` is not installed.
            RuntimeError: the server ended, or does not answer; the message has its log.
        """
        command = self._command()
        if self._own:
            self._home.mkdir(0o700)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed by stop()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests
        )
        try:
            eventually(self._answers, START_WITHIN)
        except BaseException as error:
            log = self.log
            self.stop()
            if isinstance(error, AssertionError):
                raise RuntimeError(f"the server does not answer; its log:\n{log}") from error
            raise

    def stop(self) -> None:
        """Kill it, so that clients see their connections break; its data are lost."""
        if self._process is not None and self._log is not None:
            # A line, not the end of the input: a forked child may keep that open.
            self._process.communicate(b"\n")
            self._log.close()
            self._process = self._log = None

    def restart(self) -> None:
        """Kill it and start it again, empty, on the same port and socket."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _command(self) -> list[str]:
        try:
            binary = find_binary()
        except EmbeddedServerError as error:
            raise EmbeddedServerError(f"there is no server to test with: {error}") from error
        options = {
            "bind": self.host,
            "port": self.port,
            "unixsocket": self.socket_path,
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "dir": str(self._home),
            **self._settings,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        home = str(self._home) if self._own else ""
        return ["/bin/sh", "-c", WITH_ITS_PARENT, "sh", home, str(binary), *words]

    def _answers(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise RuntimeError(f"the server ended with code {code}; its log:\n{self.log}")
        try:
            # Not the port: another server may answer there, and ours be about to end for it.
            with RunningServer(f"unix://{self._login}{self.socket_path}").outside() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def free_port() -> int:
    """A TCP port on which nobody listens, below those that systems give to clients.

    A client that dials a server which is away may be given the port that it dials for its own end.
    Then it is connected with itself, and the server cannot come back.
    """
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as probe:
            try:
                probe.bind((Server.host, port))
            except OSError:
                continue
        return port
