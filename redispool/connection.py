"""Connections that know who holds them: redis-py's, with a ledger, a lease and a deadline."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.utils import str_if_bytes

from .conversation import Conversation
from .handshake import shake_hands
from .holding import Holding
from .leases import Lease
from .timekeeping import FOREVER
from .wire import quiet

if TYPE_CHECKING:
    pass

__all__ = ["PooledConnection"]


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


class PooledConnection(Holding, Conversation):
    """What every connection of our pools has beyond redis-py's: mixed into its classes."""

    socket_timeout = Limit()
    socket_connect_timeout = Limit()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._dialling = False
        self.brief = Lease(0.0)
        """The lease of who holds it for one command: made once, for it is needed all the time."""
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

    # Holding

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
            self.send_packed_command(self.pack_command("PING"), check_health=False, own=True)
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


def _set_up(connect: Callable[..., Any], connection: PooledConnection) -> None:
    """Run the user's ``redis_connect_func`` as a part of the handshake."""
    connect(connection)
    connection.settle()
