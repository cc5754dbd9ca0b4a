"""Greenlets whose keyed commands are cut short, at random moments, by time-outs and kills."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

# Behind the patch, as in every program that gevent runs.
import random  # noqa: E402
import sys  # noqa: E402
import warnings  # noqa: E402
from collections import Counter  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Group  # noqa: E402

from redispool import ConnectionPool, Redis  # noqa: E402

from . import report  # noqa: E402

PLACES = 4
KEYS = 20
SOON = 0.004
"""Seconds until an interruption, on the average: some come to callers in the queue, some while a
connection is opened, some before a reply; and some commands get through."""

# redis-py closes its new socket where connecting fails with an OSError, and leaves it to the
# socket's own finalizer where a greenlet is interrupted in connect().
warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)


class TimedOut(BaseException):
    """What a time-out raises: like a kill, nothing that code on the way would catch."""


class Storm:
    """Workers, the one who kills them, and what they saw.

    Args:
        pool: whose connections they use.
        wanted: after how many interruptions the storm is over.
    """

    def __init__(self, pool: ConnectionPool, wanted: int) -> None:
        self.client = Redis(connection_pool=pool)
        self.wanted = wanted
        self.seen: Counter[str] = Counter()
        self.workers = Group()

    @property
    def over(self) -> bool:
        """Whether there was enough of it."""
        return self.seen["timed out"] + self.seen["killed"] >= self.wanted

    def rage(self) -> Counter[str]:
        """Let it all happen."""
        self.client.mset({f"key{number}": value_of(number) for number in range(KEYS)})
        for _ in range(4 * PLACES):
            self.workers.spawn(self.work)
        self.kill()
        self.workers.join()
        return self.seen

    def work(self) -> None:
        """Ask for one key after another, and count what is no answer to that."""
        while not self.over:
            number = random.randrange(KEYS)
            try:
                with gevent.Timeout(soon(), TimedOut):
                    found = self.ask(number)
            except TimedOut:
                self.seen["timed out"] += 1
            except gevent.GreenletExit:
                self.seen["killed"] += 1
                raise
            else:
                self.seen["right" if found == value_of(number) else "wrong"] += 1

    def ask(self, number: int) -> Any:
        """Write and read a key, in one of four ways."""
        key, value = f"key{number}", value_of(number)
        match random.randrange(4):
            case 0:
                return self.client.get(key)
            case 1:
                return self.client.set(key, value, get=True)
            case 2:
                return self.client.pipeline().set(key, value).get(key).execute()[1]
            case _:
                with self.client.pinned() as pin:
                    pin.set(key, value)
                    return pin.get(key)

    def kill(self) -> None:
        """Kill a worker now and then; another goes on in its place."""
        while not self.over:
            self.workers.killone(random.choice(list(self.workers)), block=False)
            self.workers.spawn(self.work)
            gevent.sleep(soon())


def soon() -> float:
    """Seconds until the next interruption."""
    return random.expovariate(1 / SOON)


def value_of(number: int) -> bytes:
    """The value of key `number`."""
    return f"value of {number}".encode()


def main(port: str, protocol: str, wanted: str) -> None:
    """Report what was seen, and what the pool has in the end."""
    pool = ConnectionPool(
        host="127.0.0.1", port=int(port), protocol=int(protocol), max_connections=PLACES
    )
    seen = Storm(pool, int(wanted)).rage()
    held = [pool.acquire(timeout=5.0) for _ in range(PLACES)]
    waiting = pool.stats().waiting
    for connection in held:
        pool.release(connection)
    report({"seen": seen, "places": len(held), "waiting": waiting, "cut": pool.close()})


if __name__ == "__main__":
    main(*sys.argv[1:])
