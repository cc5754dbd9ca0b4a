"""From settings to options: REDISPOOL, REDIS_URL and the environment in, alias → PoolOptions out.

The adapters fetch the values where their framework keeps them; all meaning is here, so that the
same mistake has the same message everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from . import urls
from .errors import InvalidOption
from .options import PASSED_ON, PoolOptions, check, kind_of, option_names, refuse_contradiction
from .origins import NAMES_A_SERVER

__all__ = ["DEFAULT", "read_settings"]

DEFAULT = "default"

Settings = Mapping[str, Any]
"""Alias → URL, dict of options, or `PoolOptions`."""


def read_settings(
    aliases: Settings | str | None = None,
    *,
    redis_url: str | None = None,
    flat: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, PoolOptions]:
    """The options of each alias.

    Args:
        aliases: the setting ``REDISPOOL``: alias → URL, dict of options or `PoolOptions`; a text
            alone is the URL of ``default``.
        redis_url: the setting ``REDIS_URL``; names the server of ``default`` where ``aliases``
            does not.
        flat: settings like ``REDISPOOL_MAX_CONNECTIONS``, for ``default``.
        environ: where ``REDIS_URL`` is looked up last; ``os.environ`` where it is not given. If it
            is not there either, the server is ``localhost:6379``.

    Raises:
        InvalidOption: something cannot be used. The message quotes the setting as it was typed.
    """
    given = _aliases(aliases)
    if DEFAULT in given or not given or flat:
        given[DEFAULT] = _default(given.get(DEFAULT, {}), redis_url, flat or {}, environ)
    return {
        alias: value if isinstance(value, PoolOptions) else _options(value)
        for alias, value in given.items()
    }


class _Given(dict[str, Any]):
    """Options by name in lower case, with the key under which the user typed each."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_typed: dict[str, str] = {}

    def put(self, name: str, value: Any, key: str) -> None:
        if name == "url" and value is None:
            return  # as after os.environ.get("REDIS_URL"): nothing is given
        if name in self and self[name] != value:
            raise InvalidOption(
                key, f"contradicts {self.keys_typed[name]}; give the option in one place"
            )
        self[name] = value
        self.keys_typed.setdefault(name, key)


def _aliases(setting: Settings | str | None) -> dict[str, _Given | PoolOptions]:
    if setting is None:
        return {}
    if isinstance(setting, str):
        given = _Given()
        given.put("url", setting, "REDISPOOL")
        return {DEFAULT: given}
    if not isinstance(setting, Mapping):
        raise InvalidOption(
            "REDISPOOL",
            "must be a dict of aliases, such as {'default': 'redis://localhost:6379/0'}, "
            f"not {type(setting).__name__}",
        )
    return {_alias(alias): _given(alias, value) for alias, value in setting.items()}


def _alias(alias: Any) -> str:
    if not isinstance(alias, str) or not alias:
        raise InvalidOption(f"REDISPOOL[{alias!r}]", "an alias must be a text that is not empty")
    if alias.isupper() and alias.lower() in option_names():
        raise InvalidOption(
            f'REDISPOOL["{alias}"]',
            f'is an option, not an alias; write REDISPOOL = {{"default": {{"{alias}": …}}}}',
        )
    return alias


def _given(alias: str, value: Any) -> _Given | PoolOptions:
    if isinstance(value, PoolOptions):
        return value
    label = f'REDISPOOL["{alias}"]'
    given = _Given()
    if isinstance(value, str):
        given.put("url", value, label)
    elif isinstance(value, Mapping):
        for key, option in value.items():
            typed = f'{label}["{key}"]'
            given.put(_name(key, typed), option, typed)
    else:
        raise InvalidOption(
            label, f"must be a URL or a dict of options, not {type(value).__name__}"
        )
    return given


def _name(key: Any, typed: str) -> str:
    """The option that the user means by `key`: its name in capitals, or in lower case."""
    if not isinstance(key, str):
        raise InvalidOption(typed, "the name of an option must be a text")
    spell = str.lower if key.islower() else str.upper
    try:
        kind_of(key.lower(), spell)
    except InvalidOption as error:
        raise InvalidOption(typed, error.complaint) from None
    if key not in {key.lower(), key.upper()}:
        raise InvalidOption(typed, f"unknown option; did you mean {key.upper()}?")
    return key.lower()


def _default(
    given: Any,
    redis_url: str | None,
    flat: Mapping[str, Any],
    environ: Mapping[str, str] | None,
) -> _Given | PoolOptions:
    if isinstance(given, PoolOptions):
        if flat:
            raise InvalidOption(
                next(iter(flat)), 'contradicts the PoolOptions of REDISPOOL["default"]'
            )
        return given
    merged = given if isinstance(given, _Given) else _Given()
    for key, value in flat.items():
        merged.put(_flat_name(key), value, key)
    if all(merged.get(name) is None for name in NAMES_A_SERVER):
        from_environment = (os.environ if environ is None else environ).get("REDIS_URL")
        if redis_url:
            merged.put("url", redis_url, "REDIS_URL")
        elif from_environment:
            merged.put("url", from_environment, "REDIS_URL in the environment")
    return merged


def _flat_name(key: str) -> str:
    prefix = "REDISPOOL_"

    def spell(name: str) -> str:
        return prefix + name.upper()

    try:
        kind_of(key.removeprefix(prefix).lower(), spell)
    except InvalidOption as error:
        raise InvalidOption(key, error.complaint) from None
    return key.removeprefix(prefix).lower()


def _options(given: Any) -> PoolOptions:
    """The options, with each complaint under the key that the user typed."""
    own = {name: value for name, value in given.items() if name not in PASSED_ON}
    further = {name: value for name, value in given.items() if name in PASSED_ON}
    try:
        for name, value in given.items():
            check(name, value)
        _compare_with_url(given)
        return PoolOptions(**own, connection=further).typed_as(given.keys_typed)
    except InvalidOption as error:
        if error.option in given.keys_typed:
            raise InvalidOption(given.keys_typed[error.option], error.complaint) from None
        key = given.keys_typed.get("url", "REDISPOOL")
        raise InvalidOption(key, f"{error.option.upper()} {error.complaint}") from None


def _compare_with_url(given: Mapping[str, Any]) -> None:
    """PoolOptions cannot tell a default from the same value typed beside the URL; here we can."""
    url = given.get("url")
    if url is not None:
        for name, value in urls.parse(url, kind_of).items():
            refuse_contradiction(name, value, given.get(name, value))
