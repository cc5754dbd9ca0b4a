"""Views for load: every answer names the key that was asked for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from django_redispool import aredis, pools, redis


def value_of(number: int) -> bytes:
    """Write and read a key of this request's own, in one of three ways."""
    key, value = f"key {number}", f"value of {number}"
    match number % 3:
        case 0:
            redis.set(key, value)
            found = redis.get(key)
        case 1:
            found = redis.pipeline().set(key, value).get(key).execute()[1]
        case _:
            with redis.pinned() as pin:
                pin.set(key, value)
                found = pin.get(key)
    assert isinstance(found, bytes)
    return found


def keyed(request: HttpRequest, number: int) -> HttpResponse:
    """The value of a key, from a sync view."""
    return HttpResponse(value_of(number))


async def keyed_async(request: HttpRequest, number: int) -> HttpResponse:
    """The value of a key, from an async view; every other one asks in the event loop itself."""
    found = value_of(number) if number % 2 else await sync_to_async(value_of)(number)
    return HttpResponse(found)


async def akeyed(request: HttpRequest, number: int) -> HttpResponse:
    """The value of a key, from an async view with the client for asyncio."""
    key, value = f"key {number}", f"value of {number}"
    match number % 3:
        case 0:
            await aredis.set(key, value)
            found = await aredis.get(key)
        case 1:
            found = (await aredis.pipeline().set(key, value).get(key).execute())[1]
        case _:
            async with aredis.pinned() as pin:
                await pin.set(key, value)
                found = await pin.get(key)
    return HttpResponse(found)


async def wait_forever(request: HttpRequest) -> HttpResponse:
    """Wait for a job that never comes, with a subscription beside it."""
    pubsub = aredis.pubsub()
    await pubsub.subscribe("news")
    await aredis.blpop(["never"], 600)
    return HttpResponse()


def made(request: HttpRequest) -> HttpResponse:
    """How many connections for asyncio this process has made."""
    return HttpResponse(str(sum(pool.created_total for pool in pools.async_stats().values())))


def feed(request: HttpRequest) -> StreamingHttpResponse:
    """Say now and then that the stream is alive, while a subscription is open."""

    def pieces() -> Iterator[str]:
        with redis.pubsub() as pubsub:
            pubsub.subscribe("news")
            while True:
                pubsub.get_message(timeout=0.05)
                yield "alive\n"

    return StreamingHttpResponse(pieces())


async def feed_async(request: HttpRequest) -> StreamingHttpResponse:
    """The same, for an event loop, with a subscription that is left to the scope."""
    pubsub = redis.pubsub()
    await sync_to_async(pubsub.subscribe)("news")

    async def pieces() -> AsyncIterator[str]:
        while True:
            await sync_to_async(pubsub.get_message)(timeout=0.05)
            yield "alive\n"

    return StreamingHttpResponse(pieces())


def pid(request: HttpRequest) -> HttpResponse:
    """Which process answers."""
    return HttpResponse(str(os.getpid()))


urlpatterns = [
    path("keyed/<int:number>", keyed),
    path("keyed-async/<int:number>", keyed_async),
    path("akeyed/<int:number>", akeyed),
    path("wait", wait_forever),
    path("made", made),
    path("feed", feed),
    path("feed-async", feed_async),
    path("pid", pid),
]
