"""A program that comes to its end while its pool for asyncio is in use, in one of many ways."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from redispool import PoolFactory

PORT, SITUATION = sys.argv[1:]
factory = PoolFactory(f"redis://127.0.0.1:{PORT}/0")
client = factory.async_client()


async def command() -> Any:
    """One command."""
    return await client.ping()


async def many() -> None:
    """Several at the same time."""
    await asyncio.gather(*[client.ping() for _ in range(5)])


async def pending() -> None:
    """The end comes with a command in flight."""
    task = asyncio.ensure_future(client.blpop(["nothing"], 60))
    while not factory.async_stats()["default"].in_use:
        await asyncio.sleep(0)
    assert not task.done()


async def leaving() -> None:
    """The program ends in the middle of its loop."""
    await client.ping()
    sys.exit(0)


async def holding() -> None:
    """A connection is held, and never given back."""
    globals()["held"] = await factory.async_pool().acquire()


def in_a_daemon() -> None:
    """A loop goes on in a thread that nobody waits for."""
    begun = threading.Event()

    async def go_on() -> None:
        while True:
            await client.ping()
            begun.set()

    threading.Thread(target=lambda: asyncio.run(go_on()), daemon=True).start()
    begun.wait(20)


match SITUATION:
    case "once":
        asyncio.run(command())
    case "three loops":
        for _ in range(3):
            asyncio.run(command())
    case "many":
        asyncio.run(many())
    case "pending":
        asyncio.run(pending())
    case "leaving":
        asyncio.run(leaving())
    case "holding":
        asyncio.run(holding())
    case "cycle":
        asyncio.run(command())
        factory.itself = factory  # type: ignore[attr-defined]
        del factory, client
    case "daemon":
        in_a_daemon()
