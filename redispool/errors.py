"""The errors, all under redis-py's tree, so that old ``except`` clauses go on working."""

from __future__ import annotations

from redis.exceptions import ConnectionError, MaxConnectionsError, RedisError

__all__ = [
    "EmbeddedServerError",
    "ForkedLease",
    "InvalidOption",
    "NotOwned",
    "PoolClosed",
    "PoolTimeout",
    "ServerUnavailable",
    "TooManyWaiting",
]


class Telling(RedisError):
    """An error whose repr says what its message says; redis-py 8 shows a category instead."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class PoolTimeout(Telling, MaxConnectionsError):
    """No connection became free within the time that the caller had.

    The attributes say what the message says, for handlers and logs.
    """

    def __init__(
        self,
        message: str,
        *,
        alias: str = "",
        waited: float = 0.0,
        in_use: int = 0,
        max_connections: int = 0,
        waiting: int = 0,
        oldest: str = "",
    ) -> None:
        super().__init__(message)
        self.alias = alias
        self.waited = waited
        """Seconds that this caller waited."""
        self.in_use = in_use
        self.max_connections = max_connections
        self.waiting = waiting
        """Callers that waited at that moment, this one not among them."""
        self.oldest = oldest
        """Who holds the oldest lease, for how long, taken where; empty where nobody does."""


class TooManyWaiting(PoolTimeout):
    """``max_waiting`` callers are waiting already; this one is turned away at once."""


class PoolClosed(Telling, ConnectionError):
    """The pool has been closed; it opens no connection any more."""


class ServerUnavailable(Telling, ConnectionError):
    """The server is away, and the time to wait for it is over; the cause is the last dial's error.

    Nothing was sent. While an outage lasts most callers get this at once, and one at a time dials.
    """


class NotOwned(Telling, ConnectionError):
    """A connection was used or given back by somebody who does not hold it."""


class ForkedLease(NotOwned):
    """A connection that the parent process had lent was used in a forked child."""


class InvalidOption(Telling, ValueError):
    """A setting cannot be used; the message quotes it as it was typed and says what to change.

    Args:
        option: the option, or the setting as the user typed it.
        complaint: what is wrong with it and what was expected.
    """

    def __init__(self, option: str, complaint: str) -> None:
        super().__init__(f"{option}: {complaint}")
        self.option = option
        self.complaint = complaint


class EmbeddedServerError(Telling, ConnectionError):
    """The private server behind ``embedded://`` cannot be started or reached."""


# Tracebacks and logs show the name under which the errors are imported.
for _error in __all__:
    globals()[_error].__module__ = "redispool"
