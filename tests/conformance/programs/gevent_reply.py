"""What other greenlets do while one waits for a reply, and how long it waits at most."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

# Behind the patch, as in every program that gevent runs.
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402

from redispool import ConnectionPool, Redis  # noqa: E402
from redispool.testing import HANG, ScriptedServer  # noqa: E402

from . import report  # noqa: E402

LIMIT = 0.3
"""Seconds of ``socket_timeout``."""


def wait_for_a_push(client: Redis) -> Any:
    """A blocking command whose reply only another greenlet can bring about."""
    waiting = gevent.spawn(client.blpop, "list", 20.0)
    gevent.sleep(0.05)
    client.rpush("list", "x")
    return waiting.get()[1].decode()


def meanwhile(work: Callable[[], Any]) -> tuple[Any, int]:
    """What `work` gives, and how often another greenlet ran while it was at it."""
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0.01)

    counting = gevent.spawn(count)
    try:
        return work(), turns
    finally:
        counting.kill()


def give_up(client: Redis) -> Any:
    """What a command ends in that the server never answers, and after how many seconds."""
    started = time.monotonic()
    try:
        client.get("key")
    except redis.TimeoutError:
        return time.monotonic() - started
    return None


def main(port: str, protocol: str) -> None:
    """Report how it went with a real server, and with one that answers nothing."""
    settings: dict[str, Any] = {"protocol": int(protocol), "socket_timeout": LIMIT}
    with ConnectionPool(host="127.0.0.1", port=int(port), **settings) as pool:
        pushed, turns = meanwhile(lambda: wait_for_a_push(Redis(connection_pool=pool)))
    with ScriptedServer() as silent:
        silent.always("GET", HANG)
        settings |= {"host": silent.host, "port": silent.port, "retry": "never", "protocol": 2}
        with ConnectionPool(**settings) as pool:
            seconds, others = meanwhile(lambda: give_up(Redis(connection_pool=pool)))
    report({"pushed": pushed, "turns": turns, "gave up after": seconds, "others": others})


if __name__ == "__main__":
    main(*sys.argv[1:])
