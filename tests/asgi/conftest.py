from __future__ import annotations

import functools
import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _fastapi_forgets() -> Iterator[None]:
    """FastAPI remembers each view that it has seen, and with a test's views its pools would stay.

    They cost nothing, but for tests that fork at each line of a hook which sees to every pool.
    """
    yield
    for each in gc.get_objects():
        if type(each) is functools._lru_cache_wrapper and each.__module__.startswith("fastapi."):
            each.cache_clear()
    gc.collect()
