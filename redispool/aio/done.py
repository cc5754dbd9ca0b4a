"""Done: what has happened already, for those who await it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeVar

from ..replies import VALUES

_T = TypeVar("_T")


class Done(Generic[_T]):
    """Stands where redis-py has a coroutine, and we have nothing to wait for.

    The work is done when the function returns, awaited or not: so it needs no event loop, and no
    cancellation can come between.

    Args:
        value: what awaiting it gives.
    """

    __slots__ = ("_value",)

    def __init__(self, value: _T) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, _T]:
        return self._value
        yield  # never: it makes a generator of this function


DONE = Done(None)

SETTLED = VALUES | {dict, list, set, tuple}
"""Kinds of values that nobody has to await: asking each costs more than making it."""


async def settled(value: Any) -> Any:
    """The value itself, or what it gives where a callback made a coroutine of it."""
    return await value if hasattr(type(value), "__await__") else value
