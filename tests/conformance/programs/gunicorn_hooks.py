"""Settings for gunicorn under which a worker says when it is told to end."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

TOLD_TO_END = "told to end: worker"
"""What the log says then."""


def post_worker_init(worker: Any) -> None:
    """Put a word before what the worker does at SIGTERM."""

    def tell(number: int, frame: FrameType | None) -> None:
        os.write(2, f"{TOLD_TO_END} {os.getpid()}\n".encode())
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, tell)
    signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn has it
