"""Middleware that a project may add; nothing here is loaded otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from redispool import scopes
from redispool.server_timing import HEADER, server_timing

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class ServerTimingMiddleware:
    """Tells the browser, in ``Server-Timing``, how long a request waited for Redis.

    Args:
        get_response: the rest of the site, sync or async.

    Raises:
        MiddlewareNotUsed: ``DEBUG`` is off; the durations would tell strangers what is in a cache.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.DEBUG:
            raise MiddlewareNotUsed
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Give the response, with the header."""
        response = self._get_response(request)
        return timed(response) if isinstance(response, HttpResponseBase) else _later(response)


async def _later(response: Awaitable[HttpResponseBase]) -> HttpResponseBase:
    return timed(await response)


def timed(response: HttpResponseBase) -> HttpResponseBase:
    """Add to `response` what the request has spent so far; others may have a say there, too."""
    said, own = response.get(HEADER), server_timing(scopes.current())
    response[HEADER] = f"{said}, {own}" if said else own
    return response
