"""A Flask application with one view."""

from __future__ import annotations

import os

from flask import Flask

from . import patterns

app = Flask(__name__)
body = patterns.body("flask")

if os.environ[patterns.PATTERN] == patterns.OURS:
    from flask_redispool import RedisPool

    app.config["REDIS_URL"] = os.environ[patterns.URL]
    RedisPool(app)


@app.get("/")
def view() -> str:
    """Five commands."""
    return body()
