"""The addresses of the sample site."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("breakroom.urls"))]
