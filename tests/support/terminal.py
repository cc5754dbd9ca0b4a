"""Running a program in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path


def in_a_terminal(
    command: list[str], *, columns: int, cwd: Path, env: dict[str, str]
) -> tuple[int, str]:
    """Run `command` where its input and output are a terminal; give its exit code and the text."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(
        command, cwd=cwd, env={**env, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        shown = _read_to_the_end(master)
    return process.returncode, shown


def _read_to_the_end(master: int) -> str:
    pieces = []
    with open(master, "rb", buffering=0) as screen:  # a descriptor has no path
        while True:
            try:
                piece = screen.read(65536)
            except OSError:  # Linux' way to say that nobody writes any more
                break
            if not piece:
                break
            pieces.append(piece)
    text = b"".join(pieces).decode().replace("\r\n", "\n")
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
