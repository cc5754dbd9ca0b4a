"""Origins: where the value of an option comes from, in the words of whoever wrote the settings."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

if TYPE_CHECKING:
    from .options import PoolOptions

NAMES_A_SERVER = ("url", "host", "port", "path")
NOWHERE: Mapping[str, str] = types.MappingProxyType({})


class Origin(NamedTuple):
    """Where one value comes from."""

    kind: str
    """``default``, ``url`` or ``setting``."""
    key: str | None
    """The setting, as it was typed; None for a default."""


DEFAULT = Origin("default", None)


class Traced:
    """What options know of where they come from: mixed into `PoolOptions`, no part of its value."""

    _typed: ClassVar[Mapping[str, str]] = NOWHERE
    _of_url: ClassVar[frozenset[str]] = frozenset()

    def typed_as(self, keys: Mapping[str, str]) -> Self:
        """Note the settings, as they were typed, that gave the options named in `keys`."""
        self.__dict__["_typed"] = types.MappingProxyType(dict(keys))
        return self

    def took_from_url(self, names: Mapping[str, object]) -> None:
        """Note which options the URL gave."""
        self.__dict__["_of_url"] = frozenset(names)

    def forget_origins(self, names: Mapping[str, object]) -> None:
        """Note that these options were given anew."""
        kept = {name: key for name, key in self._typed.items() if name not in names}
        self.__dict__["_typed"] = types.MappingProxyType(kept)
        self.__dict__["_of_url"] = self._of_url - names.keys()


def origin(options: PoolOptions, name: str) -> Origin:
    """Where the value of the option `name` comes from."""
    if name in options._typed:
        return Origin("setting", options._typed[name])
    if name in options._of_url:
        return Origin("url", options._typed.get("url", "PoolOptions"))
    if name not in options.connection and getattr(options, name) == getattr(type(options), name):
        return DEFAULT
    return Origin("setting", "PoolOptions")


def origin_of_server(options: PoolOptions) -> Origin:
    """Which setting names the server; the default where none does."""
    found = (origin(options, name) for name in NAMES_A_SERVER)
    return next((each for each in found if each != DEFAULT), DEFAULT)


def to_change(options: PoolOptions, alias: str, name: str) -> str:
    """Which setting is to be changed, to give the option `name` of `alias` another value."""
    kind, key = origin(options, name)
    if kind == "url":
        return f"{name} in the URL of {key}"
    return key if key not in {None, "PoolOptions"} else f'REDISPOOL["{alias}"]["{name.upper()}"]'
