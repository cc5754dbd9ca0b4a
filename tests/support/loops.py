"""Event loops of each kind, and tasks that are led step by step."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import uvloop

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]

LOOPS: dict[str, Run] = {"asyncio": asyncio.run, "uvloop": uvloop.run}
"""Runners of a coroutine, each in a loop of its own."""


async def until(condition: Callable[[], Any], within: float = 10.0) -> None:
    """Let the loop go on until `condition` is true.

    Raises:
        TimeoutError: it did not come true `within` so many seconds.
    """
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0)


def all_tasks() -> list[asyncio.Task[Any]]:
    """The tasks of all loops that have not ended, to say in an error what they wait for."""
    found = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
    return [task for task in found if not task.done()]


async def outcome_of(task: Awaitable[Any]) -> Any:
    """What a task gives, or the error that it ends in, without the frames that it came through."""
    try:
        return await task
    except (Exception, asyncio.CancelledError) as error:
        return error.with_traceback(None)


@dataclass
class Cancelled:
    """What became of a task that was cancelled at one of its suspensions."""

    struck: bool
    """Whether it came to that suspension."""
    outcome: Any
    """What it gave, or the error that it ended in."""


async def cancel_at(
    suspension: int, work: Coroutine[Any, Any, Any], *, late: bool = False, times: int = 1
) -> Cancelled:
    """Run `work` as a task, and cancel it where it suspends.

    Args:
        suspension: at which of its suspensions, from 1 on.
        work: the coroutine.
        late: when what it waits for has come, but it does not run yet; else as soon as it waits.
        times: how often it is cancelled, once in each turn of the loop.
    """
    loop, seen = asyncio.get_running_loop(), 0
    struck = asyncio.Event()

    def strike(*_: object) -> None:
        struck.set()
        task.cancel()

    def note(waited: Any) -> None:
        nonlocal seen
        seen += 1
        if seen != suspension:
            return
        if late and waited is not None:
            waited.add_done_callback(strike)
        else:
            loop.call_soon(strike)

    task = asyncio.ensure_future(_watched(work, note))
    if times > 1:
        await asyncio.wait(
            [task, asyncio.ensure_future(struck.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        for _ in range(times - 1):
            struck.set()
            task.cancel()
            await asyncio.sleep(0)
    outcome = await outcome_of(task)
    return Cancelled(seen >= suspension, outcome)


async def _watched(work: Coroutine[Any, Any, Any], note: Callable[[Any], None]) -> Any:
    return await _Watched(work, note)


class _Watched:
    """Awaits a coroutine, and says each time what it is about to wait for."""

    def __init__(self, work: Coroutine[Any, Any, Any], note: Callable[[Any], None]) -> None:
        self._work, self._note = work, note

    def __await__(self) -> Generator[Any, Any, Any]:
        step = partial(self._work.send, None)
        while True:
            try:
                waited = step()
            except StopIteration as ended:
                return ended.value
            self._note(waited)
            try:
                yield waited
            except BaseException as error:
                step = partial(self._work.throw, error)
            else:
                step = partial(self._work.send, None)


def closed_quietly(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop of which tasks are left, and say nothing of them."""
    with contextlib.suppress(RuntimeError):
        loop.set_exception_handler(lambda *_: None)
        loop.close()
