"""What a user of Django writes: read by type checkers, never run."""

from __future__ import annotations

from typing import assert_type

from django.http import HttpRequest, HttpResponse

from django_redispool import pools, redis
from redispool import Redis


def visit(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(redis.incr(f"hits:{request.path}")))


def clients_are_clients() -> None:
    assert_type(redis, Redis)
    assert_type(pools.client(), Redis)
    assert_type(pools.client("sessions"), Redis)


def mistakes_are_seen() -> None:
    pools.client(1)  # type: ignore[arg-type]  # an alias is a name
    redis.no_such_command()  # type: ignore[attr-defined]  # redis is not Any
