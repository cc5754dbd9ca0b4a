"""Holders for asyncio: what keeps a connection for longer than a command."""

from __future__ import annotations

from time import monotonic
from typing import Any

from redis.asyncio import client as base
from redis.asyncio.retry import Retry
from redis.exceptions import TimeoutError

from .. import leases, retries, scopes
from ..holders import looks_after_itself
from ..timekeeping import FOREVER
from .done import DONE, Done


class AsyncPubSub(base.PubSub):
    """redis-py's subscription; its connection belongs to the scope in which it was opened."""

    connection: Any
    connection_pool: Any
    scope: scopes.Scope | None = None
    _answer_by: float | None = None
    """Until when the server may take to answer a PING; None where it owes no answer."""

    async def execute_command(self, *args: Any) -> None:
        """Subscribe or unsubscribe."""
        await super().execute_command(*args)

    async def connect(self) -> None:
        """Take a connection, or open again the one that is held."""
        holding = self.connection is not None
        try:
            await super().connect()
        finally:
            if not holding:
                took_connection(self)

    async def on_connect(self, connection: Any) -> None:
        """Subscribe again, in a session in which nothing is owed."""
        self._answer_by = None
        await super().on_connect(connection)

    async def parse_response(self, block: bool = True, timeout: float | None = 0) -> Any:
        """The next message, as redis-py gives it; looks after the line meanwhile.

        redis-py asks for a sign of life before it waits, and waits without one for as long as its
        caller likes: on a line on which packets vanish, for ever.
        """
        connection = self.connection
        if not looks_after_itself(connection):
            return await super().parse_response(block, timeout or 0)
        deadline = FOREVER if block or timeout is None else monotonic() + timeout
        while True:
            await self.check_health()
            seconds = min(deadline - monotonic(), self._patience())
            found = await self._execute(connection, self._hear, max(seconds, 0.0))
            if found is not None:
                self._answer_by = None
                if found not in self.health_check_response:
                    return found
            if monotonic() >= deadline:
                return None

    async def check_health(self) -> None:
        """Send a PING where nothing was heard for the interval; connect again where none came."""
        connection = self.connection
        if not looks_after_itself(connection):
            await super().check_health()
        elif self._answer_by is not None:
            await self._execute(connection, self._expect_a_sign)
        elif monotonic() > connection.next_health_check:
            await self._execute(connection, self._ask_for_a_sign)

    async def _hear(self, seconds: float) -> Any:
        connection = self.connection
        if not connection.is_open:
            await connection.connect()
        return await connection.read_response(
            timeout=seconds, disconnect_on_error=False, push_request=True
        )

    async def _ask_for_a_sign(self) -> None:
        connection = self.connection
        await connection.send_command("PING", self.HEALTH_CHECK_MESSAGE)
        self._answer_by = monotonic() + connection.socket_timeout

    async def _expect_a_sign(self) -> None:
        # One that has come and was not read is one: a program may look in now and then only.
        late = self._answer_by is not None and monotonic() >= self._answer_by
        if late and self.connection.alive():
            raise TimeoutError("the server did not answer the PING of a subscription")

    def _patience(self) -> float:
        """Seconds until the health of the line is looked at again."""
        due = self.connection.next_health_check if self._answer_by is None else self._answer_by
        return max(due - monotonic(), 0.0)

    def aclose(self) -> Done[None]:  # type: ignore[override]
        """End all subscriptions and give the connection back, at once; it may be awaited."""
        if hasattr(self, "connection"):  # not where the constructor was interrupted
            self.give_back()
        return DONE

    close = reset = aclose

    def give_back(self) -> bool:
        """End the subscription and give the connection back; whether there was one."""
        connection, self.connection = self.connection, None
        for known in ("channels", "patterns", "shard_channels"):
            setattr(self, known, {})
            setattr(self, f"pending_unsubscribe_{known}", set())
        if connection is None:
            return False
        let_go(self)
        connection.deregister_connect_callback(self.on_connect)
        if getattr(connection, "forked", False):
            return False  # it is the parent's
        connection.disconnect()
        return hand_back(self.connection_pool, connection)


def took_connection(holder: Any) -> None:
    """Note who holds a connection from now on, if `holder` has got one."""
    if holder.connection is None:
        return
    if hasattr(holder.connection, "lease"):
        leases.note_place(holder.connection)
    if isinstance(holder, AsyncPubSub):
        retries.be_patient(holder, Retry)
    holder.scope = scopes.current()
    if holder.scope is not None:
        holder.scope.hold(holder)


def let_go(holder: Any) -> None:
    """Let the scope forget `holder`, which gives its connection back."""
    if holder.scope is not None:
        holder.scope.let_go(holder)


def hand_back(pool: Any, connection: Any) -> bool:
    """Give `connection` back to `pool`; False where a collection of all this came before."""
    if not getattr(connection, "lease", True):
        return False
    pool.release(connection)
    return True
