"""The panel in the real django-debug-toolbar, and the header of the middleware."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from django_redispool import aredis, redis
from django_redispool.pools import Pools
from redispool.recording.swapping import SWAPS
from tests.support.loops import Run

PAGE = "<html><body>a page</body></html>"
TIMING = r'redis;desc="(\d+) commands?";dur=\d+\.\d\d'


def asking(request: HttpRequest) -> HttpResponse:
    """Ask several things, one of them twice."""
    redis.set("key", "<b>x</b>")
    redis.get("key")
    redis.get("key")
    redis.pipeline().get("a").get("b").execute()
    with redis.pinned() as pin:
        pin.get("c")
    return HttpResponse(PAGE)


async def asking_async(request: HttpRequest) -> HttpResponse:
    """The same for an event loop."""
    await aredis.get("key")
    async with aredis.pinned() as pin:
        await pin.get("c")
    return HttpResponse(PAGE)


def failing(request: HttpRequest) -> HttpResponse:
    """Ask, and raise."""
    redis.get("key")
    raise RuntimeError("on purpose")


@pytest.fixture
def toolbar_site(site: Pools, settings: Any) -> Iterator[Pools]:
    """A site with the toolbar, which has our panel alone."""
    settings.DEBUG = True
    settings.INTERNAL_IPS = ["127.0.0.1"]
    settings.STATIC_URL = "static/"
    settings.INSTALLED_APPS = ["django.contrib.staticfiles", "debug_toolbar", "django_redispool"]
    settings.MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware"]
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
    ]
    settings.DEBUG_TOOLBAR_PANELS = ["django_redispool.debug_toolbar.RedisPanel"]
    settings.DEBUG_TOOLBAR_CONFIG = {"RENDER_PANELS": True, "IS_RUNNING_TESTS": False}
    # Not before: it has models, which want their application to be installed.
    from debug_toolbar.settings import get_config, get_panels
    from debug_toolbar.toolbar import DebugToolbar

    def forget_settings() -> None:
        get_config.cache_clear()
        get_panels.cache_clear()
        DebugToolbar._panel_classes = None

    forget_settings()
    settings.ROOT_URLCONF = (
        path("", asking),
        path("async", asking_async),
        path("failing", failing),
        path("__debug__/", include("debug_toolbar.urls")),
    )
    yield site
    forget_settings()


@pytest.mark.usefixtures("toolbar_site")
def test_the_panel_shows_the_commands_of_a_request(client: Client) -> None:
    """Commands with durations, places and sizes; duplicates marked; leases; nothing unescaped."""
    page = client.get("/").content.decode()

    assert "6 commands in" in page
    assert "<code>SET key &lt;b&gt;x&lt;/b&gt;</code>" in page
    assert page.count("duplicate: asked 2 times") == 2
    assert "<div><code>GET a</code></div><div><code>GET b</code></div>" in page
    assert f"{__file__}:" in page
    assert "in asking" in page
    assert "Connections held for longer than a command" in page
    assert "not given back" not in page
    assert SWAPS._recording == 0


@pytest.mark.usefixtures("toolbar_site")
def test_the_panel_shows_those_of_an_async_view(run: Run) -> None:
    """Under ASGI the panel is there as well, with what was asked with ``aredis``."""

    async def ask() -> str:
        response = await AsyncClient().get("/async")
        return str(response.content.decode())

    page = run(ask())
    assert "2 commands in" in page
    assert "in asking_async" in page


@pytest.mark.usefixtures("toolbar_site")
def test_requests_do_not_see_each_other(client: Client) -> None:
    """Each has a panel of its own, whose figures the history keeps."""
    first = client.get("/").content.decode()
    second = client.get("/").content.decode()

    assert "6 commands in" in first
    assert "6 commands in" in second


@pytest.mark.usefixtures("toolbar_site")
def test_recording_ends_with_a_view_that_raises(client: Client) -> None:
    """After an error commands run as ever."""
    client.raise_request_exception = False
    assert client.get("/failing").status_code == 500

    assert SWAPS._recording == 0


@pytest.mark.usefixtures("toolbar_site")
def test_the_browser_is_told_how_long_it_took(client: Client) -> None:
    """The toolbar's header has the time of Redis in it."""
    header = client.get("/").headers["Server-Timing"]

    assert re.search(r'RedisPanel_redis;dur=[\d.]+;desc="6 commands in', header)


@pytest.fixture
def timed_site(site: Pools, settings: Any) -> Any:
    """The settings of a site with the middleware, which is debugged."""
    settings.DEBUG = True
    settings.MIDDLEWARE = ["django_redispool.middleware.ServerTimingMiddleware"]
    settings.ROOT_URLCONF = (path("", asking), path("async", asking_async))
    return settings


@pytest.mark.usefixtures("timed_site")
def test_the_middleware_counts_commands_and_time(client: Client) -> None:
    """``Server-Timing`` says how many commands the request ran, and how long that took."""
    header = client.get("/").headers["Server-Timing"]

    assert re.fullmatch(TIMING, header)
    assert 'desc="6 commands"' in header


@pytest.mark.usefixtures("timed_site")
def test_the_middleware_serves_asgi(run: Run) -> None:
    """It is async where the site is."""

    async def ask() -> str:
        # Not AsyncClient: its requests have no context of their own, and so no scope.
        scope = {"type": "http", "method": "GET", "path": "/async", "headers": []}
        line = ApplicationCommunicator(ASGIHandler(), scope)
        await line.send_input({"type": "http.request", "body": b"", "more_body": False})
        headers = dict((await line.receive_output(10))["headers"])
        await line.receive_output(10)
        await line.wait(10)
        return str(headers[b"Server-Timing"])

    assert 'desc="2 commands"' in run(ask())


def test_the_middleware_is_silent_without_debug(timed_site: Any, client: Client) -> None:
    """In production strangers learn nothing, although the middleware was left in the settings."""
    timed_site.DEBUG = False

    assert "Server-Timing" not in client.get("/").headers


def test_what_others_say_stays(timed_site: Any, client: Client) -> None:
    """A header that the view has set already is added to."""

    def with_header(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Server-Timing": "db;dur=1"})

    timed_site.ROOT_URLCONF = (path("", with_header),)

    header = client.get("/").headers["Server-Timing"]
    assert re.fullmatch(rf"db;dur=1, {TIMING}", header)
