"""What a user of redispool.testing writes: read by type checkers, never run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import assert_type

from redispool import PoolFactory
from redispool.testing import (
    DROP,
    FaultProxy,
    RunningServer,
    ScriptedServer,
    Server,
    all_pools,
    assert_all_returned,
    eventually,
)


def servers(directory: Path) -> None:
    with Server(maxclients=20) as server:
        assert_type(server, Server)
        assert_type(server.url, str)
        assert_type(server.kill_clients("default"), int)
        server.restart()
    with Server(directory, port=7000) as server:
        known: RunningServer = server
        known.outside(db=2).ping()


def faults(server: RunningServer) -> None:
    with FaultProxy(server.url) as proxy, PoolFactory(proxy.url) as factory:
        proxy.delay(0.1, replies_only=True)
        proxy.cut_reply(after=3)
        proxy.black_hole(accept=False)
        proxy.heal()
        assert_type(eventually(lambda: proxy.dials), int)
        assert_all_returned(factory, factory.pool(), *all_pools(), within=2.0)


def answers(told: threading.Event) -> None:
    with ScriptedServer() as server:
        server.answer("GET", b"$-1\r\n", DROP, (told.wait, b"+OK\r\n"), lambda: DROP)
        server.always("PING", (b"+PO", DROP))


def mistakes_are_seen(server: Server) -> None:
    FaultProxy(server)  # type: ignore[arg-type]  # the URL of a server, not the server
    assert_all_returned("default")  # type: ignore[arg-type]  # pools, not their names
    server.start(7000)  # type: ignore[call-arg]  # the port is the server's, not the start's
