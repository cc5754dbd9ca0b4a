"""Signals whose handlers raise: in a command, and in the queue."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from redispool import Redis
from tests.conftest import MakePool
from tests.support import eventually, in_child, storm


@pytest.mark.parametrize("protocol", [2, 3])
def test_signal_storm(make_pool: MakePool, protocol: int) -> None:
    """A handler that raises all the time hurts nobody but the command that it strikes."""
    pool = make_pool(max_connections=2, timeout=1.0, protocol=protocol)

    def brave() -> tuple[storm.Report, tuple[int, ...]]:
        report = storm.brave(Redis(connection_pool=pool), seconds=1.0)
        with pool.connection(), pool.connection():
            stats = pool.stats()
            return report, (stats.in_use, stats.idle, stats.connecting, stats.permits)

    # In a child, so that a signal which strikes elsewhere does not hurt other tests.
    report, places = in_child(brave, within=60.0)

    assert report.wrong == []
    assert dict(report.errors) == {}
    assert report.interrupted > 20
    assert report.completed > 20
    assert places == (2, 0, 0, 0)


def test_interrupt_while_queued(make_pool: MakePool) -> None:
    """Ctrl-C in the queue takes nothing along: the next release serves the next caller."""
    pool = make_pool(max_connections=1)

    def interrupt_in_the_queue() -> bool:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        held = pool.acquire()
        main = os.getpid()

        def interrupt() -> None:
            eventually(lambda: pool.stats().waiting == 1)
            os.kill(main, signal.SIGINT)

        helper = threading.Thread(target=interrupt)
        helper.start()
        with pytest.raises(KeyboardInterrupt):
            pool.acquire(timeout=30.0)
        helper.join()
        assert pool.stats().waiting == 0
        pool.release(held)
        pool.release(pool.acquire(timeout=0.0))
        return pool.stats().idle == 1

    assert in_child(interrupt_in_the_queue, within=30.0)
