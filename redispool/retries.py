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
    from .options import PoolOptions
    from .pool import ConnectionPool

RESUBSCRIBE = 10
"""How often a subscription tries again to connect before its reader gets the error."""

NEVER = "never"
MODES = frozenset({"safe", "always", NEVER})
"""What a pool may say of trying again; whoever says something else leaves it to redis-py."""

FINAL = (
    AuthenticationError,
    AuthorizationError,
    EmbeddedServerError,
    MaxConnectionsError,
    NotOwned,
    PoolClosed,
    ServerUnavailable,
)


class Tries:
    """The tries of a command, or of several sent together: whether there is one more, and when.

    Args:
        pool: whose options hold.
        batch: the commands with their arguments.
        started: when the first try began, on the monotonic clock.
        what: how an error calls them; the command's name where it is not given.
    """

    def __init__(
        self, pool: Any, batch: Sequence[Sequence[Any]], started: float, what: str = ""
    ) -> None:
        self._what = what or commands.words(batch[0])[0]
        self._pool = pool
        self._batch = batch
        mode = getattr(pool, "retry_mode", NEVER)
        self._mode = mode if mode in MODES else NEVER
        self.deadline = started if self._mode == NEVER else started + seconds_for_all(pool.options)

    def pause(self, error: Exception, attempt: int) -> float | None:
        """Seconds to wait before the next try after number `attempt` (from 0); None where none is.

        Then the message of `error` says what the server may have done.
        """
        if may_repeat(error, self._batch, self._mode):
            loading = isinstance(error, BusyLoadingError)
            seconds: float | None = self._pool.policy.pause(attempt, loading=loading)
            if seconds is not None and monotonic() + seconds < self.deadline:
                return seconds
        if not all(map(commands.only_reads, self._batch)):
            warn_in_message(error, self._what, attempt + 1, one=len(self._batch) == 1)
        return None

    def rest_of_the_pool(self) -> Remaining:
        """The pool, for what is left of the time."""
        return Remaining(self._pool, self.deadline)


def may_repeat(error: Exception, batch: Sequence[Sequence[Any]], mode: str) -> bool:
    """Whether the commands of `batch`, sent together, may be sent again after `error`.

    Args:
        error: a connection error or time-out.
        batch: the commands with their arguments.
        mode: the option ``retry``.
    """
    if mode not in ("safe", "always") or isinstance(error, FINAL) or was_dialling(error):
        return False
    if was_unsent(error, one=len(batch) == 1):
        return True
    if any(commands.blocks_for(args) is not None for args in batch):
        return False
    return mode == "always" or all(map(commands.only_reads, batch))


def was_unsent(error: Exception, *, one: bool = True) -> bool:
    """Whether no server can have run what was sent: it never left whole, or was refused.

    Args:
        error: what came of it.
        one: whether it was a single command: of several, the server may have refused the first and
            run the next.
    """
    refused = isinstance(error, FINAL)
    if one:
        refused = refused or isinstance(error, BusyLoadingError | ReadOnlyError)
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

    retry_mode = NEVER

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


def warn_in_message(error: Exception, what: str, times: int = 1, *, one: bool = True) -> None:
    """Let the message say that the server may have run `what`, which was sent so many times."""
    if was_unsent(error, one=one) or getattr(error, "warned", False):
        return
    sent = "it was not sent again" if times == 1 else f"it was sent {times} times"
    error.args = (f"{error} The server may have executed {what}; {sent}.", *error.args[1:])
    error.warned = True  # type: ignore[attr-defined]


def be_patient(subscription: Any, retry: type[Any] = Retry) -> None:
    """Let a subscription connect and subscribe again, if the option ``retry`` lets it.

    Subscribing twice is the same as once; and a listener outlasts a restart of the server, as with
    redis-py's own client, whose figures these are.

    Args:
        subscription: has just got its connection.
        retry: redis-py's class for threads, or that for asyncio.
    """
    if getattr(subscription.connection_pool, "retry_mode", NEVER) in ("safe", "always"):
        backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
        subscription.connection.retry = retry(backoff, RESUBSCRIBE)
