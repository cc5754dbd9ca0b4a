"""Waiting in the queue of a pool, for tasks: of any loop, in any thread, and among threads."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from time import monotonic

from ..flag import Flag
from ..queueing import SlotQueue, Waiter
from ..slots import GONE, Free, Slot


class AsyncBell(Waiter):
    """Wakes one task; may be rung from any thread, by finalizers and signal handlers too.

    It keeps neither the task nor its loop: the pool knows who waits, and a loop that everybody else
    has dropped has to go, with whatever its tasks hold. The loop keeps who sleeps, by the timer.
    """

    def __init__(self) -> None:
        self.inbox: list[Free] = []
        self.gone = False
        self.since = monotonic()
        self._loop = weakref.ref(asyncio.get_running_loop())
        self._rang = False
        self._sleep: weakref.ref[asyncio.Future[None]] = GONE

    def successor(self) -> AsyncBell:
        bell = AsyncBell()
        bell.since = self.since
        return bell

    @property
    def lost(self) -> bool:
        loop = self._loop()
        return self.gone or loop is None or loop.is_closed()

    def offer(self, free: Free) -> bool:
        """Hand `free` over; False where the caller has gone, or its loop does not run.

        A loop that stands still may go on: then the caller looks for itself.
        """
        loop = self._loop()
        if loop is None or not loop.is_running():
            return False
        if isinstance(free, Slot):
            free.loop = self._loop
        return super().offer(free)

    def ring(self) -> None:
        """Wake who sleeps, or who will."""
        self._rang = True
        loop = self._loop()
        if loop is None:
            return
        if asyncio._get_running_loop() is loop:
            self._wake()
            return
        try:
            loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            pass  # that loop is closed

    async def doze(self, seconds: float) -> None:
        """Wait for the bell, for `seconds` at most."""
        if self._rang:
            self._rang = False
            return
        loop = asyncio.get_running_loop()
        sleep: asyncio.Future[None] = loop.create_future()
        self._sleep = weakref.ref(sleep)
        timer = loop.call_later(seconds, _end, sleep)  # it keeps the task, as nobody else may
        try:
            await sleep
        finally:
            timer.cancel()
            self._sleep, self._rang = GONE, False

    def _wake(self) -> None:
        sleep = self._sleep()
        if sleep is not None:
            _end(sleep)


def _end(sleep: asyncio.Future[None]) -> None:
    if not sleep.done():
        sleep.set_result(None)


async def wait(
    queue: SlotQueue,
    deadline: float,
    *,
    stop: Callable[[float], bool],
    heal: Callable[[], None],
    first: bool,
) -> Free | None:
    """Queue until something is handed over; `redispool.queueing.SlotQueue.wait` for tasks."""
    waiter = AsyncBell()
    try:
        queue.enter(waiter, first=first)
        # Only now: what came free since the last look would otherwise be missed.
        queue.hand_over()
        while not waiter.inbox:
            now = monotonic()
            if now >= deadline or stop(now):
                heal()
                queue.hand_over()
                break
            await waiter.doze(min(deadline - now, queue.look_again_in(waiter, now)))
            if not waiter.inbox:
                heal()
                waiter = queue.queue_again(waiter)  # type: ignore[assignment]
    except BaseException:
        queue.leave(waiter, keep=False)
        raise
    return queue.leave(waiter, keep=True)


async def wait_for(flag: Flag, seconds: float) -> None:
    """Wait until `flag` is set, for `seconds` at most."""
    bell = AsyncBell()
    flag.sleepers.append(bell)
    try:
        if not flag.is_set():  # only now, or what happens meanwhile would be missed
            await bell.doze(seconds)
    finally:
        flag.sleepers.remove(bell)
