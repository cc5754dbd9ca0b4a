"""The break room, with Flask: a small application on a pooled Redis."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

import store
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    flash,
    redirect,
    render_template,
    request,
    session,
    stream_with_context,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

from flask_redispool import RedisPool, health
from flask_redispool.dashboard import RedisPoolDashboard

pools = RedisPool()


def knows_the_password() -> bool | BaseResponse:
    """Whether a request may see the dashboard; an application with users would look at those.

    Not from where it comes: behind a proxy on this machine, all come from this machine.
    """
    password = current_app.config["DASHBOARD_PASSWORD"]
    if not password:
        return False  # nobody may
    given = request.authorization
    typed = given.password if given is not None and given.type == "basic" else None
    if typed is not None and secrets.compare_digest(typed.encode(), password.encode()):
        return True
    return Response("Who are you?", 401, {"WWW-Authenticate": 'Basic realm="Redis pools"'})


dashboard = RedisPoolDashboard(pools, authorize=knows_the_password)
breakroom = Blueprint("breakroom", __name__)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the application; *config* goes over its defaults and over ``FLASK_…`` variables."""
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY="only for development",
        DASHBOARD_PASSWORD=os.environ.get("DASHBOARD_PASSWORD", ""),
        REDISPOOL={
            "default": {
                "URL": os.environ.get("REDIS_URL", "embedded://"),
                "DECODE_RESPONSES": True,
            },
        },
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    pools.init_app(app)
    app.register_blueprint(breakroom)
    app.register_blueprint(health.blueprint("/ready"))
    dashboard.init_app(app)
    return app


@breakroom.get("/")
def index() -> str:
    name = session.get("name", "")
    return render_template(
        "index.html",
        name=name,
        visits=store.count_visit(),
        leaderboard=store.leaderboard(name),
        tallies=store.tallies(),
        posts=store.latest_posts(),
        process=os.getpid(),
    )


@breakroom.post("/points")
def add_points() -> BaseResponse:
    name = name_field()
    points = request.form.get("points", type=int)
    if points is None or not 1 <= points <= 100:
        abort(400, "points: a number from 1 to 100, please.")
    flash(f"{name} has washed {store.add_points(name, points)} cups.")
    return redirect(url_for(".index"), 303)


@breakroom.post("/votes")
def vote() -> BaseResponse:
    name, choice = name_field(), request.form.get("choice", "")
    if choice not in store.CHOICES:
        abort(400, f"choice: one of {', '.join(store.CHOICES)}, please.")
    if store.vote(name, choice):
        flash(f"Counted: {name} votes for {choice}.")
    else:
        flash(f"Not counted: {name} has voted before.")
    return redirect(url_for(".index"), 303)


@breakroom.post("/posts")
def publish() -> BaseResponse:
    store.publish(name_field(), text_field("text", 200))
    return redirect(url_for(".index"), 303)


@breakroom.get("/feed")
def feed() -> Response:
    # Without the context, the stream would run after the request has given everything back.
    return Response(
        stream_with_context(store.feed()),
        mimetype="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


@breakroom.get("/keyed/<int:number>")
def keyed(number: int) -> Response:
    """For load tests: the answer names the number that was asked for."""
    return Response(store.keyed(number), mimetype="text/plain")


def name_field() -> str:
    """The name in the form, kept in the session for the next form."""
    session["name"] = text_field("name", 40)
    return str(session["name"])


def text_field(field: str, longest: int) -> str:
    """The text in a field of the form; a missing or too long one ends the request."""
    text = request.form.get(field, "").strip()
    if not 1 <= len(text) <= longest:
        abort(400, f"{field}: 1 to {longest} characters, please.")
    return text
