"""Live figures: what the pools of all processes of an application on this host do now.

Read from the files that the pools keep (`redispool.board`): no server is asked, and no process.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, time
from typing import Any, NamedTuple

from .board import ABOUT, CELLS, HEAD_BYTES, MAGIC, OUTAGE, SUFFIX, is_alive, own_board
from .cells import COUNTED, POOL_BYTES, SHOWN
from .census import so_far
from .figures import CONNECTING, EXPLICIT, OPEN, RECORD_BYTES, SINCE, STATE, Record, Total
from .policy import DIAL_MOST
from .stats import PoolStats
from .whereabouts import check_private


@dataclass(frozen=True)
class Holder:
    """Who holds a connection for longer than one command."""

    name: str
    """The thread or task."""
    place: str
    """The line of code that took it, as ``file:line in function``."""
    seconds: float


@dataclass(frozen=True)
class LivePool:
    """One pool of one process."""

    process: int
    program: str
    """What the process was started as; none of its arguments."""
    started: float
    """When the pool was first used, in seconds since 1970."""
    face: str
    """``threads`` or ``asyncio``: for whom the pool is."""
    stats: PoolStats
    holders: tuple[Holder, ...]
    """Who holds connections for longer than one command, the longest first."""


class Dials(NamedTuple):
    """When a pool last dialled, and when with success, on the monotonic clock."""

    dialled_at: float
    reached_at: float


MAKING = 60.0
"""Seconds after which a file that nobody has locked is not about to be finished any more."""


class Unreadable(Exception):
    """Why nothing can be seen, in words for the user."""


def read(directory: Path | None) -> list[LivePool]:
    """The pools of all processes, by process, alias and face.

    What dead processes left is removed.

    Args:
        directory: where they show their figures.

    Raises:
        Unreadable: they show none, or not to this user.
    """
    if directory is None:
        raise Unreadable("live figures are switched off: the directory for them is empty")
    try:
        check_private(directory)
        paths = sorted(directory.iterdir())
    except FileNotFoundError:
        raise Unreadable(f"no process has shown figures in {directory} yet") from None
    except OSError as error:
        raise Unreadable(str(error)) from error
    images = (_image(path) for path in paths if SUFFIX in path.name)
    return _with_subscriptions(_parsed(image for image in images if image is not None))


def _image(path: Path) -> bytes | None:
    """What stands in a file; None where its process is gone, or has not finished making it."""
    board = own_board(path.name)
    if board is not None:
        return board.image() if path.suffix == SUFFIX else None
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None  # it has just been removed
    try:
        if is_alive(file):
            return _whole(file) if path.suffix == SUFFIX else None
        # Its process may be about to lock it.
        if path.suffix == SUFFIX or time() - os.fstat(file).st_mtime > MAKING:
            with contextlib.suppress(OSError):
                path.unlink()
        return None
    finally:
        os.close(file)


def _whole(file: int) -> bytes:
    parts = []
    while part := os.read(file, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _parsed(images: Iterable[bytes]) -> Iterator[tuple[dict[str, Any], LivePool]]:
    now = monotonic()
    for image in images:
        if image.startswith(MAGIC) and len(image) >= HEAD_BYTES:
            cells = memoryview(image)[CELLS : CELLS + POOL_BYTES].cast("d")
            shown = dict(zip(SHOWN, cells.tolist(), strict=True))
            dials = Dials(shown["dialled_at"], shown["reached_at"])
            about = {**json.loads(_text(image, ABOUT, OUTAGE)), "dials": dials}
            yield about, _pool(about, shown, image, now)


def _pool(
    about: Mapping[str, Any], shown: Mapping[str, float], image: bytes, now: float
) -> LivePool:
    records = [Record(place) for place in _places(image)]
    states = [(record.cells[STATE], record.cells[SINCE]) for record in records]
    idle = states.count((OPEN, 0.0))
    in_use = sum(state == OPEN and since > 0 for state, since in states)
    connecting = sum(state == CONNECTING for state, _ in states)
    size = int(shown["max_connections"])
    holders = _holders(records, now)
    limit = about["leak_threshold"]
    suspects = [held for held in holders if limit is not None and held.seconds >= limit]
    stats = PoolStats(
        alias=about["alias"],
        server=about["server"],
        max_connections=size,
        min_idle=about["min_idle"],
        max_waiting=about["max_waiting"],
        idle=idle,
        in_use=in_use,
        connecting=connecting,
        permits=max(size - idle - in_use - connecting, 0),
        waiting=int(shown["waiting"]),
        oldest_wait_seconds=_ago(shown["waiting_since"], now),
        pubsub=0,
        pubsub_timeouts_total=0,
        shared_in_flight=0,  # what changes several times within each turn of a loop is not shown
        away_seconds=_ago(shown["away_since"], now),
        away_reason=_text(image, OUTAGE, CELLS) if shown["away_since"] else "",
        leak_suspects=len(suspects),
        oldest_lease_seconds=max((_ago(since, now) for _, since in states), default=0.0),
        closed=bool(shown["shut"]),
        **so_far(Total(records), {name: int(shown[name]) for name in COUNTED}),
    )
    named = {name: about[name] for name in ("process", "program", "started", "face")}
    return LivePool(stats=stats, holders=holders, **named)


def _places(image: bytes) -> Iterator[memoryview]:
    places = memoryview(bytearray(image))
    for start in range(HEAD_BYTES, len(image) - RECORD_BYTES + 1, RECORD_BYTES):
        yield places[start : start + RECORD_BYTES]


def _holders(records: Iterable[Record], now: float) -> tuple[Holder, ...]:
    held = [record for record in records if record.cells[SINCE] and record.cells[EXPLICIT]]
    found = [Holder(*record.holder(), _ago(record.cells[SINCE], now)) for record in held]
    return tuple(sorted(found, key=lambda holder: -holder.seconds))


def _with_subscriptions(found: Iterable[tuple[dict[str, Any], LivePool]]) -> list[LivePool]:
    """The pools; those that lend to subscriptions are figures of the pools that they belong to."""
    pools: dict[str, LivePool] = {}
    dials: dict[str, Dials] = {}
    subscriptions: dict[str, PoolStats] = {}
    for about, pool in found:
        key = about["pool"]
        if about["subscriptions"]:
            subscriptions[key] = pool.stats
        else:
            pools[key], dials[key] = pool, about["dials"]
    joined = {
        key: replace(pool, stats=_joined(pool.stats, subscriptions.get(key)))
        for key, pool in pools.items()
    }
    current = _without_old_outages(joined, dials, monotonic())
    return sorted(current, key=lambda pool: (pool.process, pool.stats.alias, pool.face))


def _without_old_outages(
    pools: Mapping[str, LivePool], dials: Mapping[str, Dials], now: float
) -> Iterator[LivePool]:
    """The pools, none with an outage that another process knows to be over.

    Here, for all who show figures, is decided what is current. A pool learns of the end with its
    next dial, and one that nobody uses does not dial; so it is told by one that has dialled the
    same server, under the same alias, later and with success. Who is used sees for himself.

    Args:
        pools: by their tokens.
        dials: of each.
        now: on the monotonic clock.
    """
    reached: dict[tuple[str, str], float] = {}
    for key, pool in pools.items():
        server = pool.stats.alias, pool.stats.server
        reached[server] = max(reached.get(server, 0.0), dials[key].reached_at)
    for key, pool in pools.items():
        stats, last = pool.stats, dials[key].dialled_at
        # Between two dials callers may be told at once that the server is away.
        used = stats.waiting or stats.connecting or now - last <= DIAL_MOST
        if not used and reached[stats.alias, stats.server] > last:
            stats = replace(stats, away_seconds=0.0, away_reason="")
        yield replace(pool, stats=stats)


def _joined(stats: PoolStats, subscriptions: PoolStats | None) -> PoolStats:
    if subscriptions is None:
        return stats
    return replace(
        stats,
        pubsub=subscriptions.in_use,
        pubsub_timeouts_total=subscriptions.timeouts_total,
        commands_total=stats.commands_total + subscriptions.commands_total,
    )


def _text(image: bytes, start: int, end: int) -> str:
    return image[start:end].rstrip(b"\0").decode(errors="replace")


def _ago(since: float, now: float) -> float:
    return max(now - since, 0.0) if since else 0.0
