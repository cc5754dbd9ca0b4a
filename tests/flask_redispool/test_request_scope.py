from __future__ import annotations

import logging
import threading

import pytest
from flask import Flask, Response, copy_current_request_context
from flask.testing import FlaskClient

from flask_redispool import redis
from redispool import Redis, scope, scopes

from ..support import Valkey, careless, eventually
from ..support.careless import KINDS, Careless, keep_a_pin, keep_a_subscription
from .conftest import MakeApp, factory_of, held

CARELESS = [pytest.param(work, id=kind) for work, kind in KINDS.items()]


def add_view(app: Flask, work: Careless) -> None:
    """Let ``/`` do `work`, and answer with how many connections are held then."""

    def view() -> str:
        work(redis)
        return str(held(app))

    app.add_url_rule("/", view_func=view)


@pytest.mark.parametrize("work", CARELESS)
def test_what_a_view_forgot_goes_back(
    shop: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture, work: Careless
) -> None:
    """At the end of a request what the view left open goes back; one line says what and where."""
    add_view(shop, work)

    assert client.get("/").text == "1"

    assert held(shop) == 0
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("redispool", logging.WARNING)
    assert record.getMessage().startswith(
        f"{KINDS[work]} was not closed by the end of its scope; taken a"
    )
    assert f"{careless.__file__}:" in record.getMessage()
    assert record.getMessage().endswith(f" in {work.__name__}")


@pytest.mark.parametrize("work", CARELESS)
def test_a_view_that_raises_loses_nothing_either(
    shop: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture, work: Careless
) -> None:
    """The same holds for a request that ended with an error."""

    def view() -> str:
        work(redis)
        raise LookupError("the view failed")

    shop.add_url_rule("/", view_func=view)

    assert client.get("/").status_code == 500

    assert held(shop) == 0
    (message,) = [each.getMessage() for each in caplog.records if each.name == "redispool"]
    assert message.startswith(KINDS[work])


def test_an_error_leaves_as_it_is(shop: Flask) -> None:
    """The end of the scope hides no exception of the view from Flask's handlers and tests."""
    shop.testing = True

    @shop.get("/")
    def view() -> str:
        keep_a_pin(redis)
        raise LookupError("the view failed")

    with pytest.raises(LookupError, match="the view failed"):
        shop.test_client().get("/")
    assert held(shop) == 0


def test_a_careful_view_is_not_scolded(
    shop: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Who closes what he opened reads nothing in the log, and no connection is closed."""

    @shop.get("/")
    def view() -> str:
        with redis.pinned() as pin, redis.pubsub() as pubsub, redis.pipeline() as pipeline:
            pin.ping()
            pubsub.subscribe("news")
            pipeline.watch("key")
        return ""

    for _ in range(3):
        client.get("/")

    assert not caplog.records
    assert factory_of(shop).stats()["default"].created_total == 2
    assert held(shop) == 0


def test_the_scope_ends_after_the_applications_own_teardown(
    shop: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What a teardown function of the application gives back itself is not called forgotten."""
    add_view(shop, keep_a_subscription)
    shop.teardown_appcontext(lambda _: careless.kept.pop().close())

    client.get("/")

    assert not caplog.records
    assert held(shop) == 0


def test_commands_are_counted_for_each_request(shop: Flask, client: FlaskClient) -> None:
    """A scope knows how many commands its request ran, those of pipelines too, and how long."""
    seen = []

    @shop.get("/<int:number>")
    def view(number: int) -> str:
        for _ in range(number):
            redis.incr("hits")
        redis.pipeline().incr("hits").incr("hits").execute()
        seen.append(scopes.current())
        return ""

    client.get("/1")
    client.get("/5")

    assert [each.commands for each in seen if each] == [3, 7]
    assert all(each.seconds > 0 for each in seen if each)
    assert scopes.current() is None


@pytest.mark.parametrize("work", CARELESS)
def test_an_app_context_without_a_request_has_a_scope(shop: Flask, work: Careless) -> None:
    """A script or a command in ``with app.app_context():`` is looked after like a view."""
    with shop.app_context():
        work(redis)
        assert held(shop) == 1
    assert held(shop) == 0


def test_nested_contexts_have_nested_scopes(make_app: MakeApp) -> None:
    """An inner app context gives back its own, and leaves alone what the outer one holds."""
    outer, inner = make_app("outer"), make_app("inner")

    with outer.app_context():
        keep_a_pin(redis)
        around = scopes.current()
        with inner.app_context():
            keep_a_pin(redis)
            assert scopes.current() is not around
        assert (held(outer), held(inner)) == (1, 0)
        assert scopes.current() is around
    assert held(outer) == 0


def test_a_context_pushed_twice_has_one_scope(shop: Flask) -> None:
    """Only the last pop of a context ends its scope."""
    context = shop.app_context()
    with context:
        with context:
            keep_a_pin(redis)
        assert held(shop) == 1
    assert held(shop) == 0
    assert scopes.current() is None


def test_a_request_within_an_app_context(shop: Flask, client: FlaskClient) -> None:
    """A request in a context that a test has pushed takes nothing from the test, however it ends.

    Flask gives such a request no app context of its own; what it forgot goes with the test's.
    """

    def stream() -> Response:
        keep_a_subscription(redis)
        return Response(iter("abc"))

    add_view(shop, keep_a_pin)
    shop.add_url_rule("/stream", view_func=stream)

    with shop.app_context(), redis.pinned() as pin:
        around = scopes.current()
        assert client.get("/").text == "2"
        with client.get("/stream") as first, client.get("/stream"):
            assert held(shop) == 4
            first.close()  # and once more at the end of the block
        assert pin.ping()
        assert scopes.current() is around
    assert held(shop) == 0
    assert scopes.current() is None


def test_a_scope_within_a_request_ends_by_itself(shop: Flask, client: FlaskClient) -> None:
    """``with redispool.scope():`` in a view gives back at its end, not at that of the request."""

    def work(_: Redis) -> None:
        with scope():
            keep_a_pin(redis)
        assert held(shop) == 0
        assert redis.ping()

    add_view(shop, work)
    assert client.get("/").text == "0"


def test_a_thread_with_the_context_of_the_request(shop: Flask, client: FlaskClient) -> None:
    """A thread that was given the context of the request has a scope of its own."""
    go, gone = threading.Event(), threading.Event()

    @shop.get("/")
    def view() -> str:
        @copy_current_request_context
        def work() -> None:
            keep_a_pin(redis)
            gone.set()
            assert go.wait(10)

        threading.Thread(target=work).start()
        return ""

    client.get("/")
    assert gone.wait(10)
    assert held(shop) == 1  # the request is over, the thread is not
    go.set()
    eventually(lambda: held(shop) == 0)


def test_an_async_view_forgets_nothing(
    shop: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What an async view left open goes back too, and its commands are counted."""
    seen = []

    @shop.get("/")
    async def view() -> str:
        keep_a_pin(redis)
        seen.append(scopes.current())
        return ""

    client.get("/")

    assert held(shop) == 0
    assert len(caplog.records) == 1
    assert [each.commands for each in seen if each] == [1]


def test_a_pin_is_renewed_before_another_request_gets_it(shop: Flask, client: FlaskClient) -> None:
    """The state of a forgotten session does not reach the next request."""

    @shop.get("/select")
    def select() -> str:
        holding = redis.pinned()
        careless.kept.append(holding)
        holding.__enter__().execute_command("SELECT", 3)
        return ""

    shop.add_url_rule("/set", view_func=lambda: str(redis.set("key", "in database 0")))
    client.get("/select")
    client.get("/set")

    assert factory_of(shop).client().get("key") == b"in database 0"


def test_nothing_is_left_when_the_server_has_gone(
    own_server: Valkey, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of a scope never raises, although the server went away during the request."""
    app = make_app(REDIS_URL=own_server.url)

    def work(_: Redis) -> None:
        for keep in KINDS:
            keep(redis)
        own_server.stop()

    add_view(app, work)
    assert app.test_client().get("/").status_code == 200
    assert held(app) == 0
    assert all("was not closed" in record.getMessage() for record in caplog.records)
