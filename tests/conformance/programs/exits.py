"""A program that comes to its end while its pool is in use, in one of many ways."""

from __future__ import annotations

import builtins
import contextlib
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import redispool
from redispool import ConnectionPool, Redis

PORT = int(sys.argv[1])
pool = ConnectionPool(host="127.0.0.1", port=PORT, max_connections=2)
client = Redis(connection_pool=pool)
kept: list[Any] = []
"""What the module holds until the interpreter empties it."""


def in_daemons(work: Callable[[], Any], count: int = 4) -> None:
    """Run `work` in threads that nobody waits for."""
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()


def until(condition: Callable[[], Any]) -> None:
    """Wait until the situation has come about."""
    deadline = time.monotonic() + 20.0
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the situation did not come about")
        time.sleep(0.001)


def nothing_done() -> None:
    """Not even a connection was opened."""


def never_closed() -> None:
    """A pool of the module's, with an idle connection."""
    client.ping()


def never_closed_and_local() -> None:
    """A pool of a function's, which is gone before the end."""
    with ConnectionPool(host="127.0.0.1", port=PORT).connection() as connection:
        connection.send_command("PING")
        connection.read_response()


def kept_by_the_interpreter() -> None:
    """A pool that goes even after the modules."""
    client.ping()
    builtins.kept = [pool, pool.acquire()]  # type: ignore[attr-defined]


def busy_daemons() -> None:
    """Threads that run one command after the other."""

    def work() -> None:
        while True:
            client.set("key", "value")
            client.pipeline().get("key").get("key").execute()

    in_daemons(work)
    until(lambda: pool.stats().acquired_total > 50)


def daemons_waiting_for_a_reply() -> None:
    """Threads that wait for the server."""
    in_daemons(lambda: client.blpop(["never"], timeout=0), count=2)
    until(lambda: pool.stats().in_use == 2)


def daemons_in_the_queue() -> None:
    """Threads that wait for a connection."""
    kept.extend([pool.acquire(), pool.acquire()])
    in_daemons(lambda: pool.acquire(timeout=None))
    until(lambda: pool.stats().waiting == 4)


def daemons_in_the_queue_while_others_are_busy() -> None:
    """Threads that wait in the queue, and are served while the end comes."""
    busy_daemons()
    busy_daemons()
    until(lambda: pool.stats().waiting)


def daemons_holding() -> None:
    """Threads that hold a connection and do something else."""
    gate = threading.Event()

    def hold() -> None:
        with pool.connection(), client.pipeline() as pipe:
            pipe.get("key")
            gate.wait()

    in_daemons(hold, count=2)
    until(lambda: pool.stats().in_use == 2)


def daemons_connecting() -> None:
    """Threads that open one connection after the other."""

    def work() -> None:
        while True:
            with contextlib.suppress(redispool.PoolTimeout), pool.connection() as connection:
                connection.disconnect()

    in_daemons(work)
    until(lambda: pool.stats().created_total > 20)


def a_connection_held() -> None:
    """The main thread holds one."""
    kept.append(pool.acquire())


def a_connection_with_an_unread_reply() -> None:
    """And has not read what it asked for."""
    kept.append(pool.acquire())
    kept[0].send_command("PING")


def a_pin_and_a_watch() -> None:
    """Blocks that are never left."""
    kept.append(client.pinned())
    kept.append(kept[0].__enter__().pipeline())
    kept[1].watch("key")


def an_open_subscription() -> None:
    """A subscription that nobody ends."""
    kept.append(client.pubsub())
    kept[0].subscribe("news")
    kept[0].get_message(timeout=1.0)


def daemons_listening() -> None:
    """Threads that wait for messages, one of them redis-py's own."""

    def listen() -> None:
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        for _ in pubsub.listen():
            pass

    in_daemons(listen)
    kept.append(client.pubsub())
    kept[0].subscribe(more=lambda _: None)
    kept.append(kept[0].run_in_thread(daemon=True))
    until(lambda: dict(client.pubsub_numsub("news", "more")) == {b"news": 4, b"more": 1})


def an_open_scope() -> None:
    """A scope that is never left, with a pin in it."""
    kept.append(redispool.scope())
    kept[0].__enter__()
    kept.append(client.pinned())
    kept[1].__enter__().ping()


class Late:
    """Gives its connection back only when the interpreter takes it apart."""

    def __init__(self) -> None:
        self.pool = pool
        self.connection = pool.acquire()

    def __del__(self) -> None:
        self.pool.release(self.connection)


def a_finalizer_that_gives_back() -> None:
    """An object of the module's whose finalizer uses the pool."""
    kept.append(Late())


def a_finalizer_in_a_cycle() -> None:
    """The same, found by the last collection only."""
    late = Late()
    late.itself = late  # type: ignore[attr-defined]


def a_finalizer_at_the_exit() -> None:
    """``weakref.finalize`` runs it beside ``atexit``."""
    kept.append(weakref.finalize(Late, pool.release, pool.acquire()))


def a_thread_of_its_own() -> None:
    """A thread that is waited for, and still works when the main one has come to its end."""

    def work() -> None:
        threading.main_thread().join()
        client.ping()

    threading.Thread(target=work).start()


if __name__ == "__main__":
    globals()[sys.argv[2]]()
