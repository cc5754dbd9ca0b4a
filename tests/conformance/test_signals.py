"""Signals whose handlers raise: in a command, in the queue, at the end of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from redispool import Redis
from tests.conftest import MakePool
from tests.support import Valkey, eventually, in_child, storm

BUSY = """
import signal, sys
from redispool import Redis

client = Redis(url={url!r}, max_connections=1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
client.ping()
print("ready", flush=True)
try:
    client.blpop("nothing", timeout=0)
except SystemExit:
    stats = client.connection_pool.stats()
    print(stats.idle + stats.permits, stats.in_use, client.get("key"), flush=True)
    raise
"""
"""A program that ends on SIGTERM, which comes in the middle of a command."""


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


def test_sigterm_systemexit_mid_command(server: Valkey) -> None:
    """SystemExit out of a command frees its place, and the process ends at once and silently."""
    program = BUSY.format(url=server.url)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        eventually(lambda: any(row["cmd"] == "blpop" for row in server.clients()))
        started = time.monotonic()
        process.terminate()
        said, complaints = process.communicate(timeout=30)

    assert (said, complaints, process.returncode) == ("1 0 None\n", "", 7)
    assert time.monotonic() - started < 1.0
    assert not [row for row in server.clients() if row["cmd"] == "blpop"]
