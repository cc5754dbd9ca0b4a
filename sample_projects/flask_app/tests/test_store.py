import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import store
from flask import Flask

from flask_redispool import redis


@pytest.mark.usefixtures("app")
def test_leaderboard_shows_the_ten_best() -> None:
    """The ten with most points are shown in order; who is not among them still learns the rank."""
    for points in range(1, 13):
        store.add_points(f"Player {points}", points)
    best, own = store.leaderboard("Player 1")
    assert [standing.points for standing in best] == list(range(12, 2, -1))
    assert own == store.Standing(rank=12, name="Player 1", points=1)
    assert store.leaderboard("Nobody").own is None


def test_votes_at_once_count_once(app: Flask) -> None:
    """Of many votes of one voter, sent at once, one is counted; those of others are not lost."""

    def vote(number: int) -> bool:
        with app.app_context():
            return store.vote(f"Voter {number % 30}", store.CHOICES[number % 2])

    with ThreadPoolExecutor(16) as threads:
        counted = list(threads.map(vote, sorted(range(240), key=lambda number: number % 30)))
    assert sum(counted) == 30
    with app.app_context():
        assert [tally.votes for tally in store.tallies()] == [15, 15]


@pytest.mark.usefixtures("app")
def test_feed_begins_with_the_latest_posts() -> None:
    """A feed brings the posts from before, the oldest first, and then each new one."""
    store.publish("Ada", "one")
    store.publish("Ada", "two")
    feed = store.feed()
    assert next(feed) == ": open\n\n"
    assert [text_of(next(feed)), text_of(next(feed))] == ["one", "two"]
    store.publish("Ada", "three")
    assert text_of(next(feed)) == "three"
    feed.close()


@pytest.mark.usefixtures("app")
def test_old_posts_are_dropped() -> None:
    """Of many posts the latest twenty are kept, the newest first."""
    for number in range(25):
        store.publish("Ada", str(number))
    assert [post["text"] for post in store.latest_posts()] == [str(n) for n in range(24, 4, -1)]


@pytest.mark.usefixtures("app")
def test_closed_feed_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet feed sends heartbeats; closing it ends the subscription."""
    monkeypatch.setattr(store, "HEARTBEAT", 0.01)
    feed = store.feed()
    assert [next(feed), next(feed)] == [": open\n\n", ": heartbeat\n\n"]
    assert subscribers() == 1
    feed.close()
    deadline = time.monotonic() + 5
    while subscribers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert subscribers() == 0


def subscribers() -> int:
    """How many feeds the server knows; it hears of an end a moment later."""
    return int(redis.pubsub_numsub(store.FEED)[0][1])


def text_of(event: str) -> str:
    """The text of the post in a server-sent event."""
    return str(json.loads(event.removeprefix("data: "))["text"])
