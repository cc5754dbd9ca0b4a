"""Servers: the commands that serve an application with one process."""

from __future__ import annotations

import sys

from .suite import Serve


def gunicorn(threads: int, core: int | None = None) -> Serve:
    """gunicorn with threads, for WSGI; kept on one core where that is given."""
    on_it = [] if core is None else ["taskset", "--cpu-list", str(core)]

    def serve(application: str, port: int) -> list[str]:
        worker = ["--workers", "1", "--worker-class", "gthread", "--threads", str(threads)]
        command = [*on_it, sys.executable, "-m", "gunicorn", "--no-control-socket"]
        return [*command, "--bind", f"127.0.0.1:{port}", *worker, application]

    return serve


def uvicorn(application: str, port: int) -> list[str]:
    """uvicorn, for ASGI; it takes uvloop where that is installed."""
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    return [*command, "--no-access-log", "--log-level", "warning", application]
