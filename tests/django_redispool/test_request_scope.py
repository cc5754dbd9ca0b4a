"""What one request has checked out, under WSGI; and the signals that tell of a request."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.signals import request_finished, request_started, setting_changed
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client

from django_redispool import redis
from django_redispool.pools import Pools
from redispool import scope, scopes

from ..support import careless
from ..support.careless import KINDS, Careless, keep_a_pin, keep_a_subscription
from .conftest import Show, held_by

CARELESS = [pytest.param(work, id=kind) for work, kind in KINDS.items()]


def the_line(caplog: pytest.LogCaptureFixture) -> str:
    """The one line that redispool wrote to the log."""
    (record,) = [each for each in caplog.records if each.name == "redispool"]
    assert record.levelno == logging.WARNING
    return record.getMessage()


def answer(text: object = "") -> HttpResponse:
    """A plain answer."""
    return HttpResponse(str(text))


@pytest.mark.parametrize("work", CARELESS)
def test_what_a_view_forgot_goes_back(
    site: Pools, show: Show, client: Client, caplog: pytest.LogCaptureFixture, work: Careless
) -> None:
    """At the end of a request what the view left open goes back; one line says what and where."""

    def view(request: HttpRequest) -> HttpResponse:
        work(redis)
        return answer(held_by())

    show(view)

    assert client.get("/").content == b"1"

    assert held_by() == 0
    line = the_line(caplog)
    assert line.startswith(f"{KINDS[work]} was not closed by the end of its scope; taken at ")
    assert f"{careless.__file__}:" in line
    assert line.endswith(f" in {work.__name__}")


@pytest.mark.parametrize("work", CARELESS)
def test_a_view_that_raises_loses_nothing_either(
    site: Pools, show: Show, caplog: pytest.LogCaptureFixture, work: Careless
) -> None:
    """The same holds for a request that ended with an error."""

    def view(request: HttpRequest) -> HttpResponse:
        work(redis)
        raise LookupError("the view failed")

    show(view)

    assert Client(raise_request_exception=False).get("/").status_code == 500

    assert held_by() == 0
    assert the_line(caplog).startswith(KINDS[work])


def test_a_careful_view_is_not_scolded(
    site: Pools, show: Show, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Who closes what he opened reads nothing in the log."""

    def view(request: HttpRequest) -> HttpResponse:
        with redis.pinned() as pin, redis.pubsub() as pubsub, redis.pipeline() as pipeline:
            pin.ping()
            pubsub.subscribe("news")
            pipeline.watch("key")
        return answer()

    show(view)
    for _ in range(3):
        client.get("/")

    assert not caplog.records
    assert site.stats()["default"].created_total == 2


def test_commands_are_counted_for_each_request(site: Pools, show: Show, client: Client) -> None:
    """A scope knows how many commands its request ran, those of pipelines too, and how long."""
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        for _ in range(int(request.GET["times"])):
            redis.incr("hits")
        redis.pipeline().incr("hits").incr("hits").execute()
        seen.append(scopes.current())
        return answer()

    show(view)
    client.get("/", {"times": 1})
    client.get("/", {"times": 5})

    assert [each.commands for each in seen if each] == [3, 7]
    assert all(each.seconds > 0 for each in seen if each)
    assert scopes.current() is None


@pytest.mark.parametrize("work", CARELESS)
def test_a_stream_keeps_what_its_view_took(
    site: Pools, show: Show, client: Client, work: Careless
) -> None:
    """Under WSGI the scope of a streamed answer ends with the stream."""

    def stream() -> Iterator[str]:
        yield str(held_by())
        redis.ping()
        yield str(held_by())

    def view(request: HttpRequest) -> StreamingHttpResponse:
        work(redis)
        return StreamingHttpResponse(stream())

    show(view)

    response = client.get("/")

    assert held_by() == 1
    assert list(response) == [b"1", b"1"]
    assert held_by() == 0
    assert scopes.current() is None


def test_a_stream_that_nobody_reads_to_its_end(site: Pools, show: Show, client: Client) -> None:
    """A server that gives a stream up closes it, and with it goes what the view took."""

    def view(request: HttpRequest) -> StreamingHttpResponse:
        keep_a_subscription(redis)
        return StreamingHttpResponse(iter("abc"))

    show(view)
    response = client.get("/")
    assert held_by() == 1

    response.close()

    assert held_by() == 0


def test_an_async_view_under_wsgi(
    site: Pools, show: Show, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """An async view, which has an event loop of its own under WSGI, is in the scope as well."""
    seen = []

    async def view(request: HttpRequest) -> HttpResponse:
        keep_a_pin(redis)
        await sync_to_async(redis.incr)("hits")
        seen.append(scopes.current())
        return answer()

    show(view)
    client.get("/")

    assert held_by() == 0
    assert the_line(caplog).startswith("Pin")
    assert [each.commands for each in seen if each] == [2]


def test_a_request_within_a_request(site: Pools, show: Show, client: Client) -> None:
    """The end of an inner request takes nothing from the outer one."""

    def view(request: HttpRequest) -> HttpResponse:
        if "inner" in request.GET:
            return answer(redis.ping())
        keep_a_pin(redis)
        client.get("/", {"inner": ""})
        around = scopes.current()
        return answer(f"{held_by()} {around and around.commands}")

    show(view)

    assert client.get("/").content == b"1 1"
    assert held_by() == 0


def test_a_scope_of_a_task_is_left_alone(site: Pools, show: Show, client: Client) -> None:
    """The end of a request, told once or twice, ends no scope that the program has opened."""
    show(lambda request: answer(redis.ping()))

    with scope() as around:
        keep_a_pin(redis)
        client.get("/").close()
        assert held_by() == 1
        assert scopes.current() is around
    assert held_by() == 0


# Signals


def test_signals_are_connected_once(site: Pools) -> None:
    """However often Django calls ``ready``, a request has one scope."""
    signals = request_started, request_finished, setting_changed
    before = [len(signal.receivers) for signal in signals], len(scopes.finders)

    apps.get_app_config("django_redispool").ready()

    assert ([len(signal.receivers) for signal in signals], len(scopes.finders)) == before


@pytest.mark.parametrize("signal", [request_started, request_finished, setting_changed])
def test_no_receiver_is_async(site: Pools, signal: Any) -> None:
    """An async receiver would make an event loop for each request under WSGI."""
    sync_receivers, async_receivers = signal._live_receivers(None)

    modules = {receiver.__module__ for receiver in sync_receivers}
    assert "django_redispool.requests" in modules
    assert async_receivers == []
