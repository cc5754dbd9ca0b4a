"""A site for gunicorn: each answer says who gave it, and on which connection."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from redispool import PoolFactory

redis = PoolFactory().client()

# Whoever forks after this (gunicorn --preload) leaves its connection to the parent.
LOADED = {"process": os.getpid(), "connection": redis.client_id()}


def keyed(number: str) -> dict[str, Any]:
    """Write and read a key of this request's own."""
    with redis.pinned() as pin:
        pin.set(f"key {number}", f"value of {number}")
        found = pin.get(f"key {number}")
        connection = pin.client_id()
    return {"value": str(found, "utf-8"), "connection": connection}


def wait(number: str) -> dict[str, Any]:
    """Wait for somebody else to say the value."""
    name, value = redis.blpop([f"list {number}"], timeout=30)
    return {"list": name.decode(), "value": value.decode()}


PAGES = {"keyed": keyed, "wait": wait}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer ``/keyed/7`` and ``/wait/7``."""
    _, page, number = environ["PATH_INFO"].split("/")
    answer = PAGES[page](number) | {"process": os.getpid(), "loaded": LOADED}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
