"""Connections that know who holds them: redis-py's, with a ledger, a lease and a deadline."""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import warnings
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from redis.exceptions import ConnectionError
from redis.utils import str_if_bytes

from .capacity import count
from .conversation import Conversation
from .errors import ForkedLease, NotOwned, PoolClosed
from .handshake import shake_hands
from .leases import Lease
from .timed_line import FOREVER
from .wire import quiet

if TYPE_CHECKING:
    from .slots import Slot

__all__ = ["PooledConnection"]


LOST = (
    "the pinned connection was lost, and with it what was watched or selected on it; "
    "start again with a new pin"
)


class Limit:
    """A time-out of redis-py's; while it dials, what the caller has left, where that is less.

    It is asked for more than once: before each address of a name, and before the handshake of TLS.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"_{name}"

    def __set__(self, connection: PooledConnection, seconds: float | None) -> None:
        setattr(connection, self._key, seconds)

    def __get__(self, connection: PooledConnection, owner: type) -> float | None:
        seconds: float | None = getattr(connection, self._key)
        if not connection._dialling or connection._deadline in (None, FOREVER):
            return seconds
        # Never an error here, for which redis-py would leave its socket open; and never 0.
        left = max((connection._deadline or 0.0) - monotonic(), 1e-9)
        return left if seconds is None else min(seconds, left)


class PooledConnection(Conversation):
    """What every connection of our pools has beyond redis-py's: mixed into its classes.

    One holder at a time uses a connection: the pool lends it, the holder gives it back, and the
    ledger says whether the next one may have it.
    """

    slot: Slot | None = None
    name_is_ours = False
    """Whether nobody asked for `client_name`, so that a server may refuse it."""
    tracks = False
    """Whether the server shall say which replies have changed; so it is with a cache."""
    socket_timeout = Limit()
    socket_connect_timeout = Limit()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.forked = False
        self.born = self.last_used = 0.0
        self.expires_at = FOREVER
        self.batch: object = None
        self._dialling = False
        super().__init__(*args, **kwargs)
        if self.redis_connect_func is not None:
            self.redis_connect_func = functools.partial(_set_up, self.redis_connect_func)

    # Opening

    def open(self, deadline: float) -> None:
        """Connect and shake hands, all before `deadline` (of the monotonic clock).

        Raises:
            redis.ConnectionError, redis.TimeoutError: it did not come to that.
        """
        self._deadline = deadline
        try:
            self.connect()
        finally:
            self._deadline = None
        self._refuse_if_closed()
        self._limit(self.socket_timeout)

    def connect(self) -> None:
        self._refuse_to_open()  # and not within redis-py's retry, which would ask again and again
        super().connect()

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_to_open()
        super().connect_check_health(*args, **kwargs)

    def _refuse_to_open(self) -> None:
        if self._sock is not None:
            return
        if self.forked or not self.lease:
            self._refuse()
        if self.lease[0].keeps_session:
            raise ConnectionError(LOST)
        self._refuse_if_closed()

    def _connect(self) -> Any:
        self.ledger.reset()
        # Until the handshake has ended: redis-py leaves the line open where that is interrupted.
        self.ledger.stain()
        self._within_deadline(None)  # raises where there is no time at all
        self._dialling = True
        try:
            return quiet(super()._connect())  # type: ignore[safe-super]  # of the class mixed with
        finally:
            self._dialling = False

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if hasattr(self, "_reset_himport_state"):  # redis-py 8.1 and later
            self._reset_himport_state()
        self._parser.on_connect(self)
        self._wire_up()
        shake_hands(self)
        self.settle()

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

    # Holding

    def lend(self, now: float) -> None:
        """Note the calling thread as the holder."""
        self.lease.append(Lease(now))

    def _refuse(self) -> NoReturn:
        if self.forked:
            raise ForkedLease(
                "this connection was lent in the parent process; take one in the child"
            )
        raise NotOwned("this connection was given back; take another from the pool")

    def alive(self) -> bool:
        """Whether the line is open and silent, as far as a look at the socket can tell."""
        try:
            if self._wire is not None and (silent := self._wire.is_silent()) is not None:
                return silent
            return self._sock is not None and not self.can_read(0)
        except Exception:
            return False

    def answers(self, within: float) -> bool:
        """Whether the server answers a PING in `within` seconds."""
        self.finish_by(monotonic() + within)
        self.lend(monotonic())
        try:
            self.send_command("PING", check_health=False)
            return bool(str_if_bytes(self.read_response()) == "PONG")
        except Exception:
            return False
        finally:
            self.lease.clear()
            self.finish_by(None)

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        # Stained until the next session begins: an interruption half-way leaves redis-py's object
        # with a socket but without its parser.
        self.ledger.stain()
        self._wire = self.express = None
        super().disconnect(*args, **kwargs)

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
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def leave_to_parent(self) -> None:
        """In a forked child: close this process' copy of the socket; nothing goes over the line."""
        self.forked = True
        self.lease.clear()
        self.disconnect()

    def __del__(self) -> None:
        super().__del__()  # the line first: its place may go to somebody else at once
        if sys.is_finalizing():
            return  # nothing is lost by the end of the interpreter, and nothing said
        if self.slot is not None and self.lease and self.born:
            capacity = self.slot.capacity()
            if capacity is not None:
                count(capacity.reclaimed, "connections")
            self.slot = None  # and this before the warning, which a filter may make an error
            warnings.warn(
                f"{self!r} was never given back; it is closed, and its place is free again",
                ResourceWarning,
                stacklevel=2,  # no `source`: it would keep alive what is to be freed
            )


def _set_up(connect: Callable[..., Any], connection: PooledConnection) -> None:
    """Run the user's ``redis_connect_func`` as a part of the handshake."""
    connect(connection)
    connection.settle()
