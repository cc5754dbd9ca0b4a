"""Those who want something of a pool: in threads of their own, where they may wait."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from redispool import ConnectionPool
from redispool.connection import PooledConnection

from .patience import eventually


class Waiting:
    """A thread that wants a connection; it keeps it until it is told to give it back.

    It is made when the thread has a connection, or an error, or a place in the queue.

    Unless it is told otherwise it waits for longer than any test: a caller who was not woken looks
    for himself at the end of his time, and would pass for one who was.
    """

    def __init__(self, pool: ConnectionPool, timeout: float | None = 60.0) -> None:
        self.pool = pool
        self.error: BaseException | None = None
        self.connection: PooledConnection | None = None
        self._done = threading.Event()
        before = self._state()
        self._thread = threading.Thread(target=self._acquire, args=(timeout,), daemon=True)
        self._thread.start()
        eventually(lambda: self._state() != before or self.ended)

    def _state(self) -> tuple[int, ...]:
        queue = self.pool.capacity.queue
        return len(queue.waiters), len(queue.idle), len(queue.permits)

    def _acquire(self, timeout: float | None) -> None:
        try:
            self.connection = self.pool.acquire(timeout)
        except BaseException as error:
            self.error = error
        finally:
            self._done.set()

    @property
    def ended(self) -> bool:
        """Whether it has a connection or an error."""
        return self._done.is_set()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in it, as soon as it looks up."""
        ident = ctypes.c_ulong(self._thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(KeyboardInterrupt))

    def give_back(self) -> None:
        """Wait until it has a connection, and give that back."""
        assert self._done.wait(10)
        assert self.connection is not None, self.error
        connection, self.connection = self.connection, None
        self.pool.release(connection)


def in_background(work: Callable[[], Any]) -> list[Any]:
    """Run `work` in a thread; what it gives or raises appears in the list."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    threading.Thread(target=run, daemon=True).start()
    return results


def ask(connection: PooledConnection, *command: Any) -> Any:
    """Send one command and read its reply."""
    connection.send_command(*command)
    return connection.read_response()
