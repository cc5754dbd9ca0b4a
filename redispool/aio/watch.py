"""Watches: for which sockets the tasks of a loop wait, and until when.

A connection belongs to no loop: its socket is watched only while a task waits for it. Each loop has
one watch, an epoll set of its own, which is registered with the loop once; a socket is armed in it
for a single event. That is half the price of registering the socket with the loop for each wait and
taking it out again. Sockets move between sets at any time and from any thread, for the set is the
kernel's: the selector of a loop is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import select
import weakref
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import ConnectionError

from .. import fork
from ..timekeeping import FOREVER
from ..wire import CLOSED_HERE

if TYPE_CHECKING:
    from .line import Line

READ, WRITE = 1, 4  # EPOLLIN and EPOLLOUT
Wait: TypeAlias = "tuple[asyncio.Future[bool], float]"
"""Who waits, and until when, on the monotonic clock."""
AT_ONCE = 128
"""Events taken from the kernel in one go; the rest follow at once."""


class Watch(ABC):
    """What the tasks of one loop wait for. Used in the thread of its loop, but for `forget`.

    The loop holds it, and nobody else does: it knows the futures of those who wait, which know the
    loop. Whatever outlives a loop has no more than a reference that is weak.

    Args:
        loop: whose watch it is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self.reference = weakref.ref(self)
        self.process = os.getpid()
        self._waits: dict[int, dict[int, Wait]] = {READ: {}, WRITE: {}}
        self._next_look = FOREVER
        self._timer: asyncio.TimerHandle | None = None
        # Not the context of the request that happens to come first: it would stay with the loop.
        self._context = contextvars.Context()

    def arm(self, line: Line, event: int, loop: Any, seconds: float | None) -> asyncio.Future[bool]:
        """A future that is true as soon as `event` comes, and false after `seconds`.

        Who is cancelled needs to do nothing: the next wait takes the place of his.

        Raises:
            RuntimeError: another task waits for the same already.
            redis.ConnectionError: another thread closes the line at this moment.
        """
        waits, fd = self._waits[event], line.fd
        other = waits.get(fd)
        if other is not None and not other[0].done():
            raise RuntimeError("another task waits on this connection already; one at a time can")
        future: asyncio.Future[bool] = loop.create_future()
        deadline = FOREVER if seconds is None else monotonic() + seconds
        try:
            # Who closes the line says so first, and looks here later: one of us sees the other.
            waits[fd] = future, deadline
            self._watch_for(line, event, loop)
            if line.closed:
                raise ConnectionError(CLOSED_HERE)
        except BaseException:
            waits.pop(fd, None)
            line.watch = None
            self.leave(line)
            raise
        if deadline < self._next_look:
            self._look_at_time(loop, deadline)
        return future

    def forget(self, fd: int) -> None:
        """Wake who waits for the socket, which is about to be closed. From any thread."""
        loop = self.loop()
        if loop is None or self.process != os.getpid():
            return
        for waits in self._waits.values():
            found = waits.pop(fd, None)
            if found is None or found[0].done():
                continue
            if asyncio._get_running_loop() is loop:
                found[0].set_result(True)
            else:
                with contextlib.suppress(RuntimeError):  # that loop is closed
                    loop.call_soon_threadsafe(_wake, found[0])

    @abstractmethod
    def end(self) -> None:
        """Let go of what belongs to the system; its loop is closed."""

    @abstractmethod
    def _watch_for(self, line: Line, event: int, loop: Any) -> None:
        """Let `_came` be called when `event` comes."""

    @abstractmethod
    def leave(self, line: Line) -> None:
        """Watch the line no more; it is closed, or moves to another loop. From any thread."""

    def _came(self, event: int, fd: int) -> None:
        waits = self._waits[event]
        found = waits.get(fd)  # in one step: another thread may take it away
        if found is not None:
            if not found[0].done():
                found[0].set_result(True)
            waits.pop(fd, None)  # only now: an interruption before leaves the wait to its timer

    def _look_at_time(self, loop: Any, deadline: float) -> None:
        """Have one timer for all who wait: it goes off when the first of them may be late."""
        if self._timer is not None:
            self._timer.cancel()
        self._next_look = deadline
        # Not a method: the timer would hold the watch, which holds the timer, and its set open.
        left, reference = max(deadline - monotonic(), 0.0), self.reference
        self._timer = loop.call_later(left, _look, reference, loop, context=self._context)

    def end_the_late(self, loop: Any) -> None:
        """Tell those whose time is over, and set the timer for the first of the others."""
        now, first = monotonic(), FOREVER
        self._timer, self._next_look = None, FOREVER
        for waits in self._waits.values():
            for fd, (future, deadline) in waits.copy().items():
                if future.done():
                    waits.pop(fd, None)
                elif deadline <= now:
                    future.set_result(False)
                    waits.pop(fd, None)
                else:
                    first = min(first, deadline)
        if first < FOREVER:
            self._look_at_time(loop, first)


class EpollWatch(Watch):
    """The watch of a loop on Linux."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._epoll = select.epoll()
        self._context.run(loop.add_reader, self._epoll.fileno(), self._look)

    def _watch_for(self, line: Line, event: int, loop: Any) -> None:
        other = READ + WRITE - event
        wanted = event | (other if line.fd in self._waits[other] else 0) | select.EPOLLONESHOT
        if line.watch is self.reference:
            try:
                self._epoll.modify(line.fd, wanted)
                return
            except FileNotFoundError:
                pass  # a forked child has closed it in its own way, and in the set of us both
        else:
            line.leave_watch()
        self._epoll.register(line.fd, wanted)
        line.watch = self.reference

    def leave(self, line: Line) -> None:
        if self.process == os.getpid():
            with contextlib.suppress(OSError, ValueError):  # it is not there, or the set is closed
                self._epoll.unregister(line.fd)

    def end(self) -> None:
        self._epoll.close()

    def _look(self) -> None:
        for fd, events in self._epoll.poll(0, AT_ONCE):
            if events & ~WRITE:
                self._came(READ, fd)
            if events & ~READ:
                self._came(WRITE, fd)
            for event, waits in self._waits.items():
                if fd in waits:  # all was disarmed, and only one of the two has come
                    with contextlib.suppress(OSError):  # another thread has closed it just now
                        self._epoll.modify(fd, event | select.EPOLLONESHOT)


class LoopWatch(Watch):
    """The watch of a loop where there is no epoll: the loop itself watches, wait by wait."""

    def _watch_for(self, line: Line, event: int, loop: Any) -> None:
        if line.watch is not self.reference:
            line.leave_watch()
            # The number may have been that of a socket which another thread closed just now.
            self._take_out(line.fd)
        line.watch = self.reference
        add = loop.add_reader if event == READ else loop.add_writer
        contextvars.Context().run(add, line.fd, self._came, event, line.fd)  # as for the others

    def _came(self, event: int, fd: int) -> None:
        loop = self.loop()
        if loop is not None:
            (loop.remove_reader if event == READ else loop.remove_writer)(fd)
        super()._came(event, fd)

    def leave(self, line: Line) -> None:
        loop = self.loop()
        if loop is None or loop.is_closed() or self.process != os.getpid():
            return
        if asyncio._get_running_loop() is loop:
            self._take_out(line.fd)
        else:
            # The number may be another socket's by the time that its own loop would look.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._take_out_if_idle, line.fd)

    def end(self) -> None:
        pass  # all of it is the loop's

    def _take_out(self, fd: int) -> None:
        loop = self.loop()
        if loop is not None:
            loop.remove_reader(fd)
            loop.remove_writer(fd)

    def _take_out_if_idle(self, fd: int) -> None:
        if not any(fd in waits for waits in self._waits.values()):
            self._take_out(fd)


def _look(reference: weakref.ref[Watch], loop: Any) -> None:
    watch = reference()
    if watch is not None:
        watch.end_the_late(loop)


def _wake(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(True)


class Watches:
    """The watches of all loops of the process, each made when its loop first waits."""

    kind: type[Watch] = EpollWatch if hasattr(select, "epoll") else LoopWatch

    def __init__(self) -> None:
        self._by_loop: dict[int, weakref.ref[Watch]] = {}
        fork.register(self)

    def of(self, loop: asyncio.AbstractEventLoop) -> Watch:
        """The watch of `loop`, which runs in this thread.

        Raises:
            NotImplementedError: it cannot watch sockets, as Windows' ProactorEventLoop cannot.
        """
        reference = self._by_loop.get(id(loop))
        watch = reference() if reference is not None else None
        if watch is not None and watch.loop() is loop:
            return watch
        return self._make(loop)

    def _make(self, loop: asyncio.AbstractEventLoop) -> Watch:
        # A loop of uvloop that is closed keeps what it had until a collection.
        # A copy is one step in CPython; list(dict.items()) is not, for it makes tuples, which may
        # begin a collection, and that lets other threads run.
        for number, reference in self._by_loop.copy().items():
            watch = reference()
            known = watch.loop() if watch is not None else None
            if watch is not None and (known is None or known.is_closed()):
                watch.end()
            if known is None or known.is_closed():
                self._by_loop.pop(number, None)
        if type(loop).add_reader is asyncio.AbstractEventLoop.add_reader:
            raise NotImplementedError(
                f"{type(loop).__name__} cannot watch sockets (it has no add_reader); on Windows "
                "run a SelectorEventLoop: asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)"
            )
        made = self.kind(loop)
        self._by_loop[id(loop)] = made.reference
        return made

    def after_fork_in_child(self) -> None:
        """Leave the sets to the parent: they are the same ones, and what is done there counts."""
        self._by_loop = {}


watches = Watches()
