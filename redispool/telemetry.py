"""Telemetry: who looks on while commands run, by redis-py's instrumentation or by wrapping methods.

Where somebody does, commands take redis-py's way, which is looked at; elsewhere none of it runs.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

try:
    from redis.observability import providers
except ImportError:  # redis-py before 7.2 has none

    def is_on() -> bool:
        """Never."""
        return False

else:

    def is_on() -> bool:
        """Whether ``get_observability_instance().init(…)`` was called, and not undone."""
        instance = providers._observability_instance
        return instance is not None and instance._provider_manager is not None


def unwrapped(kind: type[Any], name: str) -> FunctionType | None:
    """The method `name` of a class of redis-py's, as redis-py made it.

    The tracers of OpenTelemetry, Sentry and Datadog put their own in its place, sooner or later.
    Who overrides such a method compares the two, and calls theirs where they differ.

    Returns:
        None, which no method is, where somebody has done so already.
    """
    found = vars(kind).get(name)
    # By its globals: what wraps a function may bear its name, and say that it is of its module.
    if type(found) is FunctionType and found.__globals__ is vars(sys.modules[kind.__module__]):
        return found
    return None
