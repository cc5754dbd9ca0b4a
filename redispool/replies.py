"""Replies: what redis-py makes of what the server answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from redis.client import EMPTY_RESPONSE, NEVER_DECODE

Command: TypeAlias = "tuple[Sequence[Any], dict[str, Any]]"
"""A command with its arguments, and redis-py's options for its reply."""

exactly = dict.get
"""redis-py's dict of callbacks has one of its own, which capitalises the name twice."""

VALUES = frozenset({bytes, str, int, type(None), float, bool})
"""Kinds of replies that are neither an error nor a push, and hold none."""

FOR_READING = frozenset({EMPTY_RESPONSE, NEVER_DECODE, "keys"})
"""Options of a command that are not for the function that converts its reply."""


def callback_for(callbacks: Any, name: Any) -> Callable[..., Any] | None:
    """What converts replies to the command `name`; None where they stay as they are."""
    # Most names are in capitals, as the keys are.
    found: Callable[..., Any] | None = exactly(callbacks, name)
    return found if found is not None or name.isupper() else callbacks.get(name)


def all_converted(replies: list[Any], callbacks: Any, commands: Sequence[Command]) -> Iterable[Any]:
    """What redis-py makes of the replies to `commands`; errors among them stay as they are.

    Each callback is called when its value is asked for: it may give something to be awaited, and
    that before the next.
    """
    names = {args[0] for args, _ in commands}
    found = {name: callback_for(callbacks, name) for name in names}
    if not any(found.values()):
        return replies
    return (
        reply
        if (callback := found[args[0]]) is None or isinstance(reply, Exception)
        else callback(reply, **without_reading(options))
        for reply, (args, options) in zip(replies, commands, strict=True)
    )


def without_reading(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are for the function that converts a reply."""
    return {key: options[key] for key in options.keys() - FOR_READING}
