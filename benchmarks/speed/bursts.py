"""Bursts: a number of requests from threads, none of which may fail."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit


def burst(url: str, threads: int, requests: int) -> dict[str, float]:
    """Ask so many times, each thread over one connection; ``errors`` are of any kind."""
    address = urlsplit(url).netloc
    shares = [len(range(first, requests, threads)) for first in range(threads)]
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as executor:
        errors = sum(executor.map(lambda share: failures(address, share), shares))
    return {"value": requests / (time.perf_counter() - started), "errors": errors}


def failures(address: str, requests: int) -> int:
    """Ask one after the other, and count what was not answered with 200."""
    failed = 0
    connection = http.client.HTTPConnection(address, timeout=30)
    for _ in range(requests):
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            failed += answer.status != 200
        except (OSError, http.client.HTTPException):
            failed += 1
            connection.close()  # the next request opens it again
    connection.close()
    return failed
