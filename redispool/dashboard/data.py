"""Data: what the page shows, as plain values for JSON; no secrets are among them."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from .. import fork
from ..factory import PoolFactory
from ..figures import BOUNDS
from ..live import LivePool, Unreadable
from ..reports.aside import list_aside
from ..reports.clients import clients
from ..reports.config import config
from ..reports.report import Report

BEING_ASKED = "The server is being asked."
FLEET_FOR = 5.0
"""Seconds for which the answer to CLIENT LIST is kept: it costs the server, however many look."""


def pools(factory: PoolFactory) -> dict[str, Any]:
    """The pools of all processes on this host: ``{"host", "now", "bounds", "pools", "note"}``.

    Read from the files that the pools keep, so it is there at once, also while Redis is down.
    """
    try:
        found, note = factory.live(), ""
    except Unreadable as error:
        found, note = [], str(error)
    return {
        "host": socket.gethostname(),
        "now": time.time(),
        "bounds": BOUNDS,
        "pools": [_as_dict(pool) for pool in found],
        "note": note,
    }


def options(factory: PoolFactory) -> dict[str, Any]:
    """The options in force in this process, secrets masked: ``{"rows", "errors"}``."""
    return _as_rows(config(factory, factory.aliases))


def fleet(factory: PoolFactory) -> dict[str, Any]:
    """The connections of all hosts, asked past the pools, which may be exhausted."""
    return _as_rows(clients(factory, factory.aliases, list_aside))


class Fleet:
    """The connections of all processes on all hosts, as the server's CLIENT LIST tells.

    It may take some seconds, so it is asked apart from the pools; of many who ask at the same time
    one asks the server; the others get what was known before, so that a server that is away holds
    up one thread, however many pages are open.
    """

    def __init__(self, factory: PoolFactory, clock: Callable[[], float] = time.monotonic) -> None:
        self._factory, self._clock = factory, clock
        self._asking = threading.Lock()
        self._known: tuple[float, dict[str, Any]] | None = None
        fork.register(self)

    def ask(self) -> dict[str, Any]:
        """``{"rows", "errors"}``, a few seconds old at most where the server answers."""
        known = self._known
        if self._asking.locked():
            return known[1] if known is not None else {"rows": [], "errors": [BEING_ASKED]}
        with self._asking:
            if self._known is None or self._clock() - self._known[0] >= FLEET_FOR:
                found = fleet(self._factory)
                self._known = self._clock(), found
            return self._known[1]

    def after_fork_in_child(self) -> None:
        """A thread of the parent may have held the lock."""
        self._asking = threading.Lock()


def _as_rows(report: Report) -> dict[str, Any]:
    return {"rows": report.rows, "errors": report.errors}


def _as_dict(pool: LivePool) -> dict[str, Any]:
    return {**dataclasses.asdict(pool), "stats": pool.stats.as_dict()}
