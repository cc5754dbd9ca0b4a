"""A storm of signals: a handler raises after 20 to 300 µs, whatever the program is doing.

It strikes every second command, once or again and again; those between must find all well.

For the main thread of a process that does nothing else, such as a forked child.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import redis

SOONEST, LATEST = 20e-6, 300e-6
KEYS = 20


def some_time() -> float:
    """Seconds until a signal comes."""
    return random.uniform(SOONEST, LATEST)


def once() -> tuple[float, float]:
    """One signal."""
    return some_time(), 0.0


def again() -> tuple[float, float]:
    """One signal after the other."""
    return some_time(), some_time()


def calm() -> tuple[float, float]:
    """No signal."""
    return 0.0, 0.0


class Interruption(BaseException):
    """What the signal handler raises."""


@dataclass
class Report:
    """What became of the commands."""

    completed: int = 0
    interrupted: int = 0
    wrong: list[Any] = field(default_factory=list)
    """Work, number and value, where that is not the one that was asked for."""
    errors: Counter[str] = field(default_factory=Counter)
    """What commands ended in beside interruptions."""


def brave(client: redis.Redis, *, seconds: float = 2.0, interruptions: int | None = None) -> Report:
    """Run commands in a storm; values name their keys, so that those of others are known.

    Args:
        client: redis-py's or ours; its database is filled. redis-py's own pools need a
            ``command_packer`` that is not hiredis', which crashes here.
        seconds: how long the storm lasts at most.
        interruptions: after how many interrupted commands it ends sooner.
    """
    client.mset({f"key{number}": f"value{number}" for number in range(KEYS)})
    report, works = Report(), list(WORKS.items())
    end = time.monotonic() + seconds
    with raising_signals():
        while time.monotonic() < end and report.interrupted != interruptions:
            name, work = random.choice(works)
            number, weather = random.randrange(KEYS), random.choice((once, again, calm, calm))
            note(report, (name, number), lambda: work(client, number), weather())
    return report


def note(
    report: Report,
    what: tuple[str, int],
    work: Callable[[], tuple[Any, Any]],
    times: tuple[float, float],
) -> None:
    """Run `work` and note how it ended; `times` are those of the first signal and between them."""
    try:
        signal.setitimer(signal.ITIMER_REAL, *times)
        value, expected = work()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        if began_with_interruption(error):
            report.interrupted += 1
        else:
            report.errors[f"{what[0]}: {error!r}"] += 1
    else:
        report.completed += 1
        if value != expected:
            report.wrong.append((*what, value))


def began_with_interruption(error: BaseException | None) -> bool:
    """Whether `error` is an interruption, or came up while one was handled."""
    while error is not None and not isinstance(error, Interruption):
        error = error.__context__
    return error is not None


@contextlib.contextmanager
def raising_signals() -> Iterator[None]:
    """Let SIGALRM raise `Interruption`, but not in the frames of this module."""

    def handle(_: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename != __file__:
            raise Interruption

    # What strikes a finalizer is swallowed by Python, and told on this hook.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    handler = signal.signal(signal.SIGALRM, handle)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = hook


# Each gives a value, and the one that is right


def get(client: redis.Redis, number: int) -> tuple[Any, Any]:
    """Read a key."""
    return client.get(f"key{number}"), text(number)


def set_with_numbers(client: redis.Redis, number: int) -> tuple[Any, Any]:
    """Write with numbers among the arguments."""
    # hiredis 3.5 crashes where it is interrupted while it makes a text of a number.
    return [
        client.set(f"key{number}", f"value{number}", ex=1000),
        client.zadd(f"scores{number}", {"member": number + 0.5}, ch=True) is not None,
        client.zscore(f"scores{number}", "member"),
    ], [True, True, number + 0.5]


def pipeline(client: redis.Redis, number: int) -> tuple[Any, Any]:
    """Read two keys at once."""
    other = (number + 1) % KEYS
    pipe = client.pipeline(transaction=False).get(f"key{number}").get(f"key{other}")
    return pipe.execute(), [text(number), text(other)]


def transaction(client: redis.Redis, number: int) -> tuple[Any, Any]:
    """Write and read in a transaction."""
    pipe = client.pipeline().set(f"key{number}", f"value{number}").get(f"key{number}")
    return pipe.execute(), [True, text(number)]


def watch(client: redis.Redis, number: int) -> tuple[Any, Any]:
    """Write in a transaction that fails where somebody else does."""
    with client.pipeline() as pipe:
        pipe.watch(f"key{number}")
        before = pipe.get(f"key{number}")
        pipe.multi()
        pipe.set(f"key{number}", f"value{number}")
        return [before, *pipe.execute()], [text(number), True]


def blocking_pop(client: redis.Redis, number: int) -> tuple[Any, Any]:
    """Pop what was pushed before, by this command or an interrupted one."""
    name = f"list{number}"
    client.rpush(name, f"value{number}")
    return list(client.blpop([name], timeout=1) or []), [name.encode(), text(number)]


def text(number: int) -> bytes:
    """What the key of that number holds."""
    return f"value{number}".encode()


WORKS: dict[str, Callable[[redis.Redis, int], tuple[Any, Any]]] = {
    "get": get,
    "set with numbers": set_with_numbers,
    "pipeline": pipeline,
    "transaction": transaction,
    "watch": watch,
    "blocking pop": blocking_pop,
}
