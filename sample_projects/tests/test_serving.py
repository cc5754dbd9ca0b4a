"""The samples under real application servers with several processes, threads and event loops."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Event

import pytest
from redis import Redis
from run import (
    DJANGO,
    FASTAPI,
    FLASK,
    Sample,
    Server,
    listen,
    shut_down,
    wait_until_ready,
)
from tour import Browser, tour
from waiting import until
from websockets.sync.client import connect

PORT = 18000
UNDER_WSGI = [pytest.param(FLASK, id="flask"), pytest.param(DJANGO, id="django")]
SAMPLES = [*UNDER_WSGI, pytest.param(FASTAPI, id="fastapi")]


@pytest.fixture(scope="module", params=SAMPLES)
def server(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A sample under two processes, of eight threads or one event loop each."""
    with serving(request.param, data, tmp_path_factory.mktemp("log")) as server:
        yield server


@contextmanager
def serving(sample: Sample, data: Path, directory: Path, *options: str) -> Iterator[Server]:
    """A sample with two connections in each of its processes, on a server with nothing in it."""
    url = f"embedded://{data}?max_connections=2"
    server = Server(sample, listen(PORT), url, directory / "server.log", *options)
    try:
        wait_until_ready([server], Event())
        with Redis(unix_socket_path=str(data / "redis.sock")) as client:
            client.flushall()
        yield server
    finally:
        shut_down([server])


def test_tour(server: Server) -> None:
    """A visitor finds that everything which the sample shows works."""
    outcomes = dict(tour(server.url))
    assert "answered by process" in outcomes["open the page"]
    assert outcomes["wash three cups"] == "Ada has washed 3 cups."
    assert len(outcomes) == 5


def test_keyed_under_load(server: Server, observer: Redis) -> None:
    """2,000 requests, 16 at once, get the right values over two connections in each process."""
    assert 1 <= most_connections_under_load(server, observer) <= 2 * 2


@pytest.mark.parametrize("sample", UNDER_WSGI)
def test_keyed_with_preload(sample: Sample, data: Path, tmp_path: Path, observer: Redis) -> None:
    """The same holds for four processes that are forked when the application is loaded already."""
    with serving(sample, data, tmp_path, "--preload", "--workers", "4") as server:
        assert 1 <= most_connections_under_load(server, observer) <= 4 * 2


def test_one_vote_for_each_voter(server: Server, observer: Redis) -> None:
    """Each of 10 voters presses 8 times at once, over all processes: 10 votes are counted."""
    before = votes(observer)
    presses = [f"Voter {number}" for number in range(10) for _ in range(8)]

    def press(voter: str) -> str:
        return Browser(server.url).post("/votes", name=voter, choice="coffee")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(press, presses))
    counted = [answer for answer in answers if answer.startswith("Counted")]
    refused = [answer for answer in answers if answer.startswith("Not counted")]
    assert sorted(counted) == sorted(set(counted))
    assert (len(counted), len(refused)) == (10, 70)
    assert votes(observer) == before + 10


def test_feed_brings_a_post(server: Server) -> None:
    """A post arrives in an open feed, whichever process it was sent to."""
    with Feed(server) as first, Feed(server) as second:
        Browser(server.url).post("/posts", name="Grace", text="The <cake> is a lie")
        for feed in (first, second):
            post = next(post for post in feed if post["text"] == "The <cake> is a lie")
            assert post["name"] == "Grace"


def test_feed_gives_its_connection_back(server: Server, observer: Redis) -> None:
    """When the browsers have left, their subscriptions are gone within seconds."""
    feeds = [Feed(server) for _ in range(5)]
    assert until(lambda: subscriptions(observer, server) == 5)
    for feed in feeds:
        feed.close()
    assert until(lambda: subscriptions(observer, server) == 0)


def test_feed_by_websocket(data: Path, tmp_path: Path, observer: Redis) -> None:
    """FastAPI's feed comes by WebSocket, too, and a browser that leaves frees its subscription."""
    with serving(FASTAPI, data, tmp_path) as server:
        address = f"ws://{server.url.removeprefix('http://')}/feed"
        with connect(address) as first, connect(address) as second:
            Browser(server.url).post("/posts", name="Grace", text="The <cake> is a lie")
            for socket in (first, second):
                post = json.loads(socket.recv(timeout=10))
                assert (post["name"], post["text"]) == ("Grace", "The <cake> is a lie")
            assert until(lambda: subscriptions(observer, server) == 2)
        assert until(lambda: subscriptions(observer, server) == 0)


def test_feed_shows_life(server: Server) -> None:
    """A quiet feed sends comments, without which nobody would notice that a browser has left."""
    with Feed(server) as feed:
        assert any(line == ": heartbeat\n" for line in feed.lines(deadline=10.0))


def most_connections_under_load(server: Server, observer: Redis) -> int:
    """Ask for 2,000 keys; gives how many connections there were at most."""
    most = 0

    def ask(number: int) -> str:
        nonlocal most
        if number % 50 == 0:
            most = max(most, pooled(observer, server))
        return Browser(server.url).get(f"/keyed/{number}")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(2000)))
    assert answers == [f"value-of-{number}" for number in range(2000)]
    return most


class Feed:
    """A browser with the feed open."""

    def __init__(self, server: Server) -> None:
        self.connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        self.connection.request("GET", "/feed")
        self.answer: HTTPResponse = self.connection.getresponse()
        assert self.answer.headers["Content-Type"].startswith("text/event-stream")

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, object]]:
        """The posts, as they come."""
        for line in self.lines(deadline=10.0):
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))

    def lines(self, deadline: float) -> Iterator[str]:
        """What the server sends, for so many seconds; heartbeats keep the loop going."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            yield self.answer.readline().decode()

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def connections(observer: Redis, server: Server) -> list[dict[str, str]]:
    """The connections of a server's processes, whose names end with the process id."""
    clients = [(client, client["name"].rpartition(":")[2]) for client in observer.client_list()]
    master = server.process.pid
    return [client for client, pid in clients if pid and os.getpgid(int(pid)) == master]


def subscriptions(observer: Redis, server: Server) -> int:
    """How many of them are subscribed to something; these have a bound of their own."""
    return sum(client["sub"] != "0" for client in connections(observer, server))


def pooled(observer: Redis, server: Server) -> int:
    """How many are not."""
    return sum(client["sub"] == "0" for client in connections(observer, server))


def votes(observer: Redis) -> int:
    """How many votes are counted."""
    return sum(int(count) for count in observer.hvals("breakroom:votes"))
