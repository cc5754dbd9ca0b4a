"""The addresses of the sample site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from django_redispool import health

urlpatterns = [
    path("", include("breakroom.urls")),
    path("admin/", admin.site.urls),
    path("redispool/", include("django_redispool.urls")),
    path("ready", health.view),
]
