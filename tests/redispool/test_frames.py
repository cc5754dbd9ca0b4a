from __future__ import annotations

import contextlib
import traceback
from typing import Any

import pytest
import redis

from redispool import ConnectionPool, Redis
from tests.conftest import MakePool
from tests.support.valkey import free_port


def fail() -> None:
    """Raise, with something in the frame that an error report would show."""
    order = "1234"
    raise ZeroDivisionError(order)


def what_is_known(error: BaseException) -> list[tuple[str, Any]]:
    """The functions that an error came through, with what they know."""
    return [
        (frame.f_code.co_name, frame.f_locals.get("order"))
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]


@pytest.mark.parametrize("case", ["dial", "pipeline", "transaction"])
def test_the_error_that_the_application_handles_stays_whole(
    make_pool: MakePool, pool: ConnectionPool, case: str
) -> None:
    """What fails within an ``except`` block of the application takes nothing from its error."""
    away = make_pool(host="127.0.0.1", port=free_port(), timeout=0.05, retries=0)
    client = Redis(connection_pool=pool)
    client.set("text", "a")
    try:
        fail()
    except ZeroDivisionError as error:
        before = what_is_known(error)
        with contextlib.suppress(redis.RedisError):
            if case == "dial":
                Redis(connection_pool=away).get("a")
            else:
                client.pipeline(case == "transaction").incr("text").execute()
        after = what_is_known(error)

    assert after == before
    assert before[-1] == ("fail", "1234")


def test_an_error_of_the_applications_own_code_shows_its_line(make_pool: MakePool) -> None:
    """What ``redis_connect_func`` raises can be traced to it."""

    def set_up(connection: Any) -> None:
        raise KeyError("no such tenant")

    pool = make_pool(redis_connect_func=set_up)

    with pytest.raises(KeyError) as told:
        pool.acquire()
    assert "set_up" in [name for name, _ in what_is_known(told.value)]
    assert pool.stats().permits == pool.max_connections
