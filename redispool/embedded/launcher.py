"""Starting a supervisor, detached from this process, its terminal, files and environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from redispool.embedded import supervisor
from redispool.embedded.wheel import find_binary
from redispool.errors import EmbeddedServerError

# What programs and libraries need to run at all. The rest stays behind: passwords of the
# application, and WERKZEUG_RUN_MAIN, LISTEN_FDS and the like, which mean this process alone.
_KEPT_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LD_LIBRARY_PATH")

_SHOWN_LOG_LINES = 8


def launch(directory: Path, lock: int, timeout: float) -> None:
    """Start the supervisor of ``directory``, and return when it is in the background.

    It inherits ``lock``, the descriptor that holds ``start.lock``; what becomes of it shows in the
    locks and at the socket. It is no child of this process, so it leaves no zombie here, and no
    process manager takes it for a worker. Raises :exc:`subprocess.TimeoutExpired` after
    ``timeout`` seconds.
    """
    program = (_find_python(), "-I", "-S", supervisor.__file__)
    log = directory / supervisor.LOG
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    log.touch(0o600)
    with log.open("ab") as output:
        subprocess.run(
            (*program, directory, find_binary(), str(lock)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            start_new_session=True,  # a Ctrl-C in this terminal is not meant for it
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            cwd="/",
            timeout=timeout,
            check=False,
        )


def last_words(directory: Path) -> str:
    """Give the end of the server's log, for an error message."""
    log = directory / supervisor.LOG
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"({log} cannot be read)"
    return f"The end of {log}:\n" + "\n".join(lines[-_SHOWN_LOG_LINES:])


def _find_python() -> str:
    """Give the path of a Python: ``sys.executable`` may be uWSGI, or a frozen application."""
    in_prefixes = (f"{prefix}/bin/python3" for prefix in (sys.prefix, sys.base_prefix))
    candidates = (sys.executable, getattr(sys, "_base_executable", None), *in_prefixes)
    for path in map(str, filter(None, candidates)):
        if Path(path).name.lower().startswith(("python", "pypy")) and os.access(path, os.X_OK):
            return path
    raise EmbeddedServerError(
        f"embedded:// needs a Python to run its supervisor with, and found none: sys.executable is "
        f"{sys.executable!r}, and {sys.prefix}/bin has no python3. Install it there, or set the "
        "URL of a running server (redis://localhost:6379/0)"
    )
