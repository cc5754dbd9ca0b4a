"""What a user of Flask writes: read by type checkers, never run."""

from __future__ import annotations

from typing import assert_type

from flask import Flask

from flask_redispool import RedisPool, aredis, health, redis, signals
from redispool import AsyncConnectionPool, AsyncRedis, Redis, events

pools = RedisPool()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["REDISPOOL"] = {"default": "redis://localhost:6379/0"}
    pools.init_app(app)

    @app.get("/visit")
    def visit() -> str:
        return str(redis.incr("hits"))

    @app.get("/visit-async")
    async def visit_async() -> str:
        return str(await aredis.incr("hits"))

    return app


def clients_are_clients() -> None:
    assert_type(redis, Redis)
    assert_type(pools.client(), Redis)
    assert_type(pools.client("sessions"), Redis)
    assert_type(aredis, AsyncRedis)
    assert_type(pools.async_client("sessions"), AsyncRedis)
    assert_type(pools.async_pool(), AsyncConnectionPool)


def the_short_form(app: Flask) -> RedisPool:
    return RedisPool(app)


def probes_are_answered(app: Flask) -> None:
    app.register_blueprint(health.blueprint())
    app.register_blueprint(health.blueprint("/ready", ["default"], within=0.5, name="ready"))


def mistakes_are_seen() -> None:
    pools.init_app("app")  # type: ignore[arg-type]  # the application, not its name
    redis.no_such_command()  # type: ignore[attr-defined]  # redis is not Any
    aredis.no_such_command()  # type: ignore[attr-defined]  # nor is aredis


def signals_are_signals() -> None:
    @signals.on_outage.connect
    def tell(sender: Flask, event: events.OutageBegan) -> None:
        assert_type(event.reason, str)
