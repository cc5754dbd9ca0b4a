"""A Flask application with one async view."""

from __future__ import annotations

from flask import Flask

from flask_redispool import RedisPool, aredis

from . import patterns

app = Flask(__name__)
body = patterns.one_get(aredis)

if patterns.is_ours():
    app.config["REDISPOOL"] = patterns.definition()
    RedisPool(app)


@app.get("/")
async def view() -> str:
    """One GET."""
    return await body()
