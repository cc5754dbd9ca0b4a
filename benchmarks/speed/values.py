"""What the server holds: values of each size, a hundred keys, a hash of a hundred fields."""

from __future__ import annotations

import redis

SIZES = {"10 B": 10, "1 KiB": 1024, "100 KiB": 100 * 1024}
HASH = b"benchmark:hash"


def key(size: int) -> bytes:
    """The key of the value of `size` bytes."""
    return b"benchmark:value:%d" % size


def value(size: int) -> bytes:
    """A value of `size` bytes."""
    return b"x" * size


def keys(count: int) -> list[bytes]:
    """That many keys of small values; from a hundred on they repeat."""
    return [b"benchmark:key:%d" % (number % 100) for number in range(count)]


def fill(url: str) -> None:
    """Store all of it."""
    with redis.Redis.from_url(url) as client:
        for size in SIZES.values():
            client.set(key(size), value(size))
        client.mset(dict.fromkeys(keys(100), value(10)))
        client.hset(HASH, mapping={f"field:{number}": value(10) for number in range(100)})
