"""The dashboard as a Django view that staff alone may see."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse

from redispool.dashboard import Dashboard

from .pools import pools

__all__ = ["view"]

_dashboard = Dashboard(lambda: pools.factory)


@login_not_required  # the view sees to it itself
def view(request: HttpRequest, name: str = "") -> HttpResponse:
    """Answer with the page, one of its files, or its figures as JSON.

    Who is not logged in is sent to the admin's login, or to ``LOGIN_URL`` where there is no admin.

    Raises:
        PermissionDenied: the user is no staff.
        ImproperlyConfigured: requests have no user.
    """
    user = getattr(request, "user", None)
    if user is None:
        raise ImproperlyConfigured(
            "the dashboard of django_redispool is for staff, and requests have no user: add "
            "django.contrib.auth.middleware.AuthenticationMiddleware to MIDDLEWARE"
        )
    if not user.is_authenticated:
        # Only here: it needs the models of django.contrib.auth, and so the settings.
        from django.contrib.auth.views import redirect_to_login

        return redirect_to_login(request.get_full_path(), _login_url())
    if not (user.is_active and user.is_staff):
        raise PermissionDenied
    answer = _dashboard.answer(name, request.method or "GET")
    response = HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
    for header, value in answer.headers.items():
        response[header] = value
    return response


def _login_url() -> str:
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return str(settings.LOGIN_URL)
