"""A Django project with one async view: under WSGI one GET, under ASGI five commands."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_redispool import aredis

from . import patterns

ours = patterns.is_ours()
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["django_redispool"] if ours else [],
    MIDDLEWARE=[],
    REDISPOOL=patterns.definition() if ours else {},
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use",
)
one_get, five = patterns.one_get(aredis), patterns.five(aredis)


async def view(request: HttpRequest) -> HttpResponse:
    """Where there is no scope of ASGI, the server is one for WSGI."""
    return HttpResponse(await (five() if hasattr(request, "scope") else one_get()))


urlpatterns = [path("", view)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
