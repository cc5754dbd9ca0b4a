from __future__ import annotations

import re
from typing import Any

import pytest
import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError
from redis.retry import Retry

from redispool import ConnectionPool, InvalidOption, PoolOptions, Redis
from redispool.dialect import translated
from redispool.policy import Policy
from tests.conftest import MakePool
from tests.support import ScriptedServer

LOADING = b"-LOADING not yet\r\n"

TRANSLATIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"protocol": "3", "port": "7000", "db": "2"}, {"protocol": 3, "port": 7000, "db": 2}),
    ({"unix_socket_path": "/run/redis.sock"}, {"path": "/run/redis.sock"}),
    ({"max_connections": None, "protocol": None, "ssl_keyfile": None, "host": None}, {}),
    ({"cache_factory": None, "event_dispatcher": None}, {}),
    ({"maint_notifications_config": None, "unix_socket_path": None, "lib_name": None}, {}),
    ({"retry_on_timeout": True}, {}),
    ({"retry_on_timeout": False, "retry_on_error": None}, {}),
    ({"retry_on_error": []}, {}),
    ({"retry_on_error": [redis.ConnectionError, redis.TimeoutError, BusyLoadingError]}, {}),
    ({"retry_on_error": (ReadOnlyError, ConnectionResetError)}, {}),
    ({"timeout": None, "username": None}, {"timeout": None, "username": None}),
    ({"driver_info": None}, {"driver_info": None}),
    ({"retry": "never", "db": 1}, {"retry": "never", "db": 1}),
]


@pytest.mark.parametrize(("theirs", "ours"), TRANSLATIONS, ids=[str(t) for t, _ in TRANSLATIONS])
def test_arguments_of_redis_py(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """What redis-py's classes take, ours read as it was meant; our own words stay as they are."""
    assert translated(theirs) == ours


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"port": "seven"}, "port: must be a whole number from 1 to 65535, not 'seven'"),
        ({"protocol": "4"}, "protocol: must be 2 or 3, not '4'"),
        ({"retry_on_error": [ResponseError]}, "retry_on_error: ResponseError is tried again by"),
        ({"max_connections": "7"}, "max_connections: must be a whole number"),
        ({"retry_on_timeout": "yes"}, "retry_on_timeout: which errors are retried"),
        ({"lib_name": "mine"}, "lib_name: use DRIVER_INFO"),
        ({"max_conections": None}, "max_conections: unknown option"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_meant(arguments: dict[str, Any], complaint: str) -> None:
    """What cannot be read is refused by a constructor as by a setting."""
    with pytest.raises(InvalidOption, match=f"^{re.escape(complaint)}"):
        Redis(**arguments)


def test_maintenance_notifications_are_refused_where_asked_for() -> None:
    """The default of redis-py, "where the server can", is fine; to insist on them is not."""
    notifications = pytest.importorskip("redis.maint_notifications")
    for enabled in ("auto", False):
        config = notifications.MaintNotificationsConfig(enabled=enabled)
        assert translated({"maint_notifications_config": config}) == {}

    with pytest.raises(InvalidOption, match="maint_notifications_config: "):
        ConnectionPool(
            maint_notifications_config=notifications.MaintNotificationsConfig(enabled=True)
        )


@pytest.mark.parametrize("kind", [Retry, AsyncRetry], ids=["threads", "asyncio"])
def test_a_retry_of_redis_pys_decides_alone(
    make_pool: MakePool, scripted: ScriptedServer, kind: type[Any]
) -> None:
    """A command is sent as often as the Retry says, and not once more by the client."""
    retry = kind(NoBackoff(), 2)
    pool = make_pool(host=scripted.host, port=scripted.port, retry=retry)
    scripted.answer("GET", *[LOADING] * 9)

    with pytest.raises(BusyLoadingError):
        Redis(connection_pool=pool).get("a")

    assert scripted.received["GET"] == 3
    assert Policy.of(pool.options).retries == 0


def test_a_retry_that_is_set_later_decides_alone(
    make_pool: MakePool, scripted: ScriptedServer
) -> None:
    """`set_retry` is the same as the option from the next command on."""
    pool = make_pool(host=scripted.host, port=scripted.port)
    client = Redis(connection_pool=pool)
    assert client.get("a") == b"value"
    scripted.answer("GET", *[LOADING] * 9)

    client.set_retry(Retry(NoBackoff(), 2))

    with pytest.raises(BusyLoadingError):
        client.get("a")
    assert scripted.received["GET"] == 1 + 3


def test_errors_for_a_retry(make_pool: MakePool, scripted: ScriptedServer) -> None:
    """`retry_on_error` lets a Retry try again on further errors; the caller's stays as it is."""
    retry = Retry(NoBackoff(), 1)
    pool = make_pool(
        host=scripted.host, port=scripted.port, retry=retry, retry_on_error=[ResponseError]
    )
    scripted.answer("GET", b"-ERR once\r\n")

    assert Redis(connection_pool=pool).get("a") == b"value"
    assert ResponseError not in retry._supported_errors


def test_a_retry_may_stand_in_settings() -> None:
    """The option `retry` is one of three words, or a Retry of redis-py's."""
    retry = Retry(NoBackoff(), 1)

    assert PoolOptions(retry=retry).retry is retry
    with pytest.raises(InvalidOption, match=r"'never', or a redis\.retry\.Retry, not 3"):
        PoolOptions(retry=3)
