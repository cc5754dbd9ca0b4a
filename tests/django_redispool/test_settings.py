from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from flask import Flask

from django_redispool import pools
from flask_redispool import RedisPool
from redispool import InvalidOption, PoolFactory, PoolOptions


def options(**settings: Any) -> dict[str, PoolOptions]:
    """The options of each alias, for a project with these settings."""
    with override_settings(**settings):
        return dict(pools.factory.options)


def default(**settings: Any) -> str:
    """The server of ``default``, for a project with these settings."""
    return options(**settings)["default"].server


# Where the server is named


def test_without_a_setting_it_is_the_server_next_door() -> None:
    """A project that says nothing gets ``redis://localhost:6379/0``."""
    pools.rebuild()

    assert default() == "localhost:6379/0"


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """``REDIS_URL`` of the environment is the server of ``default``, as hosting services set it."""
    monkeypatch.setenv("REDIS_URL", "redis://environment:1/1")

    assert default(REDISPOOL=None) == "environment:1/1"
    pools.rebuild()


def test_the_setting_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``settings.REDIS_URL`` goes before the environment's, and ``REDISPOOL`` before both."""
    monkeypatch.setenv("REDIS_URL", "redis://environment:1/1")

    assert default(REDIS_URL="redis://setting:2/2") == "setting:2/2"
    assert (
        default(REDIS_URL="redis://setting:2/2", REDISPOOL={"default": "redis://dict:3/3"})
        == "dict:3/3"
    )


def test_each_alias_has_its_own_options() -> None:
    """An alias is a URL or a dict of options."""
    found = options(
        REDISPOOL={
            "default": "redis://dict:3/3",
            "sessions": {"URL": "rediss://dict:3/4", "MAX_CONNECTIONS": 20, "TIMEOUT": 2.0},
        }
    )

    assert {alias: found[alias].server for alias in found} == {
        "default": "dict:3/3",
        "sessions": "dict:3/4",
    }
    assert (found["sessions"].max_connections, found["sessions"].timeout) == (20, 2.0)


# Mistakes: one text everywhere


def in_django(redispool: Any) -> None:
    """Use the pools of a project with this ``REDISPOOL``."""
    with override_settings(REDISPOOL=redispool):
        pools.client()


def in_flask(redispool: Any) -> None:
    """Register an application with this ``REDISPOOL``."""
    app = Flask("shop")
    app.config["REDISPOOL"] = redispool
    RedisPool(app)


def in_the_core(redispool: Any) -> None:
    """Make a factory with this ``REDISPOOL``."""
    PoolFactory(redispool)


@pytest.mark.parametrize(
    ("redispool", "key"),
    [
        pytest.param(
            {"sessions": {"MAX_CONECTIONS": 2}}, '["sessions"]["MAX_CONECTIONS"]', id="misspelt"
        ),
        pytest.param(
            {"default": {"MAX_CONNECTIONS": "2"}}, '["default"]["MAX_CONNECTIONS"]', id="type"
        ),
        pytest.param({"default": {"TIMEOUT": -1}}, '["default"]["TIMEOUT"]', id="range"),
        pytest.param({"default": "redis://cache/abc"}, '["default"]', id="database"),
        pytest.param({"default": "http://cache/0"}, '["default"]', id="scheme"),
        pytest.param(
            {"default": {"URL": "redis://cache/1", "DB": 2}}, '["default"]["DB"]', id="twice"
        ),
        pytest.param(
            {"default": {"URL": "redis://:s3cr3t@cache", "PASSWORD": "t0p"}},
            '["default"]["PASSWORD"]',
            id="two passwords",
        ),
        pytest.param(
            {"sessions": {"USERNAME": "ada", "CREDENTIAL_PROVIDER": "a.b"}},
            '["sessions"]["CREDENTIAL_PROVIDER"]',
            id="provider and user",
        ),
        pytest.param(["redis://cache"], "", id="no dict"),
        pytest.param({"default": 7}, '["default"]', id="no options"),
    ],
)
def test_the_same_mistake_has_the_same_text(redispool: Any, key: str) -> None:
    """The core, Flask and Django say the same of the same mistake, and quote what was typed."""
    said = {}
    for use, error in (
        (in_the_core, InvalidOption),
        (in_flask, InvalidOption),
        (in_django, ImproperlyConfigured),
    ):
        with pytest.raises(error) as caught:
            use(redispool)
        assert type(caught.value) is error
        said[use] = str(caught.value)

    assert said[in_django] == said[in_flask] == said[in_the_core]
    assert said[in_django].startswith(f"REDISPOOL{key}: ")
    assert "s3cr3t" not in said[in_django]


def test_the_text_of_a_misspelt_option() -> None:
    """A misspelt option is quoted as it was typed, with the one that was meant."""
    with pytest.raises(ImproperlyConfigured) as caught:
        in_django({"sessions": {"MAX_CONECTIONS": 20}})

    assert str(caught.value) == (
        'REDISPOOL["sessions"]["MAX_CONECTIONS"]: unknown option; did you mean MAX_CONNECTIONS?'
    )


def test_the_error_of_redispool_is_the_cause() -> None:
    """Who wants the option and the complaint apart finds them behind Django's error."""
    with pytest.raises(ImproperlyConfigured) as caught:
        in_django({"default": {"TIMEOUT": -1}})

    assert isinstance(caught.value.__cause__, InvalidOption)
    assert caught.value.__cause__.option == 'REDISPOOL["default"]["TIMEOUT"]'


# Where live figures are shown


def test_the_directory_of_live_figures(tmp_path: Path) -> None:
    """``REDISPOOL_LIVE_DIRECTORY`` says where figures are shown; a change is followed at once."""
    for chosen in (str(tmp_path / "live"), tmp_path / "live", "live"):
        with override_settings(BASE_DIR=tmp_path, REDISPOOL_LIVE_DIRECTORY=chosen):
            directory = pools.factory.directory
            assert directory is not None
            assert directory.parent == tmp_path / "live"
    with override_settings(REDISPOOL_LIVE_DIRECTORY=""):
        assert pools.factory.directory is None


def test_a_directory_that_is_no_path() -> None:
    """It is a mistake in the settings as any other one."""
    with (
        override_settings(REDISPOOL_LIVE_DIRECTORY=7),
        pytest.raises(ImproperlyConfigured, match=r"^REDISPOOL_LIVE_DIRECTORY: must be the path"),
    ):
        _ = pools.factory
