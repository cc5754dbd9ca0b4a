"""Running a program in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path


def in_a_terminal(
    command: list[str],
    *,
    columns: int,
    cwd: Path,
    env: dict[str, str],
    interrupt_after: tuple[bytes, int] | None = None,
) -> tuple[int, str]:
    """Run `command` where its input and output are a terminal; give its exit code and the text.

    Args:
        command: the program and its words.
        columns: the width of the terminal.
        cwd: where it is started.
        env: its environment.
        interrupt_after: what it has to write, and how often, before Ctrl-C is pressed.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(
        command, cwd=cwd, env={**env, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        words, times = interrupt_after or (b"", 0)
        shown = _read_to_the_end(
            master,
            lambda text: times and text.count(words) >= times,
            lambda: process.send_signal(signal.SIGINT),
        )
    return process.returncode, shown


def _read_to_the_end(
    master: int, enough: Callable[[bytes], object], interrupt: Callable[[], None]
) -> str:
    pieces: list[bytes] = []
    interrupted = False
    with open(master, "rb", buffering=0) as screen:  # a descriptor has no path
        while True:
            try:
                piece = screen.read(65536)
            except OSError:  # Linux' way to say that nobody writes any more
                break
            if not piece:
                break
            pieces.append(piece)
            if not interrupted and enough(b"".join(pieces)):
                interrupt()
                interrupted = True
    text = b"".join(pieces).decode().replace("\r\n", "\n")
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
