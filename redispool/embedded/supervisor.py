"""The supervisor of a directory: the process that runs the server for as long as it has users.

``launcher`` runs this file as a script, with the standard library alone, so that it is up in some
milliseconds and nothing of the application can disturb it: it must not import a sibling. The
names of the files and the few helpers that both sides need live here for that reason.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

if sys.platform != "win32":  # there is no wheel for it, which checks.py says before a lock is asked
    import fcntl

SOCKET = "redis.sock"
USERS = "users.lock"
"""Shared by every process that uses the server, while it lives."""
START = "start.lock"
"""Held by whoever starts a supervisor and handed down to it, until that has its own lock."""
SUPERVISOR = "supervisor.lock"
"""Held by the supervisor from when no server but its own can answer, until it ends."""
SERVER = "server.lock"
"""Held by the server alone: one that outlives its supervisor keeps its data from the next one."""
LOG = "server.log"

_TICK = 0.5
"""Seconds between two looks at the users."""
_LINGER = 2.0
"""Seconds without a user before the end, so that a reload does not restart the server."""
_STOP_TIMEOUT = 3.0
"""Seconds that a server has to save its data and end."""
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


def take_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take the lock of a file if it is free: gives the descriptor that holds it, or None."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    taken = False
    try:
        taken = _try_flock(descriptor, shared=shared)
    finally:
        if not taken:
            os.close(descriptor)
    return descriptor if taken else None


def release_lock(descriptor: int) -> None:
    """Release a lock, also where a fork has copied the descriptor: closing alone would not."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file exclusively, without being in the way."""
    descriptor = take_lock(path, shared=True)
    if descriptor is None:
        return True
    release_lock(descriptor)
    return False


def is_same_file(descriptor: int, path: Path) -> bool:
    """Tell whether the descriptor is (still) open on the file that has this path (now)."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def ask(path: Path, commands: bytes, timeout: float) -> bytes:
    """Send commands, of which the last ends the connection, and give the replies.

    They are empty when nobody is there. As this reads to the end, the server no longer counts the
    connection when it returns. ``timeout`` is in seconds, for each step.
    """
    replies = b""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(timeout)
        connection.connect(os.fspath(path))
        connection.sendall(commands)
        while received := connection.recv(4096):
            replies += received
    return replies


def _try_flock(descriptor: int, *, shared: bool = False) -> bool:
    # Never waits: a waiting flock knows no deadline, and stops all greenlets of a process.
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Supervisor:
    """Runs one server, from its start to its end."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self._directory = directory
        self._binary = binary
        self._users = os.open(directory / USERS, os.O_RDWR | os.O_CREAT, 0o600)
        self._unused_since: float | None = None
        self._told_to_end = False
        self._wakeup = self._listen_to_signals()

    def run(self, start_lock: int) -> None:
        """Start the server, and give back control when it has ended with its data saved."""
        try:
            data_lock = self._claim_data()
            self._lock = self._wait_for(SUPERVISOR)
        finally:
            release_lock(start_lock)
        _note_holder(self._lock, os.getpid())
        server = self._start(data_lock)
        while server.poll() is None and not self._must_end():
            # SIGCHLD and the signals to end write a byte here: no later than a tick, often sooner.
            if select.select([self._wakeup], [], [], _TICK)[0]:
                os.read(self._wakeup, 512)
        self._end(server)

    def _listen_to_signals(self) -> int:
        """Give a descriptor that becomes readable at a signal; unblock what the starter blocked."""

        def note(number: int, frame: object) -> None:
            self._told_to_end |= number != signal.SIGCHLD

        readable, writable = os.pipe()
        os.set_blocking(writable, False)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, note)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return readable

    def _start(self, lock: int) -> subprocess.Popen[bytes]:
        directory = os.fspath(self._directory)
        listening = ("--port", "0", "--unixsocket", f"{directory}/{SOCKET}")
        private = ("--unixsocketperm", "700", "--daemonize", "no")
        data = ("--dir", directory, "--appendonly", "yes", "--save", "")
        server = subprocess.Popen(
            (os.fspath(self._binary), *listening, *private, *data),
            stdin=subprocess.DEVNULL,
            pass_fds=(lock,),
            preexec_fn=functools.partial(_end_with_parent, os.getpid()),
        )
        _note_holder(lock, server.pid)
        os.close(lock)  # the server's copy holds the lock from now on
        return server

    def _claim_data(self) -> int:
        """Take ``server.lock``; a server that lost its supervisor is told to save and end."""
        if is_locked(self._directory / SERVER):
            ask(self._directory / SOCKET, b"SHUTDOWN\r\n", _STOP_TIMEOUT)
        lock = self._wait_for(SERVER)
        # Whoever answers now was not started here, and is left in peace.
        if ask(self._directory / SOCKET, b"PING\r\nQUIT\r\n", _STOP_TIMEOUT):
            raise SystemExit(f"a server that redispool did not start uses {self._directory}")
        return lock

    def _wait_for(self, name: str) -> int:
        path = self._directory / name
        deadline = time.monotonic() + _STOP_TIMEOUT
        while (lock := take_lock(path)) is None:
            if time.monotonic() >= deadline:
                pid = path.read_text(encoding="ascii").strip()
                raise SystemExit(f"an older server (process {pid}) uses the data and does not end")
            time.sleep(0.02)
        return lock

    def _must_end(self) -> bool:
        return self._told_to_end or not self._owns_directory() or self._is_unused()

    def _owns_directory(self) -> bool:
        """False when the directory was removed: whoever comes now starts another server."""
        return is_same_file(self._lock, self._directory / SUPERVISOR)

    def _is_unused(self) -> bool:
        """True, and newcomers have to wait from now on, when nobody came for long enough."""
        if not _try_flock(self._users):
            self._unused_since = None
            return False
        now = time.monotonic()
        if self._unused_since is None:
            self._unused_since = now
        if now - self._unused_since >= _LINGER:
            return True
        fcntl.flock(self._users, fcntl.LOCK_UN)
        return False

    def _end(self, server: subprocess.Popen[bytes]) -> None:
        """Let the server save and end, then free the way for the next supervisor."""
        if self._owns_directory():
            server.terminate()
        else:
            server.kill()  # its data is gone, and it might remove the socket of a successor
        try:
            server.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.returncode:
            sys.stderr.write(f"the server ended with code {server.returncode}\n")
        if self._owns_directory():
            (self._directory / SOCKET).unlink(missing_ok=True)


def _note_holder(lock: int, pid: int) -> None:
    """Write into a lock file who holds it, for people who look."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % pid, 0)


def _end_with_parent(parent: int) -> None:
    """Have the kernel end the server, with its data saved, when the supervisor is killed.

    Runs in the server's process before its program does. Only Linux knows this; elsewhere, and on
    a Python without ctypes, the next supervisor ends such a server.
    """
    if sys.platform == "linux":
        with contextlib.suppress(ImportError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before the kernel knew
            os.kill(os.getpid(), signal.SIGTERM)


def main(directory: str, binary: str, start_lock: str) -> None:
    """Go into the background and supervise; called with the arguments that ``launcher`` gives."""
    if os.fork():
        os._exit(0)  # at once, as the starter waits for it: so that no zombie is left to it
    os.chdir(directory)
    os.umask(0o077)
    Supervisor(Path(directory), Path(binary)).run(int(start_lock))


if __name__ == "__main__":
    main(*sys.argv[1:])
