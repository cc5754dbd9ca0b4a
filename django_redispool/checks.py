"""System checks: mistakes in the settings, found before the first request and without a network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from redispool import EmbeddedServerError, InvalidOption, credentials, embedded
from redispool.dropin import embedded_directory
from redispool.options import PoolOptions

from .pools import project_folder, project_options


def check_settings(app_configs: Any, **_: Any) -> Iterable[CheckMessage]:
    """``REDISPOOL`` can be read, and a private server could be started where one is wanted."""
    try:
        options = project_options()
    except ImproperlyConfigured as error:
        hint = "See the table of settings in redispool's README."
        return [Error(str(error), hint=hint, id="redispool.E001")]
    return [
        message
        for alias in options
        for check in (_check_embedded, _check_credentials)
        for message in check(alias, options[alias])
    ]


def check_deployment(app_configs: Any, **_: Any) -> Iterable[CheckMessage]:
    """What is fine on a developer's machine and a mistake in production."""
    try:
        options = project_options()
    except ImproperlyConfigured:
        return []  # check_settings has said it
    found: list[CheckMessage] = [
        Warning(
            f'The alias "{alias}" runs a private server (embedded://).',
            hint="It ends with its last process and serves one machine; give the URL of a server.",
            id="redispool.W001",
        )
        for alias in options
        if options[alias].transport == "embedded"
    ]
    if not _server_is_named():
        found.append(
            Warning(
                f"Neither REDISPOOL nor REDIS_URL is set; {options['default'].server} is used.",
                hint='Set REDISPOOL = {"default": "redis://…"}, or REDIS_URL in the environment.',
                id="redispool.W002",
            )
        )
    return found


def _server_is_named() -> bool:
    named = getattr(settings, "REDISPOOL", None) or getattr(settings, "REDIS_URL", None)
    return bool(named or os.environ.get("REDIS_URL"))


def _check_embedded(alias: str, options: PoolOptions) -> list[CheckMessage]:
    if options.transport != "embedded":
        return []
    try:
        embedded.check(embedded_directory(options, project_folder()))
    except EmbeddedServerError as error:
        hint = "Or give the URL of a server that runs already, such as redis://localhost:6379/0."
        return [Error(f'The alias "{alias}": {error}', hint=hint, id="redispool.E002")]
    return []


def _check_credentials(alias: str, options: PoolOptions) -> list[CheckMessage]:
    try:
        credentials.kwargs(options)
    except InvalidOption as error:
        message = f'REDISPOOL["{alias}"]["CREDENTIAL_PROVIDER"]: {error.complaint}'
        hint = "Give the dotted path of a callable, or of an object with get_credentials()."
        return [Error(message, hint=hint, id="redispool.E003")]
    return []
