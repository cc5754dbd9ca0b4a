from __future__ import annotations

import pytest
import redis

import redispool
from redispool import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_are_redis_pys_and_say_what_they_say(name: str) -> None:
    """Each is a ``redis.RedisError`` under its public name, and its repr tells."""
    kind = getattr(redispool, name)
    error = kind("option", "wrong") if name == "InvalidOption" else kind("what is wrong")

    assert isinstance(error, redis.RedisError)
    assert kind.__module__ == "redispool"
    assert repr(error) == f"{name}({str(error)!r})"
    assert "wrong" in repr(error)
