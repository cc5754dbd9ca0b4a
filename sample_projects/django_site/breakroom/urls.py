"""The addresses of the break room."""

from __future__ import annotations

from django.urls import path

from breakroom import views

app_name = "breakroom"
urlpatterns = [
    path("", views.index, name="index"),
    path("points", views.add_points, name="points"),
    path("votes", views.vote, name="votes"),
    path("posts", views.publish, name="posts"),
    path("feed", views.feed, name="feed"),
    path("keyed/<int:number>", views.keyed, name="keyed"),
]
