"""What is seen of the processes on this host, or why nothing is, and what to do about that."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..factory import PoolFactory
from ..live import LivePool, Unreadable
from ..whereabouts import VARIABLE

ONE_FOR_ALL = f"set {VARIABLE} to one directory for the processes and for this command"


def seen(factory: PoolFactory, aliases: Iterable[str]) -> tuple[list[LivePool], str]:
    """The pools of `aliases` in all processes; where there are none, why, and what to do."""
    try:
        pools = factory.live()
    except Unreadable as reason:
        return [], f"Nothing is seen: {reason}. {_advice(factory)}"
    wanted = set(aliases)
    if not wanted >= factory.options.keys():  # else also those that the settings do not know
        pools = [pool for pool in pools if pool.stats.alias in wanted]
    return pools, "" if pools else _nothing(factory)


def seen_of_others(factory: PoolFactory, aliases: Iterable[str]) -> tuple[list[LivePool], str]:
    """The same without this process, for what has to ask servers and so has pools itself."""
    pools, why_none = seen(factory, aliases)
    others = [pool for pool in pools if pool.process != os.getpid()]
    return others, why_none if others or why_none else _nothing(factory)


def _nothing(factory: PoolFactory) -> str:
    here = factory.directory
    return f"Nothing is seen: no process shows figures in {here} now. {_advice(factory)}"


def _advice(factory: PoolFactory) -> str:
    if factory.directory is None:
        return f"Give {VARIABLE} the path of a directory, or leave it out."
    others = _directories_of_others(factory.directory.parent)
    if others:
        return (
            f"There are figures of other users: {', '.join(others)}. Run this command as the user "
            f"of the processes, for nobody else may read them; or, with one user, {ONE_FOR_ALL}."
        )
    return (
        "A process is seen from its first use of a pool on. One that uses Redis already runs as "
        "another user, from another folder, or with a temporary directory of its own (a container, "
        f"systemd's PrivateTmp=): {ONE_FOR_ALL}. All that are connected are in: redispool clients"
    )


def _directories_of_others(own: Path) -> list[str]:
    """Where other users' processes show their figures, in the usual place."""
    found = []
    for path in sorted(Path(tempfile.gettempdir()).glob("redispool-*")):
        try:
            user = path.lstat().st_uid
        except OSError:
            continue
        if path != own and user != os.geteuid() and path.name == f"redispool-{user}":
            found.append(f"{path} ({_name_of(user)})")
    return found


def _name_of(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
