"""An application for load: every answer names the key that was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, stream_with_context

from flask_redispool import RedisPool, aredis, redis

app = Flask(__name__)
RedisPool(app)

# Whoever forks after this (gunicorn --preload) leaves its connection to the parent.
with app.app_context():
    redis.set("started", "yes")


@app.get("/keyed/<int:number>")
def keyed(number: int) -> str:
    """Write and read a key of this request's own, in one of three ways."""
    key, value = f"key {number}", f"value of {number}"
    match number % 3:
        case 0:
            redis.set(key, value)
            found = redis.get(key)
        case 1:
            found = redis.pipeline().set(key, value).get(key).execute()[1]
        case _:
            with redis.pinned() as pin:
                pin.set(key, value)
                found = pin.get(key)
    assert isinstance(found, bytes)
    return found.decode()


asynchronous = Blueprint("asynchronous", __name__)


@asynchronous.before_request
async def count() -> None:
    """A hook, which has an event loop of its own under WSGI."""
    await aredis.incr("requests")


@asynchronous.get("/keyed-async/<int:number>")
async def keyed_async(number: int) -> str:
    """The same from an async view."""
    key, value = f"key {number}", f"value of {number}"
    match number % 3:
        case 0:
            await aredis.set(key, value)
            found = await aredis.get(key)
        case 1:
            found = (await aredis.pipeline().set(key, value).get(key).execute())[1]
        case _:
            async with aredis.pinned() as pin:
                await pin.set(key, value)
                found = await pin.get(key)
    assert isinstance(found, bytes)
    return found.decode()


app.register_blueprint(asynchronous)


@app.get("/made")
def made() -> str:
    """How many connections for asyncio this process has made."""
    factory = app.extensions["redispool"]
    return str(sum(pool.created_total for pool in factory.async_stats().values()))


@app.get("/feed")
def feed() -> Response:
    """Say now and then that the stream is alive, while a subscription is open."""

    def generate() -> Iterator[str]:
        with redis.pubsub() as pubsub:
            pubsub.subscribe("news")
            while True:
                pubsub.get_message(timeout=0.05)
                yield "alive\n"

    return Response(stream_with_context(generate()))


@app.get("/pid")
def pid() -> str:
    """Which process answers."""
    return str(os.getpid())
