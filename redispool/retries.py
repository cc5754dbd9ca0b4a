"""Which commands are sent again after an error of the network.

A reply that was lost says nothing of the command: it may have run. ``safe`` sends again only what
never left, or what reads; so no counter is incremented twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    MaxConnectionsError,
    ReadOnlyError,
)
from redis.retry import Retry

from . import commands
from .errors import EmbeddedServerError, NotOwned, PoolClosed, ServerUnavailable

if TYPE_CHECKING:
    from .connection import PooledConnection
    from .holders import PubSub
    from .options import PoolOptions
    from .pool import ConnectionPool

RESUBSCRIBE = 10
"""How often a subscription tries again to connect before its reader gets the error."""

FINAL = (
    AuthenticationError,
    AuthorizationError,
    EmbeddedServerError,
    MaxConnectionsError,
    NotOwned,
    PoolClosed,
    ServerUnavailable,
)


def may_repeat(error: Exception, args: Sequence[Any], mode: str) -> bool:
    """Whether the command `args`, which ended in `error`, may be sent again.

    Args:
        error: a connection error or time-out.
        args: the command and its arguments.
        mode: the option ``retry``.
    """
    if mode == "never" or isinstance(error, FINAL) or was_dialling(error):
        return False
    if was_unsent(error):
        return True
    if commands.blocks_for(args) is not None:
        return False
    return mode == "always" or commands.only_reads(args)


def was_unsent(error: Exception) -> bool:
    """Whether no server can have run the command: it never left whole, or was refused."""
    refused = isinstance(error, (*FINAL, BusyLoadingError, ReadOnlyError))
    return refused or getattr(error, "unsent", False) or was_dialling(error)


def seconds_for_all(options: PoolOptions) -> float:
    """The time that all tries of one command may take together; infinite where one limit is."""
    limits = options.timeout, options.socket_timeout
    return sum(float("inf") if limit is None else limit for limit in limits)


class Remaining:
    """Stands where a client has its pool, for another try: lends for the rest of the time only."""

    def __init__(self, pool: ConnectionPool, deadline: float) -> None:
        self._pool = pool
        self._deadline = deadline

    redis_py_retries = False

    def acquire(self) -> PooledConnection:
        """A connection on which no reply is waited for beyond the deadline."""
        # Never 0, which sets no limit to connecting.
        connection = self._pool.acquire(max(self._deadline - monotonic(), 1e-9))
        connection.finish_by(self._deadline)
        return connection

    def get_connection(self, *_: Any, **__: Any) -> PooledConnection:
        """redis-py's name of `acquire`."""
        return self.acquire()

    def release(self, connection: PooledConnection) -> None:
        """Give it back without the deadline."""
        connection.finish_by(None)
        self._pool.release(connection)


def was_dialling(error: Exception) -> bool:
    """Whether a connection could not be opened, after all tries that the pool makes."""
    return bool(getattr(error, "dialling", False))


def warn_in_message(error: Exception, what: str, times: int = 1) -> None:
    """Let the message say that the server may have run `what`, which was sent so many times."""
    if not was_unsent(error):
        sent = "it was not sent again" if times == 1 else f"it was sent {times} times"
        error.args = (f"{error} The server may have executed {what}; {sent}.", *error.args[1:])


def be_patient(subscription: PubSub) -> None:
    """Let a subscription connect and subscribe again, if the option ``retry`` lets it.

    Subscribing twice is the same as once; and a listener outlasts a restart of the server, as with
    redis-py's own client, whose figures these are.
    """
    options = getattr(subscription.connection_pool, "options", None)
    if options is not None and options.retry != "never":
        backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
        subscription.connection.retry = Retry(backoff, RESUBSCRIBE)
