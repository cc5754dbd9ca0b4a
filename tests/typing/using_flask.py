"""What a user of Flask writes: read by type checkers, never run."""

from __future__ import annotations

from typing import assert_type

from flask import Flask

from flask_redispool import RedisPool, redis
from redispool import Redis

pools = RedisPool()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["REDISPOOL"] = {"default": "redis://localhost:6379/0"}
    pools.init_app(app)

    @app.get("/visit")
    def visit() -> str:
        return str(redis.incr("hits"))

    return app


def clients_are_clients() -> None:
    assert_type(redis, Redis)
    assert_type(pools.client(), Redis)
    assert_type(pools.client("sessions"), Redis)


def the_short_form(app: Flask) -> RedisPool:
    return RedisPool(app)


def mistakes_are_seen() -> None:
    pools.init_app("app")  # type: ignore[arg-type]  # the application, not its name
    redis.no_such_command()  # type: ignore[attr-defined]  # redis is not Any
