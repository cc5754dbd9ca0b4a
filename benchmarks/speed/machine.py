"""The machine and the versions: what the figures are of."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import redispool
from redispool.testing import Server

PACKAGES = (
    "redispool", "redis", "hiredis", "valkey", "libvalkey", "valkey-glide-sync", "valkey-glide",
    "coredis", "uvloop", "asgiref", "flask-redis",
    "django-redis", "Flask", "Django", "FastAPI", "gunicorn", "uvicorn",
)  # fmt: skip


def machine() -> dict[str, str]:
    """What it runs on, and how busy that was before."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1]
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of everything that took part."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    found["redispool"] += commit()
    with Server() as server, server.outside() as client:
        about = client.info("server")
    found["server"] = f"{about.get('server_name', 'redis')} {server_version(about)}"
    if shutil.which("wrk"):
        said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
        found["wrk"] = re.sub(r"^\D*", "", said.split()[1])
    return found


def server_version(about: dict[str, str]) -> str:
    """Valkey tells the version of the Redis that it is compatible with, too."""
    return about.get("valkey_version") or about["redis_version"]


def commit() -> str:
    """Which one of redispool it was, in brackets; nothing outside of a checkout."""
    folder = Path(redispool.__file__).parent
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    with contextlib.suppress(OSError):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return f" ({done.stdout.strip()})"
    return ""
