"""A script that SIGTERM ends in the midst of a command, by a SystemExit from its handler."""

from __future__ import annotations

import atexit
import signal
import sys
from typing import Any

from redispool import ConnectionPool, Redis

from . import report

LONG = 600.0
"""Seconds: longer than any test waits."""


def end(*_: Any) -> None:
    """Handle the signal as scripts do."""
    sys.exit(3)


def main(port: str) -> None:
    """Wait for what never comes; say where the only place is, and what the end had to cut."""
    pool = ConnectionPool(host="127.0.0.1", port=int(port), max_connections=1)
    atexit.register(lambda: report({"cut": pool.close(LONG)}))
    signal.signal(signal.SIGTERM, end)
    client = Redis(connection_pool=pool)
    try:
        client.blpop(["never"], timeout=LONG)
    finally:
        found = pool.stats()
        report({"in_use": found.in_use, "free": found.idle + found.permits})
        client.ping()


if __name__ == "__main__":
    main(*sys.argv[1:])
