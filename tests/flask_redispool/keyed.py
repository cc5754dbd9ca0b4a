"""An application for load: every answer names the key that was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flask import Flask, Response, stream_with_context

from flask_redispool import RedisPool, redis

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
