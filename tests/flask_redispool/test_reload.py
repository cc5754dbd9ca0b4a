"""The reloader of ``flask run --debug``, which replaces the process when a file changes."""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path

from ..support import Valkey, eventually
from ..support.web import WebServer, connections_of

PROGRAM = """
import os
from flask import Flask
from flask_redispool import RedisPool, redis

app = Flask(__name__)
RedisPool(app)
kept = []

@app.get("/")
def view():
    kept.append(redis.pubsub())
    kept[-1].subscribe("news")
    return str(os.getpid())
"""


def test_a_reload_leaves_no_connection_behind(flushed: Valkey, tmp_path: Path) -> None:
    """After a reload the new process has connections, and neither the old one nor the watcher."""
    program = tmp_path / "app.py"
    program.write_text(PROGRAM, encoding="ascii")
    words = ["flask", "run", "--debug", "--port", "0"]
    settings = {"REDIS_URL": flushed.url}

    with WebServer(*words, log=tmp_path / "log", cwd=tmp_path, environment=settings) as web:
        first = web.get("/")
        assert set(connections_of(flushed)) <= {int(first)}
        program.write_text(PROGRAM + "\n# changed\n", encoding="ascii")
        second = eventually(lambda: changed(web, first))
        eventually(lambda: set(connections_of(flushed)) <= {int(second)})
        assert web.complaints() == []

    eventually(lambda: not flushed.clients())


def changed(web: WebServer, before: str) -> str:
    """The process that answers, if it is another one by now."""
    try:
        found = web.get("/")
    except (OSError, HTTPException):  # between the two processes nobody answers in full
        return ""
    return found if found != before else ""
