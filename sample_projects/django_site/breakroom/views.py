"""The break room, with Django: a small application on a pooled Redis."""

from __future__ import annotations

import os

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from breakroom import store
from breakroom.forms import NameForm, PointsForm, PostForm, VoteForm


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    name = request.session.get("name", "")
    context = {
        "name": name,
        "visits": store.count_visit(),
        "leaderboard": store.leaderboard(name),
        "tallies": store.tallies(),
        "posts": store.latest_posts(),
        "process": os.getpid(),
    }
    return render(request, "breakroom/index.html", context)


@require_POST
def add_points(request: HttpRequest) -> HttpResponse:
    form = PointsForm(request.POST)
    if not form.is_valid():
        return refused(form)
    name = remember_name(request, form)
    total = store.add_points(name, form.cleaned_data["points"])
    messages.success(request, f"{name} has washed {total} cups.")
    return redirect("breakroom:index")


@require_POST
def vote(request: HttpRequest) -> HttpResponse:
    form = VoteForm(request.POST)
    if not form.is_valid():
        return refused(form)
    name, choice = remember_name(request, form), form.cleaned_data["choice"]
    if store.vote(name, choice):
        messages.success(request, f"Counted: {name} votes for {choice}.")
    else:
        messages.warning(request, f"Not counted: {name} has voted before.")
    return redirect("breakroom:index")


@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    form = PostForm(request.POST)
    if not form.is_valid():
        return refused(form)
    store.publish(remember_name(request, form), form.cleaned_data["text"])
    return redirect("breakroom:index")


@require_GET
def feed(request: HttpRequest) -> StreamingHttpResponse:
    # The server closes the stream when the browser has left, and with it the subscription.
    return StreamingHttpResponse(
        store.feed(),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


@require_GET
def keyed(request: HttpRequest, number: int) -> HttpResponse:
    """For load tests: the answer names the number that was asked for."""
    return HttpResponse(store.keyed(number), content_type="text/plain")


def remember_name(request: HttpRequest, form: NameForm) -> str:
    """The name in the form, kept in the session for the next form."""
    name: str = form.cleaned_data["name"]
    request.session["name"] = name
    return name


def refused(form: NameForm) -> HttpResponse:
    """What was wrong in the form, in plain text."""
    return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
