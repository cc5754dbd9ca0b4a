"""What one request has checked out, under ASGI."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import django
import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import AsyncClient

from django_redispool import aredis, pools, redis, requests
from django_redispool.pools import Pools
from redispool import Scope, scopes

from ..support import Valkey, careless, eventually
from ..support.careless import (
    KINDS,
    Careless,
    keep_a_pin,
    keep_a_subscription,
    keep_an_async_subscription,
)
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


class Visit:
    """A request to the site over ASGI, made by hand."""

    def __init__(self, **headers: str) -> None:
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }

    async def begin(self) -> None:
        """Send the request."""
        # The handler is made anew, so that it has the URLs of the test.
        self.line = ApplicationCommunicator(ASGIHandler(), self.scope)
        await self.line.send_input({"type": "http.request", "body": b"", "more_body": False})

    async def status(self) -> int:
        """The status of the answer, when it begins."""
        message = await self.line.receive_output(10)
        assert message["type"] == "http.response.start"
        status: int = message["status"]
        return status

    async def piece(self) -> bytes:
        """The next piece of the answer."""
        message = await self.line.receive_output(10)
        body: bytes = message.get("body", b"")  # the last one may have none
        return body

    async def leave(self) -> None:
        """Hang up, and wait until the site has noticed."""
        await self.line.send_input({"type": "http.disconnect"})
        await self.end()

    async def end(self) -> None:
        """Wait until the site has done all that belongs to the request."""
        await self.line.wait(10)

    async def whole(self) -> bytes:
        """Make the request, and give the whole answer."""
        await self.begin()
        assert await self.status() == 200
        body = await self.piece()
        await self.end()
        return body


def either(work: Callable[[], object], asynchronous: bool) -> Callable[..., Any]:
    """A sync or an async view that does `work`."""

    def view(request: HttpRequest) -> HttpResponse:
        return answer(work())

    async def async_view(request: HttpRequest) -> HttpResponse:
        return answer(work())

    return async_view if asynchronous else view


# Django, too, leaves something open where it is not allowed to end a request.
DJANGO_LEAVES_THE_BODY = pytest.mark.filterwarnings(
    "ignore:Unclosed file <tempfile.SpooledTemporaryFile:ResourceWarning"
)
SYNC_AND_ASYNC = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@SYNC_AND_ASYNC
@pytest.mark.parametrize("work", CARELESS)
def test_what_a_view_forgot_goes_back(
    site: Pools,
    show: Show,
    caplog: pytest.LogCaptureFixture,
    work: Careless,
    asynchronous: bool,
) -> None:
    """Under ASGI too what the view left open goes back at the end of the request, with a line."""

    def forget() -> int:
        work(redis)
        return held_by()

    show(either(forget, asynchronous))

    assert asyncio.run(Visit().whole()) == b"1"

    assert held_by() == 0
    assert the_line(caplog).startswith(f"{KINDS[work]} was not closed by the end of its scope")


def test_a_task_that_outlives_its_request_keeps_what_it_holds(site: Pools, show: Show) -> None:
    """The pin that a view's own task took goes on working after the answer."""
    later: list[asyncio.Task[Any]] = []

    async def visit() -> Any:
        go = asyncio.Event()

        async def work() -> Any:
            async with aredis.pinned() as pin:
                await go.wait()
                return await pin.incr("hits")

        async def view(request: HttpRequest) -> HttpResponse:
            later.append(asyncio.create_task(work()))
            while not pools.async_pool().stats().in_use:
                await asyncio.sleep(0)
            return answer()

        show(view)
        await Visit().whole()
        go.set()
        return await later[0]

    assert asyncio.run(visit()) == 1


@SYNC_AND_ASYNC
def test_a_view_that_raises_loses_nothing_either(
    site: Pools, show: Show, asynchronous: bool
) -> None:
    """The same holds for a request that ended with an error."""

    def fail() -> None:
        keep_a_subscription(redis)
        raise LookupError("the view failed")

    show(either(fail, asynchronous))

    async def visit() -> int:
        visit = Visit()
        await visit.begin()
        status = await visit.status()
        await visit.piece()
        await visit.end()
        return status

    assert asyncio.run(visit()) == 500
    assert held_by() == 0


@SYNC_AND_ASYNC
def test_commands_are_counted_for_each_request(site: Pools, show: Show, asynchronous: bool) -> None:
    """A scope knows the commands of its own request, one after the other."""
    seen: list[Scope | None] = []

    def work() -> None:
        for _ in range(len(seen) + 1):
            redis.incr("hits")
        seen.append(scopes.current())

    show(either(work, asynchronous))
    for _ in range(2):
        asyncio.run(Visit().whole())

    assert [each.commands for each in seen if each] == [1, 2]
    assert scopes.current() is None


def test_requests_at_the_same_time_have_scopes_of_their_own(site: Pools, show: Show) -> None:
    """Two requests in one event loop count their own commands, and end their own things."""
    seen: dict[bool, Scope | None] = {}

    async def visits() -> tuple[int, int]:
        both, go = asyncio.Barrier(2), asyncio.Event()

        async def view(request: HttpRequest) -> HttpResponse:
            slow = "slow" in request.headers
            keep_a_pin(redis)
            await both.wait()
            await sync_to_async(redis.ping)()
            seen[slow] = scopes.current()
            if slow:
                await go.wait()
            return answer()

        show(view)
        quick, slow = Visit(), Visit(slow="yes")
        await slow.begin()
        await quick.whole()
        after_one = held_by()
        go.set()
        await slow.status()
        await slow.piece()
        await slow.end()
        return after_one, held_by()

    assert asyncio.run(visits()) == (1, 0)
    assert seen[True] is not seen[False]
    assert [each.commands for each in seen.values() if each] == [2, 2]


def test_a_client_that_hangs_up_on_an_async_view(site: Pools, show: Show) -> None:
    """When the client leaves in the middle of a view, what the view holds goes back."""

    async def visit() -> int:
        began = asyncio.Event()

        async def view(request: HttpRequest) -> HttpResponse:
            keep_a_subscription(redis)
            began.set()
            await asyncio.sleep(60)
            return answer()

        show(view)
        visit = Visit()
        await visit.begin()
        await asyncio.wait_for(began.wait(), 10)
        before = held_by()
        await visit.leave()
        return before

    assert asyncio.run(visit()) == 1
    assert held_by() == 0


def test_a_client_that_hangs_up_on_a_sync_view(site: Pools, show: Show) -> None:
    """A sync view cannot be stopped: its scope lasts as long as the view, and ends then."""
    began, go = threading.Event(), threading.Event()
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        keep_a_subscription(redis)
        began.set()
        assert go.wait(10)
        seen.append(held_by())
        return answer()

    show(view)

    async def visit() -> None:
        visit = Visit()
        await visit.begin()
        assert await asyncio.to_thread(began.wait, 10)
        leaving = asyncio.create_task(visit.leave())
        await asyncio.sleep(0)
        go.set()
        await leaving

    asyncio.run(visit())

    assert seen == [1]
    assert held_by() == 0


def stream_of(pieces: Callable[[], AsyncIterator[str]]) -> Callable[..., Any]:
    """A view that subscribes and streams."""

    async def view(request: HttpRequest) -> HttpResponseBase:
        keep_a_subscription(redis)
        return StreamingHttpResponse(pieces())

    return view


def test_a_stream_keeps_what_its_view_took(site: Pools, show: Show) -> None:
    """The scope of a streamed answer ends with the stream."""

    async def pieces() -> AsyncIterator[str]:
        for _ in range(2):
            yield str(held_by())

    show(stream_of(pieces))

    async def visit() -> list[bytes]:
        visit = Visit()
        await visit.begin()
        await visit.status()
        heard = [await visit.piece(), await visit.piece()]
        await visit.piece()
        await visit.end()
        return heard

    assert asyncio.run(visit()) == [b"1", b"1"]
    assert held_by() == 0


def test_a_client_that_leaves_a_stream(site: Pools, show: Show, flushed: Valkey) -> None:
    """When the client leaves a stream, the connection that fed it is gone."""

    async def pieces() -> AsyncIterator[str]:
        while True:
            yield "alive"
            await asyncio.sleep(0.001)

    show(stream_of(pieces))

    async def visit() -> int:
        visit = Visit()
        await visit.begin()
        await visit.status()
        await visit.piece()
        before = held_by()
        await visit.leave()
        return before

    assert asyncio.run(visit()) == 1
    assert held_by() == 0
    eventually(lambda: all(row["sub"] == "0" for row in flushed.clients()))


@DJANGO_LEAVES_THE_BODY
def test_a_stream_that_fails(site: Pools, show: Show) -> None:
    """An error in a stream, of which Django tells no receiver, loses nothing either."""

    async def pieces() -> AsyncIterator[str]:
        yield "one"
        raise LookupError("the stream failed")

    show(stream_of(pieces))

    async def visit() -> None:
        visit = Visit()
        await visit.begin()
        await visit.status()
        await visit.piece()
        with pytest.raises(LookupError, match="the stream failed"):
            await visit.end()

    asyncio.run(visit())
    gc.collect()

    assert held_by() == 0


@DJANGO_LEAVES_THE_BODY
def test_a_request_that_the_server_cancels(site: Pools, show: Show) -> None:
    """Where a server drops a request without a word, its scope goes with the request's context."""

    async def visit() -> int:
        began = asyncio.Event()

        async def view(request: HttpRequest) -> HttpResponse:
            keep_a_subscription(redis)
            began.set()
            await asyncio.sleep(60)
            return answer()

        show(view)
        visit = Visit()
        await visit.begin()
        await asyncio.wait_for(began.wait(), 10)
        before = held_by()
        visit.line.stop(exceptions=False)
        await asyncio.sleep(0)
        return before

    assert asyncio.run(visit()) == 1
    gc.collect()
    assert held_by() == 0


def test_work_after_the_answer_is_in_no_scope(site: Pools, show: Show) -> None:
    """A task that outlives its request is not counted to it, and nothing of it is taken away."""
    seen: list[Scope | None] = []

    async def visit() -> int:
        go = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []

        async def later() -> None:
            await go.wait()
            keep_a_pin(redis)
            seen.append(scopes.current())

        async def view(request: HttpRequest) -> HttpResponse:
            tasks.append(asyncio.create_task(later()))
            return answer()

        show(view)
        await Visit().whole()
        go.set()
        await tasks[0]
        return held_by()

    assert asyncio.run(visit()) == 1
    assert seen == [None]
    assert careless.kept.pop().gen.close() is None
    assert held_by() == 0


def test_no_request_is_remembered(site: Pools, show: Show) -> None:
    """Nothing grows with the number of requests, however they ended."""

    async def view(request: HttpRequest) -> HttpResponse:
        redis.ping()
        if "raise" in request.headers:
            raise LookupError("the view failed")
        if "hang" in request.headers:
            await asyncio.sleep(60)
        return answer()

    show(view)

    async def visits() -> None:
        for _ in range(20):
            await Visit().whole()
        for headers in ({"raise": "yes"}, {"hang": "yes"}):
            visit = Visit(**headers)
            await visit.begin()
            await visit.leave()

    asyncio.run(visits())
    gc.collect()

    assert len(requests._asgi_scopes) == 0


# Django's AsyncClient, which is no ASGI server: it opens no context round a request


@SYNC_AND_ASYNC
def test_async_client(site: Pools, show: Show, asynchronous: bool) -> None:
    """Under AsyncClient a request has its own scope since Django 6.1, and before that none."""
    seen: list[Scope | None] = []

    def work() -> object:
        with redis.pinned() as pin:
            pin.incr("hits")
        seen.append(scopes.current())
        return redis.incr("hits")

    show(either(work, asynchronous))

    async def visits() -> None:
        client = AsyncClient()
        answers = await asyncio.gather(client.get("/"), client.get("/"))
        assert {each.content for each in answers} == {b"2", b"4"}
        await client.get("/")
        assert scopes.current() is None

    asyncio.run(visits())

    own = [each for each in seen if each]
    assert len(set(map(id, own))) == len(own) == (3 if django.VERSION >= (6, 1) else 0)
    assert [each.commands for each in own] == [2] * len(own)
    assert len(requests._asgi_scopes) == 0


def test_async_client_gives_back_what_a_view_forgot(site: Pools, show: Show) -> None:
    """Where there is a scope it ends with the request, though the task is that of the test."""
    seen: list[Scope | None] = []

    async def view(request: HttpRequest) -> HttpResponse:
        await keep_an_async_subscription(aredis)
        seen.append(scopes.current())
        return answer()

    show(view)

    async def visit() -> int:
        await AsyncClient().get("/")
        held = pools.async_pool().stats().pubsub
        await careless.kept[-1].aclose()
        return held

    assert asyncio.run(visit()) == (0 if seen[0] else 1)
