"""A trunk: one connection that the tasks of a loop share, for commands in one order.

What they ask in one turn of the loop is written together; replies are handed out in the order of
the commands. Who is cancelled keeps his place in that order, so that no reply goes to another.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ConnectionError, ReadOnlyError, RedisError, TimeoutError

from ..bookkeeping import failure_of_read, failure_of_send, is_refusal
from ..frames import clear_frames
from ..replies import VALUES
from .line import PUSH, Line
from .opening import Waiting, find_connection, tell
from .shipment import Shipment
from .tenure import Tenure
from .watch import READ, WRITE

if TYPE_CHECKING:
    from .multiplexer import Multiplexer
    from .pool import AsyncConnectionPool

MOST_IN_FLIGHT = 1024
"""Commands on their way whose replies have not come; those beyond wait until some have."""
HELD_UP = 0.05
"""Seconds without a whole reply, after which those who come take another connection."""


class Trunk:
    """Sends and reads for all tasks of `loop`, in whose thread alone it is used.

    It leases a connection while something is in flight. Its loop alone holds it, as long as
    something may happen in it: a loop that is gone takes the trunk along, and the lease ends then.

    Args:
        multiplexer: knows the pool, and opens the trunk that follows this one.
        loop: runs.
    """

    def __init__(self, multiplexer: Multiplexer, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.reference = weakref.ref(self)
        self.elders: list[weakref.ref[Trunk]] = []
        """Those before this one that may be busy."""
        self.waiting: list[Waiting] = []
        """Not written yet. Each is added in one step, lest an interruption shift the order."""
        self.places: deque[asyncio.Future[Any]] = deque()
        """Written, or being written: who gets the next reply, and so on."""
        self._multiplexer = multiplexer
        self._tenure = Tenure(multiplexer.pool)
        # Not the context of the request that happens to come first.
        self._context = contextvars.Context()
        self.called = False
        """Whether there will be a turn."""
        # No handles, futures or tasks: they know this, and a cycle would outlast the loop.
        self._timed = self._opening = False
        self._ear = self._ears = 0
        self._shipment = Shipment()
        self._moved_at = self._replied_at = 0.0

    def hand_on(self, heir: Trunk) -> None:
        """Let `heir` see to what is not written yet."""
        heir.waiting.extend(self.waiting)
        self.waiting.clear()
        heir.call()

    def in_flight(self) -> int:
        """How many commands wait here, to be written or for their reply."""
        return len(self.waiting) + len(self.places)

    def busy_elders(self) -> list[weakref.ref[Trunk]]:
        """Those before this one to which replies are still owed."""
        return [each for each in self.elders if (elder := each()) is not None and elder.places]

    # Turns of the loop

    def call(self) -> None:
        """Have a turn as soon as the tasks that run now have asked what they want."""
        if not self._timed:
            self._set_timer(self._multiplexer.seconds)
        self.loop.call_soon(self._do, self._turn, context=self._context)
        self.called = True

    def _do(self, work: Callable[[], None]) -> None:
        """Do a piece of `work`; what is raised in it is told to all who wait."""
        try:
            work()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise

    def _turn(self) -> None:
        self.called = False
        if self.waiting:
            self._write()
        elif not self.places:
            self._tenure.end(settled=True)

    def _write(self) -> None:
        now, room = monotonic(), MOST_IN_FLIGHT - len(self.places)
        # The line first: where it is held up, another takes what cannot be written here.
        if not self._has_connection(now) or not self._shipment.gone or room <= 0:
            return  # it goes on when the socket, the server or the pool does
        batch = [entry for entry in self.waiting[:room] if not entry[1].done()]
        self._tenure.note_sent(len(batch))
        if batch:
            packed, futures, _ = zip(*batch, strict=True)
            if not self.places:
                self._moved_at = self._replied_at = now
            shipment = Shipment(packed)
            self.places.extend(futures)
            self._shipment = shipment
        del self.waiting[:room]
        if batch:
            self._ship()
            self._listen()
        self._turn_again_if_idle()

    def _turn_again_if_idle(self) -> None:
        """Where all were cancelled, there is nothing else that would end the lease."""
        if not self.places and not self.called:
            self.call()

    # The lease

    def _has_connection(self, now: float) -> bool:
        """Whether there is a connection to write on; else it is being found."""
        if self._tenure and (self._tenure.is_due(now) or self._is_held_up(now)):
            if self.places:
                self._multiplexer.succeed(self)
                return False
            self._tenure.end(settled=True)
        return bool(self._tenure) or self._lease()

    def _is_held_up(self, now: float) -> bool:
        late = self.places and now - self._replied_at > HELD_UP
        return bool(late) and self._multiplexer.has_room(self)

    def _lease(self) -> bool:
        pool = self._multiplexer.pool()
        if pool is None or self._opening:
            return False
        connection = pool.at_once()
        if connection is None:
            self._opening = True
            # Held by what it waits for, as long as it does.
            self.loop.create_task(self._open(pool), name="redispool opens a line")
            return False
        self._tenure.begin(pool, connection)
        return True

    async def _open(self, pool: AsyncConnectionPool) -> None:
        try:
            self._tenure.begin(pool, await find_connection(self.waiting, pool))
        except GeneratorExit:
            raise  # the loop is gone, and with it all who waited
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._opening = False
        self.call()

    # Bytes out

    def _ship(self) -> None:
        """Send what the system takes, and the rest when it takes more."""
        line = self._tenure.line
        try:
            gone = self._shipment.send(line)
        except OSError as error:
            raise failure_of_send(error) from None
        if not gone:
            writable = line.until(WRITE, None)
            writable.add_done_callback(self._writable, context=self._context)

    def _writable(self, _: object) -> None:
        self._do(self._go_on)

    def _go_on(self) -> None:
        if not self._shipment.gone:
            self._moved_at = monotonic()
            self._ship()
        if self.waiting and not self.called:
            self.call()

    # Replies in

    def _listen(self) -> None:
        if self._ear or not self.places:
            return
        line = self._tenure.line
        self._ear = self._ears = self._ears + 1
        heard = functools.partial(self._heard, self._ear)
        if line.may_have_more:
            self.loop.call_soon(heard, context=self._context)
        else:
            line.until(READ, None).add_done_callback(heard, context=self._context)

    def _heard(self, ear: int, _: object = None) -> None:
        if ear == self._ear:  # else it listened to a line that is closed
            self._do(self._hear_on)

    def _hear_on(self) -> None:
        self._ear = 0
        self._hear()
        self._listen()
        if not self.called:
            self.call()  # after the tasks that have been woken: they may ask more

    def _hear(self) -> None:
        connection, line = self._tenure.connection, self._tenure.line
        try:
            came = line.receive()
        except OSError as error:
            raise failure_of_read(error, connection._host_error()) from None
        if came:
            self._moved_at = monotonic()
            owed = len(self.places)
            self._hand_out(line)
            if len(self.places) < owed:
                self._replied_at = self._moved_at
                if not (self.places or self._shipment.gone):
                    raise ConnectionError("the server answered what it cannot have read")

    def _hand_out(self, line: Line) -> None:
        """Give each reply that has come to the first in the order."""
        gets, places = line.gets, self.places
        while True:
            try:
                reply = gets()
            except UnicodeDecodeError as error:
                reply = error.with_traceback(None)  # this one is no text; the next one may be
            if reply is NOT_ENOUGH_DATA:
                return
            if type(reply) not in VALUES:
                if type(reply) is PUSH:
                    self.loop.create_task(line.take_push(reply))  # as in _lease
                    continue
                self._look_at(reply)
            if not places:
                raise ConnectionError("the server sent a reply that nobody had asked for")
            place = places[0]
            if not place.done():
                place.set_result(reply)
            places.popleft()  # only now: an interruption before that closes the line

    def _look_at(self, reply: Any) -> None:
        """Let nobody else use the connection of a server that does not serve, or not writes."""
        if is_refusal(reply):
            self._tenure.connection.ledger.stain()
        if isinstance(reply, ReadOnlyError):
            self._tenure.connection.ledger.refused_write()

    # Trouble

    def _set_timer(self, seconds: float | None) -> None:
        if seconds is not None:
            self._timed = True
            self.loop.call_later(seconds, self._do, self._look_at_time, context=self._context)

    def _look_at_time(self) -> None:
        """End the line on which nothing moves; go on where an interruption cost a turn."""
        self._timed = False
        seconds = self._multiplexer.seconds
        if seconds is None or not (self.in_flight() or self._tenure):
            return
        left = self._time_left(seconds)
        if left <= 0:
            self._hear()  # perhaps it was the loop that stood still
            left = self._time_left(seconds)
        if left <= 0:
            doing = "reading from" if self._shipment.gone else "writing to"
            raise TimeoutError(f"Timeout {doing} socket")
        self._set_timer(left)
        self.call()

    def _time_left(self, seconds: float) -> float:
        return self._moved_at + seconds - monotonic() if self.places else seconds

    def _fail(self, error: BaseException) -> None:
        """Close the line, and tell everybody."""
        left = self._shipment.left()
        if not isinstance(error, Exception):
            clear_frames(error, None)  # in which something may be that is to be given back
            # In the middle of something: how much has gone is not known.
            left, error = 0, ConnectionError(f"the line was closed by a {type(error).__name__}")
        error = first = self._tenure.cause_of(error)
        if not isinstance(error, RedisError):
            error = ConnectionError(f"the reply before this one cannot be read: {error!r}")
        self._ear, self._shipment = 0, Shipment()
        self._tenure.break_off()
        written = len(self.places) - left
        for number, future in enumerate(list(self.places)):
            tell(future, error if number else first, unsent=number >= written)
        for _, future, _ in list(self.waiting):
            tell(future, error, unsent=True)
        self.places.clear()
        self.waiting.clear()
