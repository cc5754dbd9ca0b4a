"""Bursts: a number of requests from threads, none of which may fail."""

from __future__ import annotations

import contextlib
import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

HANGS = 10.0
"""Seconds after which nobody waits for an answer any more."""


def burst(url: str, threads: int, requests: int) -> dict[str, float]:
    """Ask so many times, each thread over one connection; ``errors`` are of any kind."""
    address = urlsplit(url).netloc
    shares = [len(range(first, requests, threads)) for first in range(threads)]
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as executor:
        errors = sum(executor.map(lambda share: failures(address, share), shares))
    return {"value": requests / (time.perf_counter() - started), "errors": errors}


def failures(address: str, requests: int) -> int:
    """Ask one after the other, and count what was not answered with 200.

    Where a request hangs, those that would come after it count as failed.
    """
    failed = 0
    with contextlib.closing(http.client.HTTPConnection(address, timeout=HANGS)) as connection:
        for number in range(requests):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                failed += answer.status != 200
            except TimeoutError:
                return failed + requests - number
            except (OSError, http.client.HTTPException):
                failed += 1
                connection.close()  # the next request opens it again
    return failed
