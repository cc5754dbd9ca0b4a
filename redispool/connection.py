"""Connections that know who holds them: redis-py's, with a ledger, a lease and a deadline."""

from __future__ import annotations

import contextlib
import functools
import inspect
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis import connection as base
from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError, TimeoutError
from redis.utils import str_if_bytes

from . import commands
from .capacity import count
from .errors import ForkedLease, NotOwned, PoolClosed
from .leases import Lease
from .ledger import Ledger

if TYPE_CHECKING:
    from .slots import Slot

__all__ = ["PooledConnection"]


FOREVER = float("inf")
LOST = (
    "the pinned connection was lost, and with it what was watched or selected on it; "
    "start again with a new pin"
)


class QuietSocket(socket.socket):
    """A socket that its connection closes, and that says nothing where it is found first.

    The last collection of the interpreter takes the two in any order.
    """

    __slots__ = ()

    def __del__(self) -> None:
        self.close()


class Packed(list[bytes]):
    """Bytes for the wire, together with the commands that they hold."""

    def __init__(self, chunks: Iterable[bytes], batch: Sequence[Sequence[Any]]) -> None:
        super().__init__(chunks)
        self.batch = batch

    @property
    def atomic(self) -> bool:
        """Whether the server runs nothing of it before it has all of it."""
        first, last = self.batch[0][0], self.batch[-1][0]
        return len(self.batch) == 1 or (first == "MULTI" and last == "EXEC")


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


class PooledConnection(base.AbstractConnection):
    """What every connection of our pools has beyond redis-py's: mixed into its classes.

    One holder at a time uses a connection: the pool lends it, the holder gives it back, and the
    ledger says whether the next one may have it.
    """

    _sock: Any
    slot: Slot | None = None
    socket_timeout = Limit()
    socket_connect_timeout = Limit()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ledger = Ledger()
        # Claimed by list.pop(): of two that give back at the same time, one finds it empty.
        self.lease: list[Lease] = []
        self.forked = False
        self.born = self.last_used = 0.0
        self.expires_at = FOREVER
        self.batch: object = None
        self._deadline: float | None = None
        self._stretched = self._dialling = False
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
        self._sock.settimeout(self.socket_timeout)

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
            sock = super()._connect()  # type: ignore[safe-super]  # of the class mixed with
            if type(sock) is QuietSocket.__base__:  # not gevent's, where it patched later
                sock.__class__ = QuietSocket
            return sock
        finally:
            self._dialling = False

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        super().on_connect_check_health(*args, **kwargs)
        self.settle()

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

    def _within_deadline(self, limit: float | None) -> float | None:
        if self._deadline is None or self._deadline == FOREVER:
            return limit
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("Timeout: the time that the caller had is over")
        return left if limit is None else min(limit, left)

    # Commands

    def pack_command(self, *args: Any) -> Packed:
        return Packed(super().pack_command(*numbers_as_bytes(args)), (args,))

    def pack_commands(self, commands: Iterable[Sequence[Any]]) -> Packed:
        batch = list(commands)
        return Packed(super().pack_commands(map(numbers_as_bytes, batch)), batch)

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        self.send_packed_command(self.pack_command(*args), kwargs.get("check_health", True))

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self.lease:
            self._refuse()
        if self._sock is None:
            # Here, and not in redis-py's method below: the handshake makes its own entries.
            self._open_again()
        self._book(command)
        try:
            super().send_packed_command(command, check_health)
        except (ConnectionError, TimeoutError) as error:
            # Read by the client's retry. Of several commands the first may have run.
            error.unsent = isinstance(command, Packed) and command.atomic  # type: ignore[union-attr]
            raise

    def _open_again(self) -> None:
        try:
            self.connect_check_health(check_health=False)
        except (ConnectionError, TimeoutError) as error:
            error.unsent = True  # type: ignore[union-attr]
            raise

    def _book(self, command: Any) -> None:
        if isinstance(command, Packed):
            self.ledger.sent(command.batch)
            self._wait_as_long_as_the_server(command.batch)
        else:
            self.ledger.stain()  # somebody packed it: how many replies it brings nobody knows

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        if not self.lease:
            self._refuse()
        if self._deadline is not None and not self._stretched:
            self._sock.settimeout(self._within_deadline(self.socket_timeout))
        if kwargs.get("push_request"):
            self.ledger.stain()  # what comes may be a reply or not; nobody can count on it
            if not reads_with_a_timeout():
                self._wait_for_messages()
        try:
            response = super().read_response(*args, **kwargs)
        except ResponseError as error:
            self._replied()
            if isinstance(error, ReadOnlyError):
                self.ledger.refused_write()
            raise
        self._replied()
        return response

    def _replied(self) -> None:
        self.ledger.replied()
        if self._stretched and self.ledger.owed <= 0 and self._sock is not None:
            self._stretched = False
            self._sock.settimeout(self.socket_timeout)

    def _wait_as_long_as_the_server(self, batch: Sequence[Sequence[Any]]) -> None:
        """Let a blocking command (``BLPOP key 10``) outlast ``socket_timeout``."""
        waits = [seconds for args in batch if (seconds := commands.blocks_for(args)) is not None]
        if waits and self.socket_timeout is not None:
            self._stretched = True
            self._sock.settimeout(None if 0 in waits else sum(waits) + self.socket_timeout)

    def _wait_for_messages(self) -> None:
        """Let a subscription be silent for longer than ``socket_timeout``."""
        if self._sock is not None:
            self._stretched = True
            self._sock.settimeout(None)

    # Holding

    def lend(self, now: float) -> None:
        """Note the calling thread as the holder."""
        self.lease.append(Lease(now))

    def _refuse(self) -> None:
        if self.forked:
            raise ForkedLease(
                "this connection was lent in the parent process; take one in the child"
            )
        raise NotOwned("this connection was given back; take another from the pool")

    def finish_by(self, deadline: float | None) -> None:
        """Wait for no reply beyond `deadline` (of the monotonic clock); None lifts that."""
        self._deadline = deadline
        if deadline is None and self._sock is not None:
            self._sock.settimeout(self.socket_timeout)

    def alive(self) -> bool:
        """Whether the line is open and silent, as far as a look at the socket can tell."""
        try:
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


def numbers_as_bytes(args: Sequence[Any]) -> Sequence[Any]:
    """The arguments of a command, with the bytes that redis-py would send in place of numbers.

    hiredis 3.5 crashes where a signal handler raises while it makes a text of a number.
    """
    for value in args:
        if type(value) is not str and type(value) is not bytes:
            return tuple(_number_as_bytes(value) for value in args)
    return args


def _number_as_bytes(value: Any) -> Any:
    # Other kinds of whole numbers, such as True, are for the packer to refuse or to take.
    if type(value) is int or isinstance(value, float):
        return repr(value).encode()
    return value


def _set_up(connect: Callable[..., Any], connection: PooledConnection) -> None:
    """Run the user's ``redis_connect_func`` as a part of the handshake."""
    connect(connection)
    connection.settle()


@functools.cache
def reads_with_a_timeout() -> bool:
    """Whether redis-py, from 8 on, says how long it wants to wait for a message."""
    return "timeout" in inspect.signature(base.AbstractConnection.read_response).parameters
