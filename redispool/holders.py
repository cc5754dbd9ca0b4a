"""Holders: what keeps a connection for longer than a command, known to the scope meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import client as base

from . import leases, retries, scopes, wording
from .errors import ForkedLease
from .flag import Flag

if TYPE_CHECKING:
    from .pipelines import Pipeline


class PubSub(base.PubSub):
    """redis-py's subscription; its connection belongs to the scope in which it was opened."""

    connection: Any
    scope: scopes.Scope | None = None

    def execute_command(self, *args: Any) -> None:
        """Subscribe or unsubscribe."""
        holding = self.connection is not None
        try:
            super().execute_command(*args)
        finally:
            if not holding:
                took_connection(self)

    def reset(self) -> None:
        """End all subscriptions and give the connection back."""
        if not isinstance(self.subscribed_event, Flag):
            self.subscribed_event = Flag()
        end(self, super().reset)

    def give_back(self) -> bool:
        """End the subscription and give the connection back; whether there was one."""
        return give_back(self)


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
        if lease.thread != threading.get_ident():
            # It may be in the middle of a command there: nothing is sent, and nobody gets the line.
            vars(holder)["watching"] = False
            connection.ledger.stain()
    holder.reset()
    return held
