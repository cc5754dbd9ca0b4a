from __future__ import annotations

from typing import Any

import pytest

from redispool import PoolOptions
from redispool.origins import origin, origin_of_server, to_change
from redispool.settings import read_settings

LABEL = 'REDISPOOL["default"]'


def read(setting: Any, **sources: Any) -> PoolOptions:
    """The options of ``default``, where the environment says nothing."""
    return read_settings(setting, environ={}, **sources)["default"]


def test_what_nobody_gave_is_a_default() -> None:
    """Without any setting each option is a default, the server too."""
    options = read(None)

    assert {origin(options, name) for name in options.masked()} == {("default", None)}
    assert origin_of_server(options) == ("default", None)


def test_a_default_that_was_typed_is_a_setting() -> None:
    """Where the user typed what is the default anyway, it comes from the user."""
    options = read({"default": {"max_connections": 50, "HOST": "localhost"}})

    assert origin(options, "max_connections") == ("setting", f'{LABEL}["max_connections"]')
    assert origin_of_server(options) == ("setting", f'{LABEL}["HOST"]')


def test_what_stands_twice_comes_from_the_setting() -> None:
    """An option in the URL and, the same, beside it is named by the key beside it."""
    options = read({"default": {"URL": "redis://cache/1?timeout=2", "TIMEOUT": 2.0}})

    assert origin(options, "timeout") == ("setting", f'{LABEL}["TIMEOUT"]')
    assert origin(options, "db") == ("url", f'{LABEL}["URL"]')


def test_ready_options_come_from_the_program() -> None:
    """What PoolOptions were made with has no other name than theirs."""
    options = read({"default": PoolOptions(url="redis://cache/1", timeout=2.0)})

    assert origin(options, "timeout") == ("setting", "PoolOptions")
    assert origin(options, "db") == ("url", "PoolOptions")
    assert origin(options, "retries") == ("default", None)


def test_a_replaced_option_has_left_its_setting() -> None:
    """`replace` keeps the origins of all others."""
    options = read({"default": {"URL": "redis://cache/1", "TIMEOUT": 2.0, "MAX_IDLE": 9.0}})

    changed = options.replace(timeout=3.0, db=2)

    assert origin(changed, "timeout") == ("setting", "PoolOptions")
    assert origin(changed, "db") == ("setting", "PoolOptions")
    assert origin(changed, "max_idle") == ("setting", f'{LABEL}["MAX_IDLE"]')
    assert origin(options, "timeout") == ("setting", f'{LABEL}["TIMEOUT"]')


def test_origins_are_no_part_of_the_value() -> None:
    """Options that say the same are the same, wherever they come from; copies know it still."""
    typed = read({"default": {"TIMEOUT": 2.0}})

    assert typed == PoolOptions(timeout=2.0)
    assert repr(typed) == repr(PoolOptions(timeout=2.0))


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        (None, f'{LABEL}["TIMEOUT"]'),
        ({"default": {"timeout": 2.0}}, f'{LABEL}["timeout"]'),
        ("redis://cache?timeout=2", "timeout in the URL of REDISPOOL"),
        ({"default": PoolOptions(timeout=2.0)}, f'{LABEL}["TIMEOUT"]'),
    ],
    ids=str,
)
def test_which_setting_to_change(setting: Any, advice: str) -> None:
    """Advice names the place where the option stands, or where it would stand."""
    assert to_change(read(setting), "default", "timeout") == advice
