from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_redispool import RedisPool, redis
from redispool import InvalidOption, PoolOptions
from redispool.origins import origin, origin_of_server

from ..support import Valkey
from .conftest import MakeApp, factory_of


def options(**config: Any) -> PoolOptions:
    """The options of ``default`` for an application with this configuration."""
    app = Flask("shop")
    app.config.from_mapping(config)
    RedisPool(app)
    return factory_of(app).options["default"]


# Where the server is named


def test_without_a_setting_it_is_the_server_next_door() -> None:
    """An application that says nothing gets ``redis://localhost:6379/0``."""
    assert options().server == "localhost:6379/0"


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """``REDIS_URL`` of the environment is the server of ``default``, as hosting services set it."""
    monkeypatch.setenv("REDIS_URL", "redis://environment:1/1")

    assert options().server == "environment:1/1"


def test_the_setting_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``app.config["REDIS_URL"]`` goes before the environment's."""
    monkeypatch.setenv("REDIS_URL", "redis://environment:1/1")

    assert options(REDIS_URL="redis://setting:2/2").server == "setting:2/2"


def test_redispool_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``REDISPOOL`` names a server, nothing else decides."""
    monkeypatch.setenv("REDIS_URL", "redis://environment:1/1")

    assert options(REDISPOOL={"default": "redis://dict:3/3"}).server == "dict:3/3"


def test_options_without_a_server_go_with_redis_url() -> None:
    """``REDISPOOL`` may hold options alone; ``REDIS_URL`` names the server then."""
    found = options(REDISPOOL={"default": {"MAX_CONNECTIONS": 7}}, REDIS_URL="redis://setting:2/2")

    assert (found.server, found.max_connections) == ("setting:2/2", 7)


# Flat keys


def test_flat_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``FLASK_REDISPOOL_…`` variables are options of ``default``, by ``from_prefixed_env``."""
    monkeypatch.setenv("FLASK_REDISPOOL_URL", "redis://flat:4/4")
    monkeypatch.setenv("FLASK_REDISPOOL_MAX_CONNECTIONS", "3")
    monkeypatch.setenv("FLASK_REDISPOOL_TIMEOUT", "1.5")
    monkeypatch.setenv("FLASK_REDISPOOL_DECODE_RESPONSES", "true")
    app = Flask("shop")
    app.config.from_prefixed_env()
    RedisPool(app)

    found = factory_of(app).options["default"]
    assert (found.server, found.max_connections) == ("flat:4/4", 3)
    assert (found.timeout, found.decode_responses) == (1.5, True)


def test_nested_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``FLASK_REDISPOOL__sessions__URL`` is an option of ``sessions``, by ``from_prefixed_env``."""
    monkeypatch.setenv("FLASK_REDISPOOL__default", "redis://nested:5/5")
    monkeypatch.setenv("FLASK_REDISPOOL__sessions__URL", "redis://nested:5/6")
    monkeypatch.setenv("FLASK_REDISPOOL__sessions__MAX_CONNECTIONS", "3")
    app = Flask("shop")
    app.config.from_prefixed_env()
    RedisPool(app)

    found = factory_of(app).options
    assert {alias: found[alias].server for alias in found} == {
        "default": "nested:5/5",
        "sessions": "nested:5/6",
    }
    assert found["sessions"].max_connections == 3


def test_flat_keys_complete_the_dict() -> None:
    """A flat key stands beside what ``REDISPOOL["default"]`` says, and touches no other alias."""
    app = Flask("shop")
    app.config["REDISPOOL"] = {"default": "redis://dict:3/3", "jobs": "redis://dict:3/4"}
    app.config["REDISPOOL_MAX_CONNECTIONS"] = 3
    RedisPool(app)

    found = factory_of(app).options
    assert {alias: found[alias].max_connections for alias in found} == {"default": 3, "jobs": 50}


# Where live figures are shown


def test_the_directory_of_live_figures_is_no_option(tmp_path: Path) -> None:
    """``REDISPOOL_LIVE_DIRECTORY`` says where figures are shown, and is no option of ``default``.

    A path that begins nowhere begins in the folder of the application, for all its processes.
    """
    for chosen in (str(tmp_path / "live"), tmp_path / "live", "live"):
        app = Flask("shop", root_path=str(tmp_path), instance_path=str(tmp_path / "instance"))
        app.config["REDISPOOL_LIVE_DIRECTORY"] = chosen
        RedisPool(app)

        directory = factory_of(app).directory
        assert directory is not None
        assert directory.parent == tmp_path / "live"


def test_the_setting_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty setting switches live figures off, whatever the environment says."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", "/elsewhere")
    app = Flask("shop")
    app.config["REDISPOOL_LIVE_DIRECTORY"] = ""
    RedisPool(app)

    assert factory_of(app).directory is None


# Where an option comes from


def test_flat_keys_and_redis_url_are_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option is traced to the flat key, setting or variable that gave it."""
    monkeypatch.setenv("REDIS_URL", "redis://environment:1/1?timeout=3")
    app = Flask("shop")
    app.config["REDISPOOL_MAX_CONNECTIONS"] = 3
    RedisPool(app)

    found = factory_of(app).options["default"]
    assert origin(found, "max_connections") == ("setting", "REDISPOOL_MAX_CONNECTIONS")
    assert origin(found, "timeout") == ("url", "REDIS_URL in the environment")
    assert origin(found, "retries") == ("default", None)
    assert origin_of_server(found) == ("setting", "REDIS_URL in the environment")


# Mistakes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param(
            {"REDISPOOL_MAX_CONECTIONS": 20},
            "REDISPOOL_MAX_CONECTIONS: unknown option; did you mean REDISPOOL_MAX_CONNECTIONS?",
            id="misspelt flat key",
        ),
        pytest.param(
            {"REDISPOOL_MAX_CONNECTIONS": "many"},
            "REDISPOOL_MAX_CONNECTIONS: must be a whole number",
            id="wrong type in a flat key",
        ),
        pytest.param(
            {"REDISPOOL": {"default": {"TIMEOUT": 1}}, "REDISPOOL_TIMEOUT": 2},
            'REDISPOOL_TIMEOUT: contradicts REDISPOOL["default"]["TIMEOUT"]',
            id="flat key against the dict",
        ),
        pytest.param({"REDIS_URL": "redis://localhost/abc"}, "REDIS_URL: ", id="REDIS_URL"),
        pytest.param(
            {"REDISPOOL_LIVE_DIRECTORY": 7},
            "REDISPOOL_LIVE_DIRECTORY: must be the path of a directory, not 7",
            id="no path",
        ),
    ],
)
def test_a_mistake_stops_the_start(config: dict[str, Any], message: str) -> None:
    """A setting that cannot be used ends the start, quoted as it was typed, with what to change."""
    app = Flask("shop")
    app.config.from_mapping(config)

    with pytest.raises(InvalidOption) as caught:
        RedisPool(app)

    assert str(caught.value).startswith(message)
    assert "redispool" not in app.extensions


def test_a_misspelt_option_stops_the_start() -> None:
    """A misspelt option is quoted as it was typed, with the one that was meant."""
    with pytest.raises(InvalidOption) as caught:
        options(REDISPOOL={"sessions": {"MAX_CONECTIONS": 20}})

    assert str(caught.value) == (
        'REDISPOOL["sessions"]["MAX_CONECTIONS"]: unknown option; did you mean MAX_CONNECTIONS?'
    )


# When they are read


def test_settings_are_read_once(make_app: MakeApp, flushed: Valkey) -> None:
    """What changes in the configuration after the registration has no effect."""
    app = make_app()
    app.config["REDIS_URL"] = "redis://127.0.0.1:1/0"

    with app.app_context():
        assert redis.ping()
        assert redis.connection_pool.options.port == flushed.port


def test_embedded_data_lies_in_the_project(tmp_path: Path) -> None:
    """``embedded://`` keeps its data in the folder of the application, wherever it was started."""
    app = Flask("shop", root_path=str(tmp_path), instance_path=str(tmp_path / "instance"))
    app.config["REDIS_URL"] = "embedded://"
    RedisPool(app)

    connection = factory_of(app).pool().make_connection()

    assert connection.directory == tmp_path / ".redispool"  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
