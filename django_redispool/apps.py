"""The Django app: it connects signals and registers checks, and opens nothing."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_finished, request_started, setting_changed

from redispool import scopes


class RedisPoolConfig(AppConfig):
    """``django_redispool`` in INSTALLED_APPS."""

    name = "django_redispool"
    verbose_name = "Redis pools"

    def ready(self) -> None:
        """Connect signals; may run more than once."""
        from . import requests
        from .checks import check_deployment, check_settings

        request_started.connect(requests.open_scope, dispatch_uid="redispool.open_scope")
        request_finished.connect(requests.close_scope, dispatch_uid="redispool.close_scope")
        setting_changed.connect(requests.rebuild_pools, dispatch_uid="redispool.rebuild_pools")
        if requests.scope_of_request not in scopes.finders:
            scopes.finders.append(requests.scope_of_request)
        checks.register(check_settings, "redispool")
        checks.register(check_deployment, "redispool", deploy=True)
