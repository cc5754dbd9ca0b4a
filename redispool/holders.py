"""Holders: what keeps a connection for longer than a command, known to the scope meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis import client as base
from redis.exceptions import TimeoutError

from . import leases, retries, scopes, wording
from .errors import ForkedLease
from .flag import Flag

if TYPE_CHECKING:
    from .pipelines import Pipeline


class PubSub(base.PubSub):
    """redis-py's subscription; its connection belongs to the scope in which it was opened."""

    connection: Any
    scope: scopes.Scope | None = None
    _answer_by: float | None = None
    """Until when the server may take to answer a PING; None where it owes no answer."""

    def execute_command(self, *args: Any) -> None:
        """Subscribe or unsubscribe."""
        holding = self.connection is not None
        try:
            super().execute_command(*args)
        finally:
            if not holding:
                took_connection(self)

    def on_connect(self, connection: Any) -> None:
        """Subscribe again, in a session in which nothing is owed."""
        self._answer_by, self.health_check_response_counter = None, 0
        super().on_connect(connection)

    def parse_response(self, block: bool = True, timeout: float = 0) -> Any:
        """The next message, as redis-py gives it; looks after the line meanwhile.

        redis-py asks for a sign of life before it waits, and waits without one for as long as its
        caller likes: on a line on which packets vanish, for ever.
        """
        connection = self.connection
        if not looks_after_itself(connection):
            return super().parse_response(block, timeout)
        deadline = float("inf") if block else monotonic() + timeout
        while True:
            self.check_health()
            seconds = min(deadline - monotonic(), self._patience())
            if self._execute(connection, connection.can_read, timeout=max(seconds, 0.0)):
                # A message that has begun to come has time to come.
                found = super().parse_response(False, connection.socket_timeout)
                self._answer_by = None
                if found is not None:
                    return found
            if monotonic() >= deadline:
                return None

    def check_health(self) -> None:
        """Send a PING where nothing was heard for the interval; connect again where none came."""
        connection = self.connection
        if not looks_after_itself(connection):
            super().check_health()
        elif self._answer_by is not None:
            self._execute(connection, self._expect_a_sign)
        elif monotonic() > connection.next_health_check:
            super().check_health()
            self._answer_by = monotonic() + connection.socket_timeout

    def _expect_a_sign(self) -> None:
        # One that has come and was not read is one: a program may look in now and then only.
        late = self._answer_by is not None and monotonic() >= self._answer_by
        if late and self.connection.alive():
            raise TimeoutError("the server did not answer the PING of a subscription")

    def _patience(self) -> float:
        """Seconds until the health of the line is looked at again."""
        due = self.connection.next_health_check if self._answer_by is None else self._answer_by
        return max(due - monotonic(), 0.0)

    def reset(self) -> None:
        """End all subscriptions and give the connection back."""
        if not isinstance(self.subscribed_event, Flag):
            self.subscribed_event = Flag()
        end(self, super().reset)

    def give_back(self) -> bool:
        """End the subscription and give the connection back; whether there was one."""
        return give_back(self)


def looks_after_itself(connection: Any) -> bool:
    """Whether a subscription's connection is of our pools, and has to notice that it is dead."""
    if not hasattr(connection, "lease"):
        return False
    return bool(connection.health_check_interval) and connection.socket_timeout is not None


def took_connection(holder: Pipeline | PubSub) -> None:
    """Note who holds a connection from now on, if `holder` has got one."""
    if holder.connection is None:
        return
    if hasattr(holder.connection, "lease"):
        leases.note_place(holder.connection)
    if isinstance(holder, PubSub):
        retries.be_patient(holder)
    holder.scope = scopes.current()
    if holder.scope is not None:
        holder.scope.hold(holder)


def go_on(holder: Pipeline) -> None:
    """Look at a pipeline that may hold a connection already, before it sends anything.

    Raises:
        ForkedLease: it watches on a connection of the parent process. redis-py would tell of a
            change by somebody else, which loops take for a reason to try again.
    """
    if getattr(holder.connection, "forked", False):
        raise ForkedLease(wording.FORKED)
    settle_up(holder.connection)


def settle_up(connection: Any) -> None:
    """Hang up where an interruption has left a reply, on a connection that is held for longer."""
    if hasattr(connection, "ledger"):
        connection.settle_up()


def note_watch(holder: Pipeline) -> None:
    """Let a connection on which keys are watched not be opened again: its watch would be gone.

    redis-py would go on without it, where an interruption has closed the line.
    """
    if not getattr(holder.connection_pool, "keeps_session", False):
        for lease in getattr(holder.connection, "lease", ()):
            lease.keeps_session = bool(holder.watching)


def end(holder: Pipeline | PubSub, reset: Callable[[], Any]) -> None:
    """Let redis-py's `reset` give the connection back, once, whatever interrupts it.

    Between giving it back and forgetting it redis-py can be interrupted; then the connection may
    be somebody else's already.
    """
    connection = holder.connection
    if holder.scope is not None:
        holder.scope.let_go(holder)
    if getattr(connection, "forked", False):
        holder.connection = connection = None  # it is the parent's, and so is the work
    own = list(getattr(connection, "lease", ()))
    try:
        reset()
    finally:
        left, holder.connection = holder.connection, None
        if left is not None and own and left.lease == own:
            holder.connection_pool.release(left)


def give_back(holder: Pipeline | PubSub) -> bool:
    """End what `holder` does on its connection; whether it had one."""
    connection = holder.connection
    held = connection is not None and not getattr(connection, "forked", False)
    for lease in list(getattr(connection, "lease", ())):
        if not lease.is_ours():
            # It may be in the middle of a command there: nothing is sent, and nobody gets the line.
            vars(holder)["watching"] = False
            connection.ledger.stain()
    holder.reset()
    return held
