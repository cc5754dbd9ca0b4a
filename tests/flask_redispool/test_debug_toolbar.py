"""The panel in the real Flask-DebugToolbar, and the header of the extension."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_debugtoolbar import DebugToolbarExtension

from flask_redispool import aredis, redis
from redispool.recording.swapping import SWAPS
from tests.flask_redispool.conftest import MakeApp

PAGE = "<html><body>a page</body></html>"
TIMING = r'redis;desc="(\d+) commands?";dur=\d+\.\d\d'


def add_views(app: Flask) -> None:
    """Views that ask."""

    @app.get("/")
    def asking() -> str:
        redis.set("key", "<b>x</b>")
        redis.get("key")
        redis.get("key")
        redis.pipeline().get("a").get("b").execute()
        with redis.pinned() as pin:
            pin.get("c")
        return PAGE

    async def asking_async() -> str:
        await aredis.get("key")
        return PAGE

    # Flask-DebugToolbar 0.16 calls views itself, and knows no async ones.
    app.add_url_rule("/async", "asking_async", app.ensure_sync(asking_async))

    @app.get("/failing")
    def failing() -> str:
        redis.get("key")
        raise RuntimeError("on purpose")


@pytest.fixture
def client(make_app: MakeApp) -> FlaskClient:
    """Sends requests to an application with the toolbar, which has our panel alone."""
    app = make_app(
        SECRET_KEY="only for tests",
        DEBUG_TB_ENABLED=True,
        DEBUG_TB_PANELS=["flask_redispool.debug_toolbar.RedisPanel"],
    )
    add_views(app)
    DebugToolbarExtension(app)
    return app.test_client()


def test_the_panel_shows_the_commands_of_a_request(client: FlaskClient) -> None:
    """Commands with durations, places and sizes; duplicates marked; leases; nothing unescaped."""
    page = client.get("/").text

    assert "6 commands in" in page
    assert "<code>SET key &lt;b&gt;x&lt;/b&gt;</code>" in page
    assert page.count("duplicate: asked 2 times") == 2
    assert "<div><code>GET a</code></div><div><code>GET b</code></div>" in page
    assert f"{__file__}:" in page
    assert "in asking" in page
    assert "Connections held for longer than a command" in page
    assert "not given back" not in page
    assert SWAPS._recording == 0


def test_the_panel_shows_those_of_an_async_view(client: FlaskClient) -> None:
    """What a view asks with ``aredis`` is shown as well."""
    page = client.get("/async").text

    assert "1 command in" in page
    assert "in asking_async" in page


def test_recording_ends_with_a_view_that_raises(client: FlaskClient) -> None:
    """After an error that nobody handles commands run as ever."""
    client.application.testing = True  # so that it is raised, and panels are told nothing
    with pytest.raises(RuntimeError, match="on purpose"):
        client.get("/failing")

    assert SWAPS._recording == 0


def timed(make_app: MakeApp, **config: Any) -> FlaskClient:
    """Sends requests to an application without the toolbar."""
    app = make_app(**config)
    add_views(app)
    return app.test_client()


def test_the_header_counts_commands_and_time(make_app: MakeApp) -> None:
    """``Server-Timing`` says how many commands the request ran, and how long that took."""
    client = timed(make_app, REDISPOOL_SERVER_TIMING=True, DEBUG=True)

    header = client.get("/").headers["Server-Timing"]
    assert re.fullmatch(TIMING, header)
    assert 'desc="6 commands"' in header


def test_an_async_view_has_the_header_too(make_app: MakeApp) -> None:
    """What was asked with ``aredis`` counts."""
    client = timed(make_app, REDISPOOL_SERVER_TIMING=True, DEBUG=True)

    assert 'desc="1 command"' in client.get("/async").headers["Server-Timing"]


@pytest.mark.parametrize("config", [{"REDISPOOL_SERVER_TIMING": True}, {"DEBUG": True}])
def test_without_debug_or_the_setting_there_is_none(
    make_app: MakeApp, config: dict[str, Any]
) -> None:
    """Strangers learn nothing in production, and nobody pays who did not ask for it."""
    assert "Server-Timing" not in timed(make_app, **config).get("/").headers
