"""A keyed workload: each value names its key, so a reply of somebody else is known at once."""

from __future__ import annotations

import redis

KEYS = 64


def key(number: int) -> str:
    """The key of this number; they repeat after `KEYS`."""
    return f"key:{number % KEYS}"


def value(number: int) -> bytes:
    """What stands under the key of this number."""
    return f"value of key:{number % KEYS}".encode()


def fill(url: str) -> None:
    """Write all keys."""
    with redis.Redis.from_url(url) as client:
        client.mset({key(number): value(number) for number in range(KEYS)})


def is_wrong(number: int, found: object) -> bool:
    """Whether `found` is something else than the value of this key, or nothing."""
    return found not in (None, value(number))
