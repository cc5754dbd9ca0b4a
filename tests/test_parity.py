"""The pools and clients for threads and for asyncio are alike, but for what asyncio asks for."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from redispool import AsyncConnectionPool, AsyncRedis, ConnectionPool, Redis
from redispool.aio.connection import AsyncPooledConnection
from redispool.aio.holders import AsyncPubSub
from redispool.aio.pins import AsyncPin
from redispool.aio.pipelines import AsyncPipeline
from redispool.aio.remaining import AsyncRemaining
from redispool.connection import PooledConnection
from redispool.holders import PubSub
from redispool.pins import Pin
from redispool.pipelines import Pipeline
from redispool.retries import Remaining

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (ConnectionPool, AsyncConnectionPool),
    (Redis, AsyncRedis),
    (PooledConnection, AsyncPooledConnection),
    (PubSub, AsyncPubSub),
    (Pipeline, AsyncPipeline),
    (Pin, AsyncPin),
    (Remaining, AsyncRemaining),
]

ONLY_THREADS = {
    "ask_at_once",  # of the express lane
    "express",  # a lane in one step: there is nothing to await in it
}
ONLY_ASYNCIO = {
    "aclose",  # closes while the loop goes on
    "at_once",  # takes without a coroutine
    "encoder_class",
    "multiplexer",  # threads that share a socket are slower than those that do not
    "connection_kwargs",
    "take_back",  # `release` without something to await
    "can_read_destructive",  # redis-py 7 calls `can_read` so
    "is_connected",  # of redis-py, for threads from 8 on
    "read_reply",  # of the handshake, which has a function for it
    "connect",  # of a subscription: redis-py's for threads does it in execute_command
}

OTHERWISE = {
    "timeout",  # `AsyncConnectionPool.close` does not wait unless it is told to
    "check_health",
    "retry_socket_connect",
    "close_connection_pool",
    "push_request",  # of redis-py's, by name here and among others there
}
"""Arguments that redis-py's own classes have in one kind only, or with another default."""


@pytest.mark.parametrize(("threads", "tasks"), PAIRS, ids=lambda kind: kind.__name__)
def test_what_one_has_the_other_has(threads: type[Any], tasks: type[Any]) -> None:
    """Each public method that is ours, of one kind, is there in the other."""
    here, there = ours(threads), ours(tasks)

    missing = {name for name in here.keys() - ONLY_THREADS if not hasattr(tasks, name)}
    added = {name for name in there.keys() - ONLY_ASYNCIO if not hasattr(threads, name)}

    assert (missing, added) == (set(), set())


@pytest.mark.parametrize(("threads", "tasks"), PAIRS, ids=lambda kind: kind.__name__)
def test_methods_take_the_same(threads: type[Any], tasks: type[Any]) -> None:
    """A method of both kinds takes the same arguments, with the same defaults."""
    for name in ours(threads).keys() & ours(tasks).keys():
        if callable(getattr(threads, name)) and not isinstance(getattr(threads, name), type):
            assert arguments(threads, name) == arguments(tasks, name), name


def ours(kind: type[Any]) -> dict[str, Any]:
    """What a class, or one of ours that it extends, defines and shows."""
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__):
        if each.__module__.startswith("redispool"):
            found |= {name: value for name, value in vars(each).items() if not name.startswith("_")}
    return found


def arguments(kind: type[Any], name: str) -> dict[str, Any]:
    """The names and defaults of what a method takes."""
    parameters = inspect.signature(getattr(kind, name)).parameters.values()
    return {
        each.name: each.default
        for each in parameters
        if each.name not in OTHERWISE and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
