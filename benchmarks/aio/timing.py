"""The clocks: how long a command takes that tasks ask, and a loop that ends after one."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time

from ..speed.timing import BATCH, WARM_UP, Figure
from .clients import Call

TOGETHER = 20e-3
"""Seconds that a batch of several tasks takes about. Making them is in it: in a batch of a
millisecond, that was a third of what the fastest seemed to take."""


async def seconds_per_command(call: Call, tasks: int, seconds: float) -> Figure:
    """Microseconds a command, of all tasks together: the median over batches, after a warm-up.

    In a batch each task asks a few times, one after the other.
    """
    gc.collect()
    each = await batch_size(call, tasks, seconds)
    batches, cpu, end = [], time.process_time(), time.perf_counter() + seconds
    while True:
        batches.append(await batch(call, tasks, each) / (tasks * each))
        if time.perf_counter() >= end:
            break
    cpu = (time.process_time() - cpu) / (tasks * each * len(batches))
    return {"value": statistics.median(batches) * 1e6, "cpu": cpu * 1e6}


async def batch_size(call: Call, tasks: int, seconds: float) -> int:
    """Warm up, and give how often each task asks in a batch: twice at least."""
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds * WARM_UP:
        await batch(call, tasks, 2)
        done += 2
    return max(2, round(done / passed * (BATCH if tasks == 1 else TOGETHER)))


async def batch(call: Call, tasks: int, each: int) -> float:
    """The seconds in which that many tasks ask so often; a single one is the task that runs."""

    async def ask() -> None:
        for _ in range(each):
            await call()

    started = time.perf_counter()
    if tasks == 1:
        await ask()
    else:
        await asyncio.gather(*[ask() for _ in range(tasks)])
    return time.perf_counter() - started
