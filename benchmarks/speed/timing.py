"""The clocks: how long a call takes, and how many calls threads make in a second."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, TypeAlias

Call: TypeAlias = Callable[[], Any]
Figure: TypeAlias = dict[str, float]
"""``value``, in the unit of the measure, and ``cpu``: microseconds of CPU of the process a call."""

BATCH = 1e-3
"""Seconds that a batch of calls takes; one that the machine disturbed is then an outlier."""

WARM_UP = 0.2
"""The share of the slice that goes before it, unmeasured."""

THREADS = 5
"""Threads are given that many slices: they take turns at the interpreter, which evens out late."""


def seconds_per_call(call: Call, seconds: float) -> Figure:
    """Microseconds a call: the median over batches, after a warm-up."""
    gc.collect()
    size = batch_size(call, seconds)
    batches, cpu, end = [], time.process_time(), time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        for _ in repeat(None, size):
            call()
        now = time.perf_counter()
        batches.append((now - started) / size)
        if now >= end:
            break
    cpu = (time.process_time() - cpu) / (size * len(batches))
    return {"value": statistics.median(batches) * 1e6, "cpu": cpu * 1e6}


def batch_size(call: Call, seconds: float) -> int:
    """Warm up, and give how many calls make a batch."""
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds * WARM_UP:
        call()
        done += 1
    return max(1, round(done / passed * BATCH))


def seconds_after(prepare: Call, call: Call, seconds: float) -> Figure:
    """Microseconds a call: the median over calls, each after `prepare`, which is not timed."""
    gc.collect()
    for _ in range(3):
        prepare()
        call()
    times, cpus, end = [], [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        prepare()
        cpu, started = time.process_time(), time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
        cpus.append(time.process_time() - cpu)
    return {"value": statistics.median(times) * 1e6, "cpu": statistics.fmean(cpus) * 1e6}


def calls_per_second(calls: Sequence[Call], seconds: float) -> Figure:
    """Calls a second of all threads together, one for each of `calls`.

    They start at a barrier; what is counted lies within a window that opens after the warm-up, so
    neither the start nor the end of a thread is in it.
    """
    gc.collect()
    seconds *= THREADS
    counts, over, barrier = [0] * len(calls), threading.Event(), threading.Barrier(len(calls) + 1)

    def work(number: int, call: Call) -> None:
        call()  # connects, one after the other as it comes
        barrier.wait()
        done = over.is_set
        while not done():
            call()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    barrier.wait()
    time.sleep(seconds * WARM_UP)
    cpu, first, started = time.process_time(), sum(counts), time.perf_counter()
    time.sleep(seconds)
    last, ended, cpu = sum(counts), time.perf_counter(), time.process_time() - cpu
    over.set()
    for thread in threads:
        thread.join()
    return {
        "value": (last - first) / (ended - started),
        "cpu": cpu / max(last - first, 1) * 1e6,
    }
