"""The board: the figures of one pool in a file, which other processes of the same user may read.

The file is mapped, so what a pool notes is there at once, also when the process does nothing more,
hangs or is killed; nothing is sent, and no thread is needed. Who has the file locked lives: the
kernel takes the lock away with the process, whose number may be used again. prometheus-client's
files for many processes gave the idea of mapping.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import itertools
import json
import mmap
import os
import secrets
import sys
import time
import weakref
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .cells import POOL_BYTES
from .figures import RECORD_BYTES, Record

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, lockf
except ImportError:  # on Windows
    lockf = None  # type: ignore[assignment]

SUFFIX = ".pool"
UNFINISHED = ".new"
"""What is added to the name of a file until it is whole."""
MAGIC = b"redispool board 3\n"
"""What a file of this layout begins with."""
ABOUT, OUTAGE, CELLS = 64, 2048, 3072
"""Where what is said of the pool stands, the outage in words, and the cells of the pool."""
HEAD_BYTES = max(4096, mmap.ALLOCATIONGRANULARITY)
RECORDS = HEAD_BYTES // RECORD_BYTES * 8
"""How many records are mapped at once."""

_own: dict[str, weakref.ref[Board]] = {}
"""The boards of this process, and of its parent where it was forked, by the names of the files."""


class Board:
    """One file; removed with the board, and at the end of the process.

    Args:
        directory: private to the user; see `redispool.whereabouts`.
        about: what stays as it is: the alias and so on; plain values.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, directory: Path, about: Mapping[str, Any]) -> None:
        if lockf is None:
            raise OSError("this system cannot lock files as live figures need it")
        self._process = os.getpid()
        self._numbers = itertools.count()
        self._maps: list[mmap.mmap] = []  # none is ever closed: the lock would go with it
        self._chunks: list[memoryview] = []
        self._free: deque[memoryview] = deque()
        self._missed: list[int] = []
        """Numbers of parts that could not be mapped."""
        name = f"{self._process}-{secrets.token_hex(4)}{SUFFIX}"
        self.path = directory / name
        self._file = -1
        # First of all: another thread that looks must not open the file, see `image`.
        _own[name] = weakref.ref(self, lambda _: _own.pop(name, None) and None)
        unfinished = directory / f"{name}{UNFINISHED}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(unfinished, flags, 0o600)
        try:
            # Of the process and not of the open file: a forked child does not inherit it.
            lockf(self._file, LOCK_EX)
            self._head = self._map(0, HEAD_BYTES)
            text = json.dumps({**about, "process": self._process, **_program()}).encode()
            if len(text) > OUTAGE - ABOUT:
                raise OSError("the names of the pool and its server are too long to be shown")
            self._write(ABOUT, OUTAGE, text)
            self._head[: len(MAGIC)] = MAGIC
            unfinished.rename(self.path)  # whole, and locked, before anyone sees it
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise

    def cells(self) -> memoryview:
        """Memory for `Cells`."""
        return self._head[CELLS : CELLS + POOL_BYTES]

    def record(self) -> Record:
        """Memory for the figures of one more place.

        Raises:
            OSError: the disk is full.
        """
        try:
            return Record(self._free.popleft())
        except IndexError:
            pass  # outside of this block: mapping may be interrupted, or fail
        size = RECORDS * RECORD_BYTES
        # Of two who come here at the same time each maps a part of the file for itself: what is
        # mapped is written first, and nobody may write where another has a record already.
        try:
            number = self._missed.pop()
        except IndexError:
            number = next(self._numbers)
        try:
            chunk = self._map(HEAD_BYTES + number * size, size)
        except BaseException:
            self._missed.append(number)
            raise
        self._chunks.append(chunk)
        first, *others = (chunk[at : at + RECORD_BYTES] for at in range(0, size, RECORD_BYTES))
        self._free.extend(others)
        return Record(first)

    def note_outage(self, reason: str) -> None:
        """Say why the server is away; empty when it is back."""
        self._write(OUTAGE, CELLS, reason.encode(errors="replace"))

    def image(self) -> bytes:
        """The file as others read it. Its own process must not open it: closing drops the lock."""
        return b"".join(map(bytes, [self._head, *self._chunks]))

    def end(self) -> None:
        """Remove the file; of a parent's, in a forked child, only this process' part of it."""
        if self._process == os.getpid():
            with contextlib.suppress(OSError):
                self.path.unlink()
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _map(self, offset: int, size: int) -> memoryview:
        # Written, not only made longer: a full disk is an error here, and a signal later.
        if os.pwrite(self._file, bytes(size), offset) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        mapped = mmap.mmap(self._file, size, offset=offset)
        self._maps.append(mapped)
        return memoryview(mapped)

    def _write(self, start: int, end: int, text: bytes) -> None:
        self._head[start:end] = text[: end - start].ljust(end - start, b"\0")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.end()


def is_alive(file: int) -> bool:
    """Whether the process that made the open file `file` still has it locked."""
    try:
        lockf(file, LOCK_SH | LOCK_NB)
    except OSError:
        return True
    return False


def own_board(name: str) -> Board | None:
    """The board of this process whose file is called `name`, be it finished or not."""
    reference = _own.get(name.removesuffix(UNFINISHED))
    board = reference() if reference is not None else None
    return board if board is not None and board._process == os.getpid() else None


def _program() -> dict[str, Any]:
    """What the process is called; no arguments, which may hold secrets."""
    path = Path(sys.argv[0] if sys.argv and sys.argv[0] else sys.executable)
    name = path.parent.name if path.name == "__main__.py" else path.name
    return {"program": name, "started": time.time()}


@atexit.register
def _end_all() -> None:
    for reference in list(_own.values()):
        if (board := reference()) is not None:
            board.end()
