"""What a user of Django writes: read by type checkers, never run."""

from __future__ import annotations

from typing import assert_type

from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_redispool import aredis, health, pools, redis, signals
from redispool import AsyncConnectionPool, AsyncRedis, Redis, events


def visit(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(redis.incr(f"hits:{request.path}")))


async def visit_async(request: HttpRequest) -> HttpResponse:
    async with aredis.pinned() as held:
        assert_type(held, AsyncRedis)
    return HttpResponse(str(await aredis.incr(f"hits:{request.path}")))


def clients_are_clients() -> None:
    assert_type(redis, Redis)
    assert_type(pools.client(), Redis)
    assert_type(pools.client("sessions"), Redis)
    assert_type(aredis, AsyncRedis)
    assert_type(pools.async_client("sessions"), AsyncRedis)
    assert_type(pools.async_pool(), AsyncConnectionPool)


urlpatterns = [
    path("ready", health.view),
    path("ready", health.async_view),
    path("ready", health.view, {"aliases": ["default"], "within": 0.5}),
]


def mistakes_are_seen() -> None:
    pools.client(1)  # type: ignore[arg-type]  # an alias is a name
    redis.no_such_command()  # type: ignore[attr-defined]  # redis is not Any
    aredis.no_such_command()  # type: ignore[attr-defined]  # nor is aredis


@receiver(signals.on_outage)
def tell(sender: object, event: events.OutageBegan, **_: object) -> None:
    assert_type(event.reason, str)
