"""The multiplexer: which commands share a connection, and the trunk of each event loop for them.

After design C3 of the measurements that preceded the pool for asyncio, and the implicit pipelining
of Java's Lettuce and .NET's StackExchange.Redis.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from ..ledger import PLAIN, is_plain
from ..packing import TEXTS, encodes_alike, pack_one
from .trunk import Trunk

if TYPE_CHECKING:
    from .pool import AsyncConnectionPool

LARGE = 16 * 1024
"""Bytes from which on a command has a connection to itself: at 100 Mbit/s others would have to wait
for more than a millisecond until it is written."""
LINES = 3
"""Trunks that one loop may use at once: a new one, and those that a slow reply holds up."""


def nothing() -> None:
    """Stands for a reference to what is no more."""


class Multiplexer:
    """The trunks of one pool in one process.

    It does not know the pool, which knows it: pools go with their last reference. Nor does it hold
    a trunk: what is in flight knows its loop, and what knows a loop must not outlast it.

    Args:
        pool: has begun.
    """

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self.pool = weakref.ref(pool)
        self._trunks: dict[int, weakref.ref[Trunk]] = {}
        self._newest: Callable[[], Trunk | None] = nothing
        """The trunk that was asked for last: most processes have one loop."""
        self.seconds = pool.options.socket_timeout
        """How long a line may be silent while replies are owed; None for ever."""
        encoder: Any = pool.get_encoder()
        self._encode = None if encodes_alike(encoder) else encoder.encode

    def ask(
        self, args: tuple[Any, ...], options: Mapping[str, Any], now: float
    ) -> asyncio.Future[Any] | None:
        """A future of the reply; None where the command has to have a connection to itself.

        So it is with all that blocks, leaves something behind, is large, or is read in another way.
        The future never raises: an error is a value, be it of the server or of the line.

        Args:
            args: the command.
            options: redis-py's for it, such as ``NEVER_DECODE``.
            now: the time, on the monotonic clock.

        Raises:
            redis.DataError: an argument is neither text, bytes nor number.
        """
        if (
            (args[0] not in PLAIN and not is_plain(args))
            or NEVER_DECODE in options
            or EMPTY_RESPONSE in options
        ):
            return None
        short = len(args) == 2 and type(args[1]) in TEXTS  # as most are
        if short and self._encode is None:
            packed = pack_command(args)
        else:
            packed = pack_one(args if self._encode is None else tuple(map(self._encode, args)))
        if len(packed) >= LARGE:
            return None
        # Of the running loop, which it tells at less than the price of asking for that.
        reply: asyncio.Future[Any] = asyncio.Future()
        loop = reply.get_loop()
        trunk = self._newest()
        if trunk is None or trunk.loop is not loop:
            trunk = self._trunk_of(loop)
        trunk.waiting.append((packed, reply, now))
        if not trunk.called:
            trunk.call()
        return reply

    def _trunk_of(self, loop: asyncio.AbstractEventLoop) -> Trunk:
        reference = self._trunks.get(id(loop))
        trunk = reference() if reference is not None else None
        if trunk is None or trunk.loop is not loop:
            return self._open(loop)
        self._newest = trunk.reference
        return trunk

    def succeed(self, trunk: Trunk) -> None:
        """Put another in the place of `trunk`, which ends when its replies have come."""
        heir = self._open(trunk.loop)
        heir.elders = [*trunk.busy_elders(), trunk.reference]
        trunk.hand_on(heir)

    def has_room(self, trunk: Trunk) -> bool:
        """Whether there is a connection for another trunk of a loop, which `trunk` holds up."""
        pool = self.pool()
        if pool is None or len(trunk.busy_elders()) + 1 >= LINES:
            return False
        queue = pool.capacity.queue
        return bool(queue.idle or queue.permits) and not queue.waiters

    def in_flight(self) -> int:
        """How many commands wait for their turn or their reply; not in closed loops."""
        count = 0
        for reference in list(self._trunks.values()):
            newest = reference()
            if newest is None or newest.loop.is_closed():
                continue
            elders = [elder() for elder in newest.elders]
            count += sum(trunk.in_flight() for trunk in (newest, *elders) if trunk is not None)
        return count

    def _open(self, loop: asyncio.AbstractEventLoop) -> Trunk:
        for number, reference in list(self._trunks.items()):
            if reference() is None:
                self._trunks.pop(number, None)
        trunk = Trunk(self, loop)
        self._trunks[id(loop)] = self._newest = trunk.reference
        return trunk
