"""``python manage.py`` of the test site, as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(*words: str) -> list[str]:
    """The words of ``python manage.py …``, with warnings as errors."""
    return [sys.executable, "-W", "error", "-m", "django", *words]


def environment(**settings: str) -> dict[str, str]:
    """The environment of a shell in which `settings` are set, and the site is chosen."""
    inherited = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    chosen = {"DJANGO_SETTINGS_MODULE": f"{__package__}.settings", "NO_COLOR": "1"}
    return {**inherited, **chosen, "PYTHONPATH": str(ROOT), **settings}


def manage(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python manage.py`` with these variables in its environment."""
    return subprocess.run(
        command(*words),
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
