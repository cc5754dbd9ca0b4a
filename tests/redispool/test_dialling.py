from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from redispool.dialling import was_fair


@pytest.mark.parametrize(
    ("error", "seconds", "fair"),
    [
        (TimeoutError(), 1.0, True),
        (TimeoutError(), 0.02, False),
        (ConnectionError(), 0.02, True),
    ],
)
def test_who_was_in_a_hurry_says_nothing_of_the_server(
    error: Exception, seconds: float, fair: bool
) -> None:
    """A dial that had hardly any time is no sign of an outage, however late it noticed that."""
    assert was_fair(error, started=0.0, connect_by=seconds, now=5.0) is fair
