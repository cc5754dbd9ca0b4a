from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
import redis.asyncio
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, call_command
from django.core.signals import request_finished, request_started
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.utils.decorators import async_only_middleware

from django_redispool import aredis, pools
from django_redispool.pools import Pools
from redispool import AsyncRedis, PoolClosed, Scope, scopes

from ..support import Valkey, eventually
from ..support.careless import ASYNC_KINDS, CarelessTask, keep_an_async_subscription
from ..support.loops import Run, until
from ..support.scale import scale
from .conftest import Show, held_by
from .test_request_scope_asgi import Visit, answer, the_line

CARELESS = [pytest.param(work, id=kind) for work, kind in ASYNC_KINDS.items()]


def made() -> int:
    """How many connections for asyncio the site has made."""
    return pools.async_stats()["default"].created_total


async def hits(request: HttpRequest) -> HttpResponse:
    """An async view."""
    return answer(await aredis.incr("hits"))


def over_wsgi() -> bytes:
    """A request over WSGI."""
    return Client().get("/").content


def over_asgi() -> bytes:
    """A request over ASGI, in a loop of its own."""
    return asyncio.run(Visit().whole())


BOTH = pytest.mark.parametrize("get", [over_wsgi, over_asgi], ids=["wsgi", "asgi"])
Get = Callable[[], bytes]


def test_it_is_a_client_of_redis_py(settings: Any) -> None:
    """It is there before the settings are read, a ``redis.asyncio.Redis``, and says what it is."""
    settings.REDISPOOL = {"default": "nonsense://"}

    assert isinstance(aredis, AsyncRedis)
    assert isinstance(aredis, redis.asyncio.Redis)
    assert repr(aredis) == "<aredis of the Django project>"
    with pytest.raises(ImproperlyConfigured, match="nonsense"):
        asyncio.run(ping(aredis))


async def ping(client: AsyncRedis) -> Any:
    """One command."""
    return await client.ping()


def test_an_alias_that_is_not_defined(site: Pools) -> None:
    """It is refused where it is asked for."""
    with pytest.raises(ImproperlyConfigured, match="sesions"):
        site.async_client("sesions")
    with pytest.raises(ImproperlyConfigured, match="sesions"):
        site.async_pool("sesions")


def test_it_follows_the_settings(site: Pools, flushed: Valkey, settings: Any, run: Run) -> None:
    """A client that was kept goes on with the settings of now."""
    place = f"redis://{flushed.host}:{flushed.port}"
    kept = site.async_client()

    async def write(name: str) -> None:
        await aredis.set("name", name)
        assert await kept.get("name") == name.encode()

    run(write("first"))
    old = site.async_pool()
    settings.REDISPOOL = {"default": f"{place}/1"}
    run(write("second"))

    assert old.closed
    with flushed.outside() as client:
        assert client.get("name") == b"first"
    with pytest.raises(PoolClosed):
        run(ping(AsyncRedis(connection_pool=old)))


@BOTH
def test_requests_share_the_pool_of_the_process(site: Pools, show: Show, get: Get) -> None:
    """Each request has an event loop of its own here, and all use one connection."""
    show(hits)

    assert [get() for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]
    assert made() == 1


def test_many_requests_from_many_threads(site: Pools, show: Show) -> None:
    """No request fails, and threads make no more connections than there are of them."""
    show(hits)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: int(over_wsgi()), range(scale(1000, 200))))

    assert sorted(found) == list(range(1, len(found) + 1))
    assert made() <= 8


def test_many_requests_in_one_loop(site: Pools, show: Show, settings: Any, flushed: Valkey) -> None:
    """50 requests at once stay within ``MAX_CONNECTIONS``, and later ones reuse what is there."""
    settings.REDISPOOL = {"default": {"URL": flushed.url, "MAX_CONNECTIONS": 4}}
    show(hits)

    async def visits() -> None:
        for _ in range(scale(20, 4)):
            await asyncio.gather(*(Visit().whole() for _ in range(50)))

    asyncio.run(visits())
    assert made() <= 4


@async_only_middleware
def counting(get_response: Any) -> Any:
    """An async middleware that uses Redis before and after the view."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        await aredis.incr("before")
        response: HttpResponseBase = await get_response(request)
        await aredis.incr("after")
        return response

    return middleware


@contextmanager
def connected(receiver: Any) -> Iterator[None]:
    """Let `receiver` hear of the begin and the end of requests."""
    for signal in (request_started, request_finished):
        signal.connect(receiver)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.disconnect(receiver)


@BOTH
def test_middleware_view_and_receivers(
    site: Pools, show: Show, settings: Any, flushed: Valkey, get: Get
) -> None:
    """Async middleware, view and signal receivers, in up to three loops, share a connection."""
    settings.MIDDLEWARE = [f"{__name__}.counting"]
    show(hits)

    async def receiver(**_: Any) -> None:
        await aredis.incr("signals")

    with connected(receiver):
        assert [get() for _ in range(3)] == [b"1", b"2", b"3"]

    with flushed.outside() as client:
        assert client.mget("before", "after", "signals") == [b"3", b"3", b"6"]
    assert made() == 1


@BOTH
@pytest.mark.parametrize("error", [False, True], ids=["answers", "raises"])
@pytest.mark.parametrize("work", CARELESS)
def test_what_an_async_view_forgot_goes_back(
    site: Pools,
    show: Show,
    caplog: pytest.LogCaptureFixture,
    work: CarelessTask,
    error: bool,
    get: Get,
) -> None:
    """The end of a request gives it back, in whatever thread and with whatever loop it comes."""
    seen: list[int] = []

    async def view(request: HttpRequest) -> HttpResponse:
        await work(aredis)
        seen.append(held_by())
        if error:
            raise LookupError("the view failed")
        return answer()

    show(view)
    if error:
        with pytest.raises((LookupError, AssertionError)):
            get()
    else:
        get()

    assert seen == [1]
    eventually(lambda: held_by() == 0)
    assert the_line(caplog).startswith(f"{ASYNC_KINDS[work]} was not closed by the end of its sco")
    assert scopes.current() is None


@BOTH
def test_commands_of_async_views_are_counted(site: Pools, show: Show, get: Get) -> None:
    """A scope knows the commands of its own request."""
    seen: list[Scope | None] = []

    async def view(request: HttpRequest) -> HttpResponse:
        for _ in range(len(seen) + 1):
            await aredis.incr("hits")
        seen.append(scopes.current())
        return answer()

    show(view)
    for _ in range(2):
        get()
    assert [each.commands for each in seen if each] == [1, 2]


def test_a_client_that_hangs_up(site: Pools, show: Show, run: Run) -> None:
    """Django cancels the view amid a command: nothing is lost, and the next reply is right."""
    ended: list[str] = []

    async def view(request: HttpRequest) -> HttpResponse:
        await keep_an_async_subscription(aredis)
        try:
            await aredis.blpop(["never"], 60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return answer()

    async def visits() -> None:
        show(view)
        for _ in range(3):
            visit = Visit()
            await visit.begin()
            await until(lambda: held_by() == 2)
            await visit.leave()
            assert held_by() == 0
        show(hits)
        assert await Visit().whole() == b"1"

    run(visits())
    assert ended == ["cancelled"] * 3


def test_a_client_that_leaves_a_stream(site: Pools, show: Show, flushed: Valkey) -> None:
    """When the client leaves a stream, the subscription that fed it is gone."""

    async def pieces() -> AsyncIterator[str]:
        async with aredis.pubsub() as pubsub:
            await pubsub.subscribe("news")
            while True:
                await pubsub.get_message(timeout=0.01)
                yield "alive"

    async def view(request: HttpRequest) -> HttpResponseBase:
        return StreamingHttpResponse(pieces())

    show(view)

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


def test_async_client(site: Pools, show: Show) -> None:
    """Django's ``AsyncClient`` sends requests in the loop of the test, each test in another."""
    show(hits)

    async def visits() -> set[bytes]:
        client = AsyncClient()
        answers = await asyncio.gather(*(client.get("/") for _ in range(4)))
        return {each.content for each in answers}

    assert asyncio.run(visits()) == {b"1", b"2", b"3", b"4"}
    assert asyncio.run(visits()) == {b"5", b"6", b"7", b"8"}
    assert made() <= 4


def test_a_management_command(site: Pools) -> None:
    """A command runs loops one after the other, and sync code between them."""

    class Command(BaseCommand):
        def handle(self, *args: Any, **options: Any) -> None:
            for _ in range(2):
                asyncio.run(self.count())
            self.stdout.write(str(pools.client().get("runs")))

        async def count(self) -> None:
            await aredis.incr("runs")

    output = StringIO()
    call_command(Command(stdout=output))
    assert output.getvalue() == "b'2'\n"
    assert made() == 1
