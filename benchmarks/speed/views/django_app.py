"""A Django project with one view, in one module; it has no middleware."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from . import patterns

ours = os.environ[patterns.PATTERN] == patterns.OURS
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["django_redispool"] if ours else [],
    MIDDLEWARE=[],
    REDIS_URL=os.environ[patterns.URL],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use",
)
body = patterns.body("django")


def view(request: HttpRequest) -> HttpResponse:
    """Five commands."""
    return HttpResponse(body())


urlpatterns = [path("", view)]
app = get_wsgi_application()
