"""Whereabouts: the directory, private to the user, where an application's processes meet."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from .errors import InvalidOption

VARIABLE = "REDISPOOL_LIVE_DIRECTORY"
"""The environment's word for the directory; an empty one switches live figures off."""


def directory_of(application: Path, chosen: Path | str | None = None) -> Path | None:
    """Where the pools of `application` show their figures; nothing is made yet.

    The same for every process of an application, and for none of another one.

    Args:
        application: the folder of the project.
        chosen: the directory under which the applications have theirs; where it is None, what
            `VARIABLE` says, and else one of the user's in the system's temporary directory.

    Returns:
        The directory; None where there shall be none.

    Raises:
        InvalidOption: `chosen` is no path.
    """
    chosen = os.environ.get(VARIABLE) if chosen is None else chosen
    if chosen == "":
        return None
    if chosen is not None and not isinstance(chosen, str | Path):
        raise InvalidOption(VARIABLE, f"must be the path of a directory, not {chosen!r}")
    folder = application.resolve()
    # Of the project's folder, for processes of one application may work in several.
    root = folder / chosen if chosen is not None else _usual_root()
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.name)[:40] or "root"
    # Not what the user may read only: it tells folders of the same name apart.
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return root / f"{readable}-{mark}"


def make_private(directory: Path) -> Path:
    """Make `directory` where it is missing.

    Raises:
        OSError: it cannot be made, or it is not the user's alone: somebody else may have made it
            first, to read what is written or to let it be written elsewhere.
    """
    directory.parent.parent.mkdir(parents=True, exist_ok=True)
    for path in (directory.parent, directory):
        path.mkdir(0o700, exist_ok=True)
        check_private(path)
    return directory


def check_private(directory: Path) -> None:
    """Raise `OSError` where `directory` is missing, a link, another user's, or open to others."""
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(f"{directory} is no directory of this user's own")
    if found.st_uid != os.geteuid():
        raise OSError(f"{directory} belongs to user {found.st_uid}, not to {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise OSError(f"{directory} is open to others; run  chmod 700 {directory}")


def _usual_root() -> Path:
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    return Path(tempfile.gettempdir()) / f"redispool-{user}"
