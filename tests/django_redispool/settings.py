"""The settings of a small site without a database; the environment's ``REDIS_URL`` is its Redis."""

from __future__ import annotations

from typing import Any

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django_redispool"]
ROOT_URLCONF = "tests.django_redispool.urls"
DATABASES: dict[str, Any] = {}
USE_TZ = True
