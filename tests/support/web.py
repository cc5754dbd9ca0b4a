"""Real web servers, requests to them, and a look at the connections that they open meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self

from .patience import eventually
from .valkey import Valkey

CHECKOUT = Path(__file__).parents[2]


class WebServer:
    """A context manager: a server that is started as a user starts it, and ended by its pid.

    Args:
        words: what follows ``python -m``; the server picks a port and says which in its log.
        log: where it writes its log.
        cwd: where it is started; the checkout where it is not given.
        environment: what it finds in its environment beside that of the tests.
    """

    host = "127.0.0.1"

    def __init__(
        self, *words: str, log: Path, cwd: Path = CHECKOUT, environment: dict[str, str]
    ) -> None:
        self.words = words
        self.log = log
        self._port = 0
        hidden = {"DJANGO_SETTINGS_MODULE", "FLASK_APP", "REDIS_URL"}
        inherited = {name: value for name, value in os.environ.items() if name not in hidden}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=cwd,
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def port(self) -> int:
        """The port that the server has picked."""
        self._port = self._port or eventually(self._find_port)
        return self._port

    def get(self, path: str) -> str:
        """Ask for `path`, and give the body of the answer, which must be a good one."""
        connection = HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        assert response.status == 200, f"{response.status}: {body}\n{self.log.read_text()}"
        return body

    @contextmanager
    def stream(self, path: str) -> Iterator[HTTPConnection]:
        """Ask for `path`, begin to read the answer, and leave at the end of the block."""
        connection = HTTPConnection(self.host, self.port, timeout=20)
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        assert response.readline()
        try:
            yield connection
        finally:
            response.close()
            connection.close()

    def terminate(self) -> None:
        """Ask it to end, as whoever manages processes does."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, within: float = 20.0) -> int:
        """Wait for its end, for `within` seconds at most; give its exit code."""
        return self._process.wait(within)

    def complaints(self) -> list[str]:
        """The lines of the log that no healthy server writes."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if re.search("Traceback|ERROR|CRITICAL", line)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def _find_port(self) -> int:
        text = self.log.read_text(encoding="utf-8")
        assert self._process.poll() is None, f"the server has ended:\n{text}"
        found = re.search(rf"(?:http://|TCP address ){re.escape(self.host)}:(\d+)", text)
        return int(found[1]) if found else 0


class Watcher:
    """Counts the connections of redispool on a server, again and again, in a thread.

    A context manager; afterwards `most` has the highest number that each process had at once, and
    `most_at_once` that of all processes together.
    """

    def __init__(self, server: Valkey) -> None:
        self.most: Counter[int] = Counter()
        self.most_at_once = 0
        self.looks = 0
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            found = connections_of(self._server)
            self.most |= found
            self.most_at_once = max(self.most_at_once, found.total())
            self.looks += 1


def connections_of(server: Valkey) -> Counter[int]:
    """How many connections of redispool each process has, by its pid."""
    return Counter(int(row["name"].rpartition(":")[2]) for row in server.clients())


def load(web: WebServer, paths: Iterable[str], *, at_once: int = 16) -> list[str]:
    """Ask for all `paths`, several at a time; gives the answers in their order."""
    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(web.get, paths))


def keyed_load(web: WebServer, path: str, *, requests: int) -> None:
    """Ask for many keys; each answer must be the value of its own key."""
    answers = load(web, (f"{path}/{n}" for n in range(requests)))
    wrong = {n: text for n, text in enumerate(answers) if text != f"value of {n}"}
    assert not wrong
