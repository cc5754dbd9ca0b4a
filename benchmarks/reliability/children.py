"""Forked children: what one that sends a command could not do, and why, in its own words."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import time
from typing import NoReturn

import redis

from redispool import ForkedLease, NotOwned, PoolClosed

from . import keyed

OWN_FAULT = (ForkedLease, NotOwned, PoolClosed)
"""Errors that no network brings about."""

PAUSE = 0.05
"""Seconds between two tries of a child."""

TELLS_WITHIN = 1.0
"""Seconds that a child which hangs has to say where."""


def tries_of_child(client: redis.Redis, within: float = 1.0, patience: float = 0.0) -> list[str]:
    """What came of each try of a forked child to get a reply; the last is empty where it got one.

    An error, a wrong value, or, where it hangs, the lines of code in which it does: at any point
    since the fork, waiting for a lock as well.

    Args:
        client: of the parent.
        within: seconds until it hangs, for each try.
        patience: seconds for which it tries again, where the network may be to blame.
    """
    reader, writer = os.pipe()
    # Before the fork: the child may hang before it runs a line of its own. It tells, and ends.
    faulthandler.register(signal.SIGUSR1, file=writer, all_threads=False, chain=True)
    child = os.fork()
    if child == 0:
        tell(client, writer, patience)
    faulthandler.unregister(signal.SIGUSR1)
    os.close(writer)
    try:
        return listen(child, reader, within)
    finally:
        os.close(reader)
        os.waitpid(child, 0)


def tell(client: redis.Redis, writer: int, patience: float) -> NoReturn:
    """Be the child: a line for each try, which is empty where all is well."""
    until = time.monotonic() + patience
    try:
        again = True
        while again:
            trouble, may_pass = ask(client)
            os.write(writer, f"{trouble}\n".encode())
            again = may_pass and time.monotonic() < until
            time.sleep(PAUSE if again else 0)
    finally:
        os._exit(0)


def ask(client: redis.Redis) -> tuple[str, bool]:
    """What came of a command, nothing where all is well; and whether the network may be to blame.

    A value may be missing: a server that was restarted is empty, until it is filled again.
    """
    try:
        found = client.get(keyed.key(1))
    except BaseException as error:
        network = isinstance(error, redis.RedisError) and not isinstance(error, OWN_FAULT)
        return f"{type(error).__name__}: {error}".replace("\n", " "), network
    return (f"wrong reply: {found!r}" if keyed.is_wrong(1, found) else ""), False


def listen(child: int, reader: int, within: float) -> list[str]:
    """The lines of a child; where none comes in time, its stack after them, and its end."""
    lines, ended = read(reader, within)
    if ended:
        return lines or ["dies without a word"]
    os.kill(child, signal.SIGUSR1)
    stack, ended = read(reader, TELLS_WITHIN)
    if not ended:
        os.kill(child, signal.SIGKILL)
    return [*lines, "; ".join(["hangs", *(line.strip() for line in stack)])]


def read(reader: int, within: float) -> tuple[list[str], bool]:
    """The lines of a child, and whether that was all, or nothing came for so many seconds."""
    said = b""
    while select.select([reader], [], [], within)[0]:
        more = os.read(reader, 1 << 16)
        if not more:
            return said.decode().splitlines(), True
        said += more
    return said.decode().splitlines(), False
