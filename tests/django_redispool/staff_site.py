"""A site with users and an admin, in a process of its own: prints who gets what, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import django
from django.conf import settings
from django.urls import include, path

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["*"],
    REDISPOOL={"default": sys.argv[1]},
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[
        "django_redispool",
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

from django_redispool import redis  # noqa: E402

urlpatterns = [
    path("redispool/", include("django_redispool.urls")),
    path("admin/", admin.site.urls),
]
PATHS = ("", "dashboard.js", "pools.json", "fleet.json", "options.json", "nothing")


def seen_by(client: Client) -> dict[str, Any]:
    """The status of each path, and where a redirection leads."""
    answers = {name: client.get(f"/redispool/{name}") for name in PATHS}
    return {
        name: [answer.status_code, answer.get("Location", "")] for name, answer in answers.items()
    }


def main() -> None:
    """Let three kinds of users look."""
    call_command("migrate", verbosity=0)
    User.objects.create_user("guest")
    User.objects.create_user("boss", is_staff=True, is_superuser=True)
    guest, boss = Client(), Client()
    guest.force_login(User.objects.get(username="guest"))
    boss.force_login(User.objects.get(username="boss"))
    redis.ping()
    page = boss.get("/redispool/")
    sys.stdout.write(
        json.dumps(
            {
                "nobody": seen_by(Client()),
                "guest": seen_by(guest),
                "boss": seen_by(boss),
                "posted": boss.post("/redispool/").status_code,
                "policy": page["Content-Security-Policy"],
                "pools": boss.get("/redispool/pools.json").json()["pools"],
                "index": boss.get("/admin/").content.decode(),
            }
        )
    )


if __name__ == "__main__":
    main()
