"""Holding: who holds a connection, in which place of which pool, and that nobody else uses it."""

from __future__ import annotations

import contextlib
import socket
import sys
import warnings
from abc import abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from redis.exceptions import ConnectionError

from .bookkeeping import Bookkeeping
from .errors import ForkedLease, NotOwned, PoolClosed
from .events import Closed
from .figures import SINCE
from .leases import Lease
from .timekeeping import FOREVER

if TYPE_CHECKING:
    from .slots import Slot

LOST = (
    "the pinned connection was lost, and with it what was watched or selected on it; "
    "start again with a new pin"
)


class Holding(Bookkeeping):
    """What every connection of our pools has beyond redis-py's, without its sends and receives.

    One holder at a time uses a connection: the pool lends it, the holder gives it back, and the
    ledger says whether the next one may have it.
    """

    driver_info: Any
    slot: Slot | None = None
    name_is_ours = False
    """Whether nobody asked for `client_name`, so that a server may refuse it."""
    tracks = False
    """Whether the server shall say which replies have changed; so it is with a cache."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.forked = False
        self.born = self.last_used = 0.0
        self.expires_at = FOREVER
        self.batch: object = None
        super().__init__(*args, **kwargs)

    @abstractmethod
    def alive(self) -> bool:
        """Whether the line is open and silent, as far as a look at the socket can tell."""

    def _refuse_to_open(self) -> None:
        if self.is_open:
            return
        if self.forked or not self.lease:
            self._refuse()
        if self.lease[0].keeps_session:
            raise ConnectionError(LOST)
        self._refuse_if_closed()

    @property
    def library(self) -> dict[str, str]:
        """What ``CLIENT SETINFO`` tells of the program that connects, by its words."""
        if hasattr(self, "lib_name"):  # redis-py before 7.2
            told = {"LIB-NAME": self.lib_name, "LIB-VER": getattr(self, "lib_version", None)}
        elif self.driver_info is not None:
            info = self.driver_info
            told = {"LIB-NAME": info.formatted_name, "LIB-VER": info.lib_version}
        else:
            told = {}
        return {word: value for word, value in told.items() if value}

    def settle(self) -> None:
        """End the handshake: the state that it set is the one that everybody expects.

        Raises:
            redis.ConnectionError: not all of it was answered.
        """
        if self.ledger.owed:
            # A late reply of the handshake would be taken for that of the first command
            # (go-redis, CVE-2025-29923).
            raise ConnectionError("the server did not answer all of the handshake")
        self.ledger.reset()

    def _refuse_if_closed(self) -> None:
        capacity = self.slot.capacity() if self.slot is not None else None
        if capacity is not None and capacity.shut.is_set():
            raise PoolClosed("the pool of this connection is closed; it opens no line any more")

    def lend(self, now: float) -> None:
        """Note the calling thread as the holder."""
        self._note_lease(Lease(now))

    def _note_lease(self, lease: Lease) -> None:
        if self.slot is not None:
            self.slot.record.cells[SINCE] = lease.since
        self.lease.append(lease)

    def _refuse(self) -> NoReturn:
        if self.forked:
            raise ForkedLease(
                "this connection was lent in the parent process; take one in the child"
            )
        raise NotOwned("this connection was given back; take another from the pool")

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self._sock is not None

    def end(self) -> None:
        """Close for good; the place in the pool is not this connection's any more."""
        self.slot = None
        self.lease.clear()
        self.disconnect()

    def settle_up(self) -> None:
        """Hang up where a reply is owed: the next command would take it for its own.

        To be called before a command of somebody who was interrupted in another, and went on.
        """
        if self.ledger.owed:
            self.disconnect()

    def cut(self) -> None:
        """Break the line under whoever uses it; may be called from another thread."""
        self.was_cut, sock = True, self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def leave_to_parent(self) -> None:
        """In a forked child: close this process' copy of the socket; nothing goes over the line."""
        self.forked = True
        self.lease.clear()
        self.disconnect()

    def __del__(self, *_: Any) -> None:
        super().__del__()  # type: ignore[misc]  # the line first: its place may go to somebody else at once
        if sys.is_finalizing():
            return  # nothing is lost by the end of the interpreter, and nothing said
        if self.slot is not None and self.lease and self.born:
            capacity = self.slot.origin()
            if capacity is not None:
                capacity.counts.add("reclaimed")
                seconds = monotonic() - self.born
                capacity.channel.tell(Closed, reason="dropped", seconds=seconds)
            self.lease.clear()
            self.slot = None  # and this before the warning, which a filter may make an error
            warnings.warn(
                f"{self!r} was never given back; it is closed, and its place is free again",
                ResourceWarning,
                stacklevel=2,  # no `source`: it would keep alive what is to be freed
            )
