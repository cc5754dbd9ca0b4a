"""``path("redispool/", include("django_redispool.urls"))``: the dashboard, for staff."""

from __future__ import annotations

from django.urls import path

from .dashboard import view

app_name = "redispool"
urlpatterns = [
    path("", view, name="dashboard"),
    path("<str:name>", view, name="dashboard-file"),
]
