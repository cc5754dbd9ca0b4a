"""Server-Timing: the header by which browsers show what a response waited for."""

from __future__ import annotations

from .scopes import Scope

HEADER = "Server-Timing"


def server_timing(scope: Scope | None) -> str:
    """What the header says of a scope: the time spent on Redis, in milliseconds, and the commands.

    https://www.w3.org/TR/server-timing/
    """
    commands, seconds = (scope.commands, scope.seconds) if scope is not None else (0, 0.0)
    plural = "command" if commands == 1 else "commands"
    return f'redis;desc="{commands} {plural}";dur={seconds * 1000:.2f}'
