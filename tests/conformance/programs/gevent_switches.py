"""How often gevent switches to another greenlet while a connection is given back."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

# Behind the patch, as in every program that gevent runs.
import sys  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import Any, TypeAlias  # noqa: E402

import gevent  # noqa: E402
import greenlet  # noqa: E402

from redispool import ConnectionPool  # noqa: E402

from . import report  # noqa: E402

Way: TypeAlias = Callable[[ConnectionPool, list[Any]], None]
"""Prepares a pool and the two connections that are lent; the first will be given back."""


def in_order(pool: ConnectionPool, held: list[Any]) -> None:
    """It is kept."""


def to_a_waiter(pool: ConnectionPool, held: list[Any]) -> None:
    """It is handed over."""
    waiter = gevent.spawn(pool.acquire)
    waiter.link_value(lambda served: pool.release(served.value))
    while not pool.stats().waiting:
        gevent.sleep(0)


def unread(pool: ConnectionPool, held: list[Any]) -> None:
    """A reply is owed, so it is closed."""
    held[0].send_command("PING")


def left_in_a_session(pool: ConnectionPool, held: list[Any]) -> None:
    """Its next user would find another database, so it is closed."""
    held[0].send_command("SELECT", 1)
    held[0].read_response()


def broken(pool: ConnectionPool, held: list[Any]) -> None:
    """The line was cut."""
    held[0].disconnect()


def recycled(pool: ConnectionPool, held: list[Any]) -> None:
    """It is to be renewed."""
    pool.recycle()


def too_many(pool: ConnectionPool, held: list[Any]) -> None:
    """The pool was made smaller."""
    pool.resize(1)


def with_a_sweep(pool: ConnectionPool, held: list[Any]) -> None:
    """The return finds another that was idle for too long, and closes that."""
    pool.release(held[1])
    held[1].last_used = pool.evictor.next_sweep = 0.0


def after_the_end(pool: ConnectionPool, held: list[Any]) -> None:
    """The pool is closed."""
    pool.close(0)


WAYS: tuple[Way, ...] = (
    in_order,
    to_a_waiter,
    unread,
    left_in_a_session,
    broken,
    recycled,
    too_many,
    with_a_sweep,
    after_the_end,
)


@contextmanager
def switches() -> Iterator[list[str]]:
    """Notes each switch between greenlets."""
    noted: list[str] = []
    before = greenlet.settrace(lambda event, _: noted.append(event))
    try:
        yield noted
    finally:
        greenlet.settrace(before)


def give_back(pool: ConnectionPool, held: list[Any]) -> None:
    """Return it as one does."""
    pool.release(held.pop(0))


def forget(pool: ConnectionPool, held: list[Any]) -> None:
    """Drop the last reference, so that its finalizer returns it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        held.pop(0)


def count(port: int, prepare: Way, end: Callable[[ConnectionPool, list[Any]], None]) -> int:
    """How often `end` switches, after `prepare`, in a pool of two."""
    with ConnectionPool(host="127.0.0.1", port=port, max_connections=2) as pool:
        held = [pool.acquire(), pool.acquire()]
        prepare(pool, held)
        with switches() as noted:
            end(pool, held)
        for connection in held:
            if connection.lease:
                pool.release(connection)
        gevent.wait()  # for a waiter
        return len(noted)


def ask(pool: ConnectionPool, held: list[Any]) -> None:
    """What does switch: waiting for a reply."""
    held[0].send_command("BLPOP", "nothing", 0.01)
    held[0].read_response()


def main(port: str) -> None:
    """Report the number of switches for each way to come back."""
    found = {
        f"{end.__name__}, {way.__name__}": count(int(port), way, end)
        for end in (give_back, forget)
        for way in WAYS
    }
    report({"returns": found, "a command": count(int(port), in_order, ask)})


if __name__ == "__main__":
    main(*sys.argv[1:])
