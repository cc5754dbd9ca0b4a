from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, Response, send_file, stream_with_context
from werkzeug.test import EnvironBuilder

from flask_redispool import redis
from redispool import scopes

from ..support import Valkey, careless, eventually
from .conftest import held


def answer(app: Flask, method: str = "GET") -> Any:
    """The answer to a request for ``/`` as a server gets it: nothing read, to be closed by it."""
    # Flask's test client reads the first piece of a stream by itself.
    environ = EnvironBuilder(method=method).get_environ()
    return app(environ, lambda *_: lambda _: None)


def subscribed(server: Valkey) -> int:
    """How many connections the server sees subscribed."""
    return sum(row["sub"] != "0" for row in server.clients())


def publish(app: Flask, text: str) -> None:
    """Say something to all who have subscribed."""
    with app.app_context():
        redis.publish("news", text)


def subscribe() -> Any:
    """A subscription that only the scope will close."""
    pubsub = redis.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("news")
    careless.kept.append(pubsub)
    return pubsub


def messages(pubsub: Any) -> Iterator[str]:
    """What the subscription hears, until the word "end"."""
    while (text := eventually(lambda: pubsub.get_message(timeout=1))["data"].decode()) != "end":
        yield text


def from_the_view() -> Response:
    """Subscribe in the view, and stream when its context has gone."""
    return Response(messages(subscribe()))


def from_the_view_with_context() -> Response:
    """Subscribe in the view, and stream in its context."""
    return Response(stream_with_context(messages(subscribe())))


def from_the_stream_with_context() -> Response:
    """Subscribe in the stream, which runs in the context of the view."""

    def generate() -> Iterator[str]:
        pubsub = subscribe()
        yield "ready"
        yield from messages(pubsub)

    return Response(stream_with_context(generate()))


WAYS = [from_the_view, from_the_view_with_context, from_the_stream_with_context]


@pytest.mark.parametrize("view", WAYS)
def test_a_subscription_lives_as_long_as_the_stream(
    shop: Flask, flushed: Valkey, view: Callable[[], Response]
) -> None:
    """A pub/sub that feeds a stream hears until the stream's end; then its connection is gone."""
    shop.add_url_rule("/", view_func=view)

    with closing(answer(shop)) as stream:
        if view is from_the_stream_with_context:
            assert next(stream) == b"ready"
        for text in ("rain", "sun"):
            assert (held(shop), subscribed(flushed)) == (1, 1)
            publish(shop, text)
            assert next(stream) == text.encode()
        publish(shop, "end")
        assert list(stream) == []

    assert held(shop) == 0
    eventually(lambda: subscribed(flushed) == 0)


@pytest.mark.parametrize("view", WAYS)
@pytest.mark.parametrize("pieces", [0, 1])
def test_a_client_that_leaves_early_frees_the_connection(
    shop: Flask, flushed: Valkey, view: Callable[[], Response], pieces: int
) -> None:
    """When the server gives up a stream, what fed it is gone, however much was read by then."""
    shop.add_url_rule("/", view_func=view)

    with closing(answer(shop)) as stream:
        publish(shop, "rain")
        for _ in range(pieces):
            next(stream)

    assert held(shop) == 0
    assert scopes.current() is None
    eventually(lambda: subscribed(flushed) == 0)


@pytest.mark.parametrize("wrap", [iter, stream_with_context])
def test_a_stream_that_fails_frees_the_connection(
    shop: Flask, wrap: Callable[[Iterator[str]], Iterator[str]]
) -> None:
    """An error in the middle of a stream loses nothing."""

    def generate(_: Any) -> Iterator[str]:
        yield "one"
        raise LookupError("the stream failed")

    shop.add_url_rule("/", view_func=lambda: Response(wrap(generate(subscribe()))))

    with closing(answer(shop)) as stream:
        assert next(stream) == b"one"
        assert held(shop) == 1
        with pytest.raises(LookupError, match="the stream failed"):
            next(stream)

    assert held(shop) == 0


def test_a_stream_without_the_context_is_told_what_is_missing(shop: Flask) -> None:
    """Who uses `redis` in a stream that has lost its context is told of stream_with_context."""

    def generate() -> Iterator[str]:
        yield str(redis.incr("hits"))

    shop.add_url_rule("/", view_func=lambda: Response(generate()))

    with (
        closing(answer(shop)) as stream,
        pytest.raises(RuntimeError, match=r"streamed response.*flask\.stream_with_context"),
    ):
        next(stream)


def test_a_pin_serves_a_whole_stream(shop: Flask) -> None:
    """In a stream with its context a ``with`` block holds its connection to the block's end."""

    def generate() -> Iterator[str]:
        with redis.pinned() as pin:
            for _ in range(3):
                yield str(pin.client_id())

    shop.add_url_rule("/", view_func=lambda: Response(stream_with_context(generate())))

    with closing(answer(shop)) as stream:
        pieces = list(stream)

    assert len(pieces) == 3
    assert len(set(pieces)) == 1
    assert held(shop) == 0


def test_streams_that_overlap_have_scopes_of_their_own(shop: Flask, flushed: Valkey) -> None:
    """The end of one stream takes nothing from another one that still runs."""
    shop.add_url_rule("/", view_func=from_the_view)

    with closing(answer(shop)) as second:
        with closing(answer(shop)):
            assert held(shop) == 2
        assert held(shop) == 1
        publish(shop, "rain")
        assert next(second) == b"rain"

    eventually(lambda: subscribed(flushed) == 0)


@pytest.mark.parametrize("view", WAYS)
def test_an_open_stream_is_no_scope_of_other_code(
    shop: Flask, view: Callable[[], Response]
) -> None:
    """Before a stream is read, other code of the thread is in no scope of the request."""
    shop.add_url_rule("/", view_func=view)

    with closing(answer(shop)):
        if view is from_the_view:  # an older Flask leaves the context of the others
            assert scopes.current() is None
        with shop.app_context():
            redis.ping()
            assert getattr(scopes.current(), "commands", None) == 1


# What looks like a stream and is none


def test_a_file_holds_nothing(shop: Flask) -> None:
    """What a view with a file forgot goes back with its app context, not with the response.

    Servers send files by themselves, and close the file alone.
    """

    @shop.get("/")
    def view() -> Response:
        subscribe()
        return send_file(BytesIO(b"a file"), mimetype="text/plain")

    with closing(answer(shop)) as file:
        assert held(shop) == 0
        assert list(file) == [b"a file"]


def test_a_response_in_place_of_the_stream(shop: Flask) -> None:
    """Where a function after the view answers with something else, nothing waits for the stream."""
    shop.add_url_rule("/", view_func=from_the_view)
    shop.after_request(lambda _: Response("something else"))

    with closing(answer(shop)) as body:
        assert list(body) == [b"something else"]
        assert held(shop) == 0


def test_a_stream_in_place_of_the_response(shop: Flask) -> None:
    """A stream that a function after the view answered with is a stream like any other."""
    shop.add_url_rule("/", view_func=lambda: "")
    shop.after_request(lambda _: from_the_view())

    with closing(answer(shop)) as stream:
        assert held(shop) == 1
        publish(shop, "rain")
        assert next(stream) == b"rain"
    assert held(shop) == 0


def test_a_head_request_ends_the_stream(shop: Flask, flushed: Valkey) -> None:
    """HEAD asks for no body: nothing is read, and the connection goes all the same."""
    shop.add_url_rule("/", view_func=from_the_view)

    with closing(answer(shop, "HEAD")) as body:
        assert list(body) == []

    assert held(shop) == 0
    eventually(lambda: subscribed(flushed) == 0)
