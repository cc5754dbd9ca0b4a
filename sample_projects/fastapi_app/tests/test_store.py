import asyncio
import json

import pytest
import store

from pools import redis

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("empty_redis")]


async def test_leaderboard_shows_the_ten_best() -> None:
    """The ten with most points are shown in order; who is not among them still learns the rank."""
    for points in range(1, 13):
        await store.add_points(f"Player {points}", points)
    best, own = await store.leaderboard("Player 1")
    assert [standing.points for standing in best] == list(range(12, 2, -1))
    assert own == store.Standing(rank=12, name="Player 1", points=1)
    assert (await store.leaderboard("Nobody")).own is None


async def test_votes_at_once_count_once() -> None:
    """Of many votes of one voter, sent at once, one is counted; those of others are not lost."""
    numbers = sorted(range(240), key=lambda number: number % 30)
    votes = [store.vote(f"Voter {n % 30}", store.CHOICES[n % 2]) for n in numbers]
    assert sum(await asyncio.gather(*votes)) == 30
    assert [tally.votes for tally in await store.tallies()] == [15, 15]


async def test_feed_begins_with_the_latest_posts() -> None:
    """A feed brings the posts from before, the oldest first, and then each new one."""
    await store.publish("Ada", "one")
    await store.publish("Ada", "two")
    feed = store.feed()
    assert await anext(feed) == ": open\n\n"
    assert [text_of(await anext(feed)), text_of(await anext(feed))] == ["one", "two"]
    await store.publish("Ada", "three")
    assert text_of(await anext(feed)) == "three"
    await feed.aclose()


async def test_old_posts_are_dropped() -> None:
    """Of many posts the latest twenty are kept, the newest first."""
    for number in range(25):
        await store.publish("Ada", str(number))
    assert [post["text"] for post in await store.latest_posts()] == [
        str(n) for n in range(24, 4, -1)
    ]


async def test_closed_feed_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet feed sends heartbeats; closing it ends the subscription."""
    monkeypatch.setattr(store, "HEARTBEAT", 0.01)
    feed = store.feed()
    assert [await anext(feed), await anext(feed)] == [": open\n\n", ": heartbeat\n\n"]
    assert await subscribers() == 1
    await feed.aclose()
    async with asyncio.timeout(5):
        while await subscribers():
            await asyncio.sleep(0)


async def subscribers() -> int:
    """How many feeds the server knows; it hears of an end a moment later."""
    return int((await redis.pubsub_numsub(store.FEED))[0][1])


def text_of(event: str) -> str:
    """The text of the post in a server-sent event."""
    return str(json.loads(event.removeprefix("data: "))["text"])
