"""Interruptions on order: an exception is raised at the chosen point of a piece of work.

A point is a line or an opcode that Python traces in redispool, in redis-py, or in those parts of
the standard library that they run through. The same work has the same points each time, so a
failure can be repeated, and "at every point" is a loop.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeAlias

import redis

import redispool

Kind: TypeAlias = Literal["line", "opcode"]

PLACES = (
    *(str(Path(package.__file__).parent) for package in (redispool, redis)),
    *(module.__file__ for module in (contextlib, socket, threading)),
)


ENDS_WITHIN = 30.0
"""Seconds that a piece of work may take, interrupted or not."""


class Injected(BaseException):
    """What is raised; like Ctrl-C, no ``except Exception`` stops it."""


@dataclass
class Outcome:
    """How a piece of work ended. It keeps no exception, and so none of the frames of the work."""

    struck: bool = False
    """Whether the work came to the chosen point."""
    value: Any = None
    """What it gave, where it was not interrupted: Python swallows what is raised in finalizers."""
    interrupted: bool = False
    """Whether the interruption came out of it, as it shall."""
    error: str = ""
    """What came out in place of it, with its traceback."""
    complaints: list[str] = field(default_factory=list)
    """What finalizers raised, beside the interruption."""


def strike(work: Callable[[], Any], kind: Kind, point: int) -> Outcome:
    """Run `work`, and raise `Injected` at point number `point` of it, once.

    Args:
        work: called without arguments, in a thread of its own.
        kind: what counts as a point.
        point: from 1 on; 0 for none, then nothing is raised.
    """
    outcome, _ = _trace(work, kind, point)
    return outcome


def count_points(work: Callable[[], Any], kind: Kind) -> int:
    """How many points `work` has, which is run once for that."""
    outcome, seen = _trace(work, kind, 0)
    assert not outcome.error, outcome.error
    return seen


def every(points: int, *, at_most: int | None, offset: int = 0) -> range:
    """The numbers of all `points`, or of `at_most` of them at equal distances.

    Args:
        points: how many there are.
        at_most: how many are wanted; None for all.
        offset: shifts the choice, so that several together visit more than one does.
    """
    step = 1 if at_most is None else -(-points // at_most)
    return range(1 + offset % step, points + 1, step)


def _trace(work: Callable[[], Any], kind: Kind, point: int) -> tuple[Outcome, int]:
    outcome, seen = Outcome(), 0
    watched: dict[str, bool] = {}

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if name not in watched:
            watched[name] = name.startswith(PLACES)
        if not watched[name]:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = kind == "line", kind == "opcode"
        return step

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if event == kind:
            seen += 1
            if seen == point:
                sys.settrace(None)
                raise Injected
        return step

    def run() -> None:
        # Python 3.12 looks only when tracing begins whether any frame wants opcodes.
        sys._getframe().f_trace_opcodes = kind == "opcode"
        try:
            sys.settrace(enter)
            outcome.value = work()
        except Injected:
            outcome.interrupted = True
        except BaseException as error:
            # A constructor of redis-py 7.0 goes on in a finally block with what it never came to.
            taken_over = isinstance(error, UnboundLocalError) and error.__context__
            if isinstance(taken_over, Injected):
                outcome.interrupted = True
            else:
                outcome.error = traceback.format_exc()
        finally:
            sys.settrace(None)

    # A trace function, unlike a signal handler, can raise between the beginning of an except block
    # and the opcode that notes it, or before the one that ends it. CPython then takes an exception
    # for one that is being handled, with its frames, until the thread ends.
    with _listening_to_finalizers(outcome.complaints):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(ENDS_WITHIN)
    if thread.is_alive():
        stack = traceback.format_stack(sys._current_frames().get(thread.ident or 0))
        outcome.error = "".join(["it does not end; it is at\n", *stack])
    outcome.struck = 0 < point <= seen
    return outcome, seen


@contextlib.contextmanager
def _listening_to_finalizers(complaints: list[str]) -> Iterator[None]:
    """Note what Python would print of exceptions in finalizers, but for the interruption itself."""

    def listen(unraisable: Any) -> None:
        if unraisable.exc_type is not Injected:
            complaints.append(f"{unraisable.exc_type.__name__}: {unraisable.exc_value}")

    before, sys.unraisablehook = sys.unraisablehook, listen
    try:
        yield
    finally:
        sys.unraisablehook = before
