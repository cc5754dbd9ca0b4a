"""Who cancels: every way in which programs end what takes too long, in the middle of a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from redispool import AsyncRedis
from tests.conftest import MakeAsyncPool
from tests.support.loops import LOOPS, until

Command = Coroutine[Any, Any, Any]
Begun = Callable[[], Any]

WAYS: dict[str, Callable[[Command, Begun], Coroutine[Any, Any, None]]] = {}


def way(function: Callable[[Command, Begun], Any]) -> Callable[[Command, Begun], Any]:
    """Note a way to cancel: it runs a command, and ends it once `begun` says so."""
    WAYS[function.__name__] = function
    return function


@way
async def task_cancel(command: Command, begun: Begun) -> None:
    """By hand."""
    task = asyncio.ensure_future(command)
    await until(begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@way
async def wait_for(command: Command, begun: Begun) -> None:
    """By its time limit, which on Python 3.11 waits for the end of what it cancels."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(command, 0.05)


@way
async def timeout(command: Command, begun: Begun) -> None:
    """By the end of the block that limits the time."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit:
            asyncio.ensure_future(_at_once(begun, limit))  # noqa: RUF006  # ends with the block
            await command


@way
async def task_group(command: Command, begun: Begun) -> None:
    """By the failure of a sibling."""

    async def fail() -> None:
        await until(begun)
        raise LookupError

    with pytest.raises(ExceptionGroup) as failure:
        async with asyncio.TaskGroup() as group:
            group.create_task(command)
            group.create_task(fail())
    assert isinstance(failure.value.exceptions[0], LookupError)


@way
async def gather(command: Command, begun: Begun) -> None:
    """By the cancellation of all that were gathered."""
    together = asyncio.gather(command, until(lambda: False, within=60.0))
    await until(begun)
    together.cancel()
    with pytest.raises(asyncio.CancelledError):
        await together


@way
async def anyio_scope(command: Command, begun: Begun) -> None:
    """By anyio's scope, which cancels again and again until all has ended."""
    async with anyio.create_task_group() as group:

        async def cancel() -> None:
            await until(begun)
            group.cancel_scope.cancel()

        group.start_soon(cancel)
        await command
    assert group.cancel_scope.cancelled_caught


@way
async def anyio_time_limit(command: Command, begun: Begun) -> None:
    """By anyio's time limit."""
    with pytest.raises(TimeoutError), anyio.fail_after(0.05):
        await command


async def _at_once(begun: Begun, limit: asyncio.Timeout) -> None:
    await until(begun)
    limit.reschedule(asyncio.get_running_loop().time())


FACTORIES: list[tuple[str, Any]] = [("asyncio", None), ("uvloop", None)]
"""Loops, and how tasks begin: eager ones, of Python 3.12 on, run at once as far as they come."""
if sys.version_info >= (3, 12):  # with uvloop on some releases alone
    FACTORIES.append(("asyncio", asyncio.eager_task_factory))


@pytest.mark.parametrize(("loop", "factory"), FACTORIES)
@pytest.mark.parametrize("name", WAYS)
def test_whoever_cancels_takes_the_line_along(
    make_async_pool: MakeAsyncPool, name: str, loop: str, factory: Any
) -> None:
    """The cancellation is delivered, the place is free, and the next one reads its own reply."""
    pool = make_async_pool(max_connections=1)
    client = AsyncRedis(connection_pool=pool)

    def begun() -> bool:
        return any(held.ledger.owed for held in pool.capacity.connections())

    async def work() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        await client.set("key", "value")
        await WAYS[name](client.blpop(["nothing"], timeout=60), begun)
        stats = pool.stats()
        assert (stats.in_use, stats.waiting, stats.idle + stats.permits) == (0, 0, 1)
        assert await client.get("key") == b"value"
        assert pool.stats().created_total == 2

    LOOPS[loop](work())
