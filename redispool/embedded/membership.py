"""Being one of the users of a server, and starting it for the first one."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

from redispool import fork
from redispool.embedded.checks import prepare
from redispool.embedded.launcher import last_words, launch
from redispool.embedded.supervisor import (
    SERVER,
    SOCKET,
    START,
    SUPERVISOR,
    USERS,
    ask,
    is_locked,
    is_same_file,
    release_lock,
    take_lock,
)
from redispool.errors import EmbeddedServerError

_START_TIMEOUT = 10.0
_PING_TIMEOUT = 1.0
_SHORTEST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


def join(directory: Path) -> Path:
    """Make sure that the server of ``directory`` runs and counts this process among its users.

    Gives the path of its unix socket. Cheap when nothing has changed since the last call, so it
    can be called at each connect, from any thread. The process stays a user until it ends, however
    it ends; a forked child is one as well, also after its parent's end.

    Raises :exc:`EmbeddedServerError` when the server cannot be used, see :func:`check`, or is not
    ready within 10 seconds.
    """
    directory = directory.absolute()
    membership = _memberships.get(directory)
    if membership is None:
        membership = _memberships.setdefault(directory, Membership(directory))
    membership.renew()
    return directory / SOCKET


class Membership:
    """A process's share of ``users.lock``, and what it knows of the server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / SOCKET
        self._mutex = threading.Lock()
        self._users: int | None = None  # the descriptor that holds the share
        self._answered: tuple[int, int] | None = None  # which socket has answered
        fork.register(self)

    def renew(self) -> None:
        """Join, or make sure of having joined."""
        deadline = time.monotonic() + _START_TIMEOUT
        if not self._mutex.acquire(timeout=_START_TIMEOUT):
            raise self._late()
        try:
            self._renew(deadline)
        except OSError as error:
            message = f"the embedded server of {self._directory}: {error}"
            raise EmbeddedServerError(message) from error
        except subprocess.TimeoutExpired as error:
            raise self._late() from error
        finally:
            self._mutex.release()

    def after_fork_in_child(self) -> None:
        """In a forked child: do not wait for a thread that only the parent has.

        The share of ``users.lock`` was inherited and stays.
        """
        self._mutex = threading.Lock()

    def _renew(self, deadline: float) -> None:
        if not self._is_user():
            prepare(self._directory)
        launched = False
        pause = _SHORTEST_PAUSE
        while time.monotonic() < deadline:
            if self._become_user():
                if is_locked(self._directory / SUPERVISOR):
                    if self._is_ready():
                        return
                elif (lock := self._take_start_lock()) is not None:
                    if launched:
                        raise self._failed(lock)
                    self._launch(lock, deadline)
                    launched = True
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise self._late()

    def _is_user(self) -> bool:
        # Looks at the file as well: the directory may have been removed, and a daemon that closed
        # all its descriptors may have given the number to another file.
        return self._users is not None and is_same_file(self._users, self._directory / USERS)

    def _become_user(self) -> bool:
        """Take a share of ``users.lock``; False while a supervisor without users is ending."""
        if not self._is_user():
            self._users = take_lock(self._directory / USERS, shared=True)
        return self._users is not None

    def _is_ready(self) -> bool:
        """Tell whether the server lives and answers; one that has answered is not asked again."""
        try:
            status = self._socket.stat()
        except FileNotFoundError:
            return False
        found = (status.st_ino, status.st_ctime_ns)
        if found == self._answered:
            return is_locked(self._directory / SERVER)
        reply = ask(self._socket, b"PING\r\nQUIT\r\n", _PING_TIMEOUT)
        if not reply or reply.startswith(b"-LOADING"):
            return False
        self._answered = found
        return True

    def _take_start_lock(self) -> int | None:
        """Take ``start.lock``, unless another process starts a supervisor, or just did."""
        lock = take_lock(self._directory / START)
        if lock is not None and is_locked(self._directory / SUPERVISOR):
            release_lock(lock)
            return None
        return lock

    def _launch(self, lock: int, deadline: float) -> None:
        try:
            launch(self._directory, lock, timeout=deadline - time.monotonic())
        finally:
            os.close(lock)  # not released: it is the supervisor's from now on

    def _failed(self, lock: int) -> EmbeddedServerError:
        """Say why the supervisor ended, while the lock keeps others from starting a new log."""
        words = last_words(self._directory)
        release_lock(lock)
        return EmbeddedServerError(
            f"the embedded server of {self._directory} did not start. {words}"
        )

    def _late(self) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"the embedded server of {self._directory} was not ready within {_START_TIMEOUT:g} "
            f"seconds; it may need longer to load its data. {last_words(self._directory)}"
        )


_memberships: dict[Path, Membership] = {}
