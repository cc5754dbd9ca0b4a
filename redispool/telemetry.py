"""redis-py's OpenTelemetry instrumentation: whether it is switched on.

Where it is, commands take redis-py's own way, which measures them; elsewhere none of it runs.
"""

from __future__ import annotations

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
