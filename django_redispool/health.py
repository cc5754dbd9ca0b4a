"""Health: views that answer probes through the pools of the project.

``path("ready", django_redispool.health.view)``; where the site runs under ASGI, `async_view`.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from redispool.health import WITHIN, Health, async_check, check

from .pools import in_words_of_django, pools

__all__ = ["async_view", "view"]


@login_not_required
@never_cache
@require_safe
def view(
    request: HttpRequest, aliases: Sequence[str] | None = None, within: float = WITHIN
) -> HttpResponse:
    """Answer 200 or 503, and what `redispool.health` found, as JSON.

    Args:
        request: GET or HEAD.
        aliases: those that count; all where they are not given. In a pattern:
            ``path("ready", view, {"aliases": ["default"]})``.
        within: seconds that an answer may take.

    Raises:
        django.core.exceptions.ImproperlyConfigured: no such alias is defined.
    """
    with in_words_of_django():
        return _response(check(pools.factory, aliases, within=within))


@login_not_required
@never_cache
@require_safe
async def async_view(
    request: HttpRequest, aliases: Sequence[str] | None = None, within: float = WITHIN
) -> HttpResponse:
    """The same through the pools for asyncio, and the event loop goes on meanwhile."""
    with in_words_of_django():
        return _response(await async_check(pools.factory, aliases, within=within))


def _response(health: Health) -> HttpResponse:
    return JsonResponse(health.as_dict(), status=health.http_status)
