"""A pool that was imported, made or used before gevent patched the interpreter."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

from redispool import ConnectionPool

from . import report

# To patch late is what this program is about.
warnings.filterwarnings("ignore", category=monkey.MonkeyPatchWarning)

PATIENCE = 5.0
"""Seconds after which a caller who blocks everybody else comes to an end all the same."""


def made_after_patching(make: Callable[[], ConnectionPool]) -> ConnectionPool:
    """Only the module was there before."""
    monkey.patch_all()
    return make()


def made_before_patching(make: Callable[[], ConnectionPool]) -> ConnectionPool:
    """The pool was there before, and no connection."""
    pool = make()
    monkey.patch_all()
    return pool


def used_before_patching(make: Callable[[], ConnectionPool]) -> ConnectionPool:
    """The pool was there before, with a connection."""
    pool = make()
    pool.warm_up(1)
    monkey.patch_all()
    return pool


def wait(pool: ConnectionPool) -> Any:
    """What a caller in the queue gets, when the holder can only give back in its own greenlet."""
    connection = pool.acquire()
    waiter = gevent.spawn(pool.acquire, PATIENCE)
    let_others_run_until(lambda: pool.stats().waiting)
    pool.release(connection)
    served = waiter.get()
    pool.release(served)
    return served is connection


def close(pool: ConnectionPool) -> Any:
    """How many connections were cut, where the holder gives back as soon as it runs."""
    connection = pool.acquire()
    closer = gevent.spawn(pool.close, PATIENCE)
    let_others_run_until(lambda: pool.closed)
    pool.release(connection)
    return closer.get()


def let_others_run_until(condition: Callable[[], Any]) -> None:
    """Wait as a greenlet does, which has the whole thread until it asks for a switch."""
    while not condition():
        gevent.sleep(0)


def main(port: str, patched: str, what: str) -> None:
    """Report the outcome of `what` in a pool of one connection."""

    def make() -> ConnectionPool:
        return ConnectionPool(host="127.0.0.1", port=int(port), max_connections=1)

    pool = {
        "after": made_after_patching,
        "before": made_before_patching,
        "used": used_before_patching,
    }[patched](make)
    report({"wait": wait, "close": close}[what](pool))
    pool.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
