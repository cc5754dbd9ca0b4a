"""What the break room keeps in Redis: visits, a leaderboard, a vote and a feed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from redis.exceptions import WatchError

from pools import redis

VISITS = "breakroom:visits"
LEADERBOARD = "breakroom:leaderboard"
VOTES = "breakroom:votes"
POSTS = "breakroom:posts"
POST_IDS = "breakroom:post-ids"
FEED = "breakroom:feed"

CHOICES = ("tea", "coffee")
LATEST = 20
HEARTBEAT = 2.0
"""Seconds between two signs of life in a quiet feed; a browser that left is noticed as fast."""


# A counter: one command, no questions.


async def count_visit() -> int:
    """Count one visit and answer how many there were so far."""
    return int(await redis.incr(VISITS))


# A leaderboard: a sorted set, read in one round trip.


class Standing(NamedTuple):
    """A line of the leaderboard."""

    rank: int
    name: str
    points: int


class Leaderboard(NamedTuple):
    """The ten best, and one's own place, if one has any points."""

    best: list[Standing]
    own: Standing | None


async def add_points(name: str, points: int) -> int:
    """Add to the points of *name* and answer the new sum."""
    return int(await redis.zincrby(LEADERBOARD, points, name))


async def leaderboard(name: str) -> Leaderboard:
    """The leaderboard as *name* sees it: three questions, one pipeline, one moment."""
    async with redis.pipeline() as pipe:
        pipe.zrevrange(LEADERBOARD, 0, 9, withscores=True)
        pipe.zrevrank(LEADERBOARD, name)
        pipe.zscore(LEADERBOARD, name)
        best, rank, points = await pipe.execute()
    return Leaderboard(
        best=[Standing(place, who, int(sum_)) for place, (who, sum_) in enumerate(best, start=1)],
        own=None if rank is None else Standing(rank + 1, name, int(points)),
    )


# A vote: look first, then write, and nobody comes in between.


class Tally(NamedTuple):
    """How often a choice was voted for, also in per cent of all votes."""

    choice: str
    votes: int
    percent: int


async def vote(voter: str, choice: str) -> bool:
    """Count a vote; False where *voter* voted before, however many requests ask at once."""
    ballot = f"breakroom:ballot:{voter}"
    async with redis.pinned() as connection, connection.pipeline() as pipe:
        while True:
            await pipe.watch(ballot)  # from now on EXEC fails where another request writes it
            if await pipe.exists(ballot):
                return False
            pipe.multi()
            pipe.set(ballot, choice)
            pipe.hincrby(VOTES, choice, 1)
            try:
                await pipe.execute()
            except WatchError:
                continue
            return True


async def tallies() -> list[Tally]:
    """The state of the vote."""
    counted = await redis.hgetall(VOTES)
    votes = {choice: int(counted.get(choice, 0)) for choice in CHOICES}
    total = sum(votes.values()) or 1
    return [Tally(choice, n, round(100 * n / total)) for choice, n in votes.items()]


# A feed: a short list for those who come later, a channel for those who are here.


async def publish(name: str, text: str) -> None:
    """Put a post on the list and into all open feeds."""
    post = json.dumps({"id": await redis.incr(POST_IDS), "name": name, "text": text})
    async with redis.pipeline() as pipe:
        pipe.lpush(POSTS, post)
        pipe.ltrim(POSTS, 0, LATEST - 1)
        pipe.publish(FEED, post)
        await pipe.execute()


async def latest_posts() -> list[dict[str, Any]]:
    """The latest posts, the newest first."""
    return [json.loads(post) for post in await redis.lrange(POSTS, 0, -1)]


async def feed() -> AsyncGenerator[str, None]:
    """The posts as server-sent events: the latest ones at once, then each as it comes.

    A post that arrives just as the feed opens may come twice; its ``id`` tells.
    Closing the generator gives the connection back.
    """
    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(FEED)
        await channel.get_message(timeout=HEARTBEAT)  # subscribed: from here on no post is missed
        yield ": open\n\n"  # the browser hears at once that the feed is there
        for post in reversed(await latest_posts()):
            yield f"data: {json.dumps(post)}\n\n"
        while True:
            message = await channel.get_message(timeout=HEARTBEAT)
            yield f"data: {message['data']}\n\n" if message else ": heartbeat\n\n"


# For load tests: each value names its key, so that a wrong reply is seen at once.


async def keyed(number: int) -> str:
    """Set and get the key of that number; right is ``value-of-<number>``."""
    await redis.set(f"key:{number}", f"value-of-{number}", ex=60)
    return str(await redis.get(f"key:{number}"))
