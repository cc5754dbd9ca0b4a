"""redis-py's arguments in our words: what its classes take, ours take too, if it can be meant.

For constructors, which stand in for redis-py's; settings are read strictly, in our words alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError
from redis.retry import AbstractRetry

from .errors import InvalidOption
from .foreign import REFUSED
from .options import kind_of

ALSO_AS_TEXT = ("db", "port", "protocol")
"""Numbers that redis-py takes as texts too, as they come from the environment."""

WATCHED = (ConnectionError, OSError, ReadOnlyError, TimeoutError)
"""Errors that our own ways to try again deal with, each where that is safe."""


def translated(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `PoolOptions` for `arguments` in the words of redis-py, or in ours.

    Raises:
        InvalidOption: an argument asks for what this pool does not do.
    """
    found = {
        name: _number(name, value)
        for name, value in arguments.items()
        if not _says_nothing(name, value)
    }
    if "unix_socket_path" in found:
        found["path"] = found.pop("unix_socket_path")
    errors = found.pop("retry_on_error", None)
    if errors:
        _try_again_on(errors, found)
    return found


def _says_nothing(name: str, value: Any) -> bool:
    """Whether redis-py's classes would do the same without the argument."""
    if name == "maint_notifications_config" and value is not None:
        return value.enabled is not True  # by default "auto": where server and client can
    if name == "retry_on_timeout":
        return isinstance(value, bool)  # nothing since redis-py 6: time-outs are tried again
    if value is not None:
        return False
    if name in REFUSED or name == "unix_socket_path":
        return True
    return bool(kind_of(name, str.lower).complaint(None))


def _number(name: str, value: Any) -> Any:
    if name not in ALSO_AS_TEXT or not isinstance(value, str):
        return value
    try:
        return kind_of(name).parse(value)
    except ValueError as error:
        raise InvalidOption(name, f"{error}, not {value!r:.80}") from None


def _try_again_on(errors: Iterable[type[Exception]], found: dict[str, Any]) -> None:
    """Let the Retry in `found` try again on `errors` too; the network's need none."""
    retry = found.get("retry")
    if isinstance(retry, AbstractRetry):
        found["retry"] = copy.deepcopy(retry)
        found["retry"].update_supported_errors(errors)
        return
    for error in errors:
        if not issubclass(error, WATCHED):
            raise InvalidOption(
                "retry_on_error",
                f"{error.__name__} is tried again by a Retry of redis-py alone: "
                f"retry=Retry(backoff, retries, supported_errors=({error.__name__},))",
            )
