"""Connections for asyncio: redis-py's, with a ledger, a lease, a deadline, and no event loop."""

from __future__ import annotations

import builtins
import functools
import inspect
from collections.abc import Callable
from time import monotonic
from typing import Any

from redis.exceptions import ConnectionError, TimeoutError
from redis.utils import str_if_bytes

from ..holding import Holding
from .conversation import AsyncConversation
from .handshake import shake_hands
from .leases import AsyncLease
from .sockets import open_line


class AsyncPooledConnection(Holding, AsyncConversation):
    """What every connection of our pools for asyncio has beyond redis-py's: mixed into its classes.

    Between two commands no loop knows it: the next one may come from another loop, in another
    thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.redis_connect_func is not None:
            self.redis_connect_func = functools.partial(_set_up, self.redis_connect_func)

    # Opening

    async def open(self, deadline: float) -> None:
        """Connect and shake hands, all before `deadline` (of the monotonic clock).

        Raises:
            redis.ConnectionError, redis.TimeoutError: it did not come to that.
        """
        self._deadline = deadline
        try:
            await self.connect()
        finally:
            self._deadline = None
        self._refuse_if_closed()
        self._limit(self.socket_timeout)

    async def connect(self) -> None:
        self._refuse_to_open()  # and not within redis-py's retry, which would ask again and again
        await super().connect()

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if self.is_open:
            return
        self._refuse_to_open()
        try:
            if retry_socket_connect:
                await self.retry.call_with_retry(self._connect, lambda error: self.disconnect())
            else:
                await self._connect()
            await self._begin_session()
        except BaseException:
            self.disconnect()
            raise

    async def _connect(self) -> None:
        self.ledger.reset()
        self.ledger.stain()  # until the handshake has ended
        try:
            self._take(await open_line(self, self._time_for))
        except OSError as error:
            raise self._failure_of_dial(error) from None

    def _time_for(self, limit: float | None) -> float | None:
        try:
            return self._within_deadline(limit)
        except TimeoutError:
            raise builtins.TimeoutError from None  # as the sockets say it

    def _failure_of_dial(self, error: OSError) -> Exception:
        if isinstance(error, builtins.TimeoutError):
            return TimeoutError("Timeout connecting to server")
        return ConnectionError(self._error_message(error))

    async def _begin_session(self) -> None:
        if self.redis_connect_func is None:
            await self.on_connect_check_health()
        else:
            await self.redis_connect_func(self)
        self._connect_callbacks = [known for known in self._connect_callbacks if known()]
        for reference in self._connect_callbacks:
            callback: Any = reference()
            done = callback(self)
            if inspect.isawaitable(done):
                await done

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        if hasattr(self, "_reset_himport_state"):  # redis-py 8.1 and later
            self._reset_himport_state()
        await shake_hands(self)
        self.settle()

    async def on_connect(self) -> None:
        await self.on_connect_check_health()

    # Holding

    def lend(self, now: float) -> None:
        self._note_lease(AsyncLease(now))

    def alive(self) -> bool:
        try:
            return self._line is not None and self._line.is_silent()
        except Exception:
            return False

    async def answers(self, within: float) -> bool:
        """Whether the server answers a PING in `within` seconds."""
        self.finish_by(monotonic() + within)
        self.lend(monotonic())
        try:
            await self.send_packed_command(self.pack_command("PING"), own=True)
            return bool(str_if_bytes(await self.read_response()) == "PONG")
        except Exception:
            return False
        finally:
            self.lease.clear()
            self.finish_by(None)

    def leave_to_parent(self) -> None:
        if self._line is not None:
            self._line.leave_to_parent()
        super().leave_to_parent()


async def _set_up(connect: Callable[..., Any], connection: AsyncPooledConnection) -> None:
    """Run the user's ``redis_connect_func`` as a part of the handshake."""
    done = connect(connection)
    if inspect.isawaitable(done):
        await done
    connection.settle()
