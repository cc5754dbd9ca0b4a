"""The express lane: a plain command on a fresh connection, while nobody waits, in one function.

Nearly all commands are such. After each wait for the server the interpreter finds its caches cold,
so that every function on the way counts several times; and threads that need long for the steps
between two system calls find the interpreter's lock taken, and sleep. So what `ConnectionPool`,
`Fitness` and `Conversation` do in many functions is done in one here, which makes a sixth more
commands a second with four threads. Whatever is not as usual goes their way.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.exceptions import ConnectionError

from .figures import SHORT, SINCE, SINGLE
from .ledger import PLAIN
from .packing import TEXTS, pack_one
from .replies import VALUES
from .wire import CLOSED

if TYPE_CHECKING:
    from .pool import ConnectionPool

ELSEWHERE = object()
"""Stands for a reply where the command has to go another way."""


class Express:
    """The lane of one pool in one process.

    It does not know the pool, which knows it: pools go with their last reference.

    Args:
        pool: has begun.
    """

    __slots__ = ("_evictor", "_fitness", "_idle", "_queue", "_surplus", "_waiters")

    def __init__(self, pool: ConnectionPool) -> None:
        self._fitness, self._evictor = pool.fitness, pool.evictor
        self._surplus = pool.capacity.surplus
        self._queue = pool.capacity.queue
        self._idle, self._waiters = self._queue.idle, self._queue.waiters

    def ask(self, pool: ConnectionPool, args: tuple[Any, ...], now: float) -> Any:
        """The reply to a command, as `Conversation.read_response` gives it; or `ELSEWHERE`.

        Args:
            pool: whose lane it is.
            args: the command.
            now: the time, on the monotonic clock.
        """
        if self._waiters or args[0] not in PLAIN:
            return ELSEWHERE
        try:
            connection: Any = self._idle.pop()
        except IndexError:
            return ELSEWHERE
        # As Fitness.fresh.
        wire, fitness, last_used = connection.express, self._fitness, connection.last_used
        if (
            wire is None
            or now - last_used >= fitness.trusted_for
            or last_used <= fitness.suspect_since
            or now >= connection.expires_at
        ):
            self._queue.give(connection)
            return ELSEWHERE
        # As ConnectionPool.acquire. What is written, and below, is timed by benchmarks/speed
        # (Ours.showing), in a copy.
        record, lease, ledger = connection.slot.record, connection.brief, connection.ledger
        record.cells[SINCE] = lease.since = now
        lease.thread = threading.get_ident()
        connection.lease.append(lease)
        try:
            # As Conversation.ask_at_once and Wire.answer.
            send, receive, buffer, feed, gets = wire.parts
            short = len(args) == 2 and type(args[1]) in TEXTS
            packed = pack_command(args) if short else pack_one(args)
            ledger.owed += 1
            try:
                send(packed)
            except BaseException as error:
                connection._sending_failed(error, unsent=True)
            try:
                count = receive(buffer)
                if not count:
                    raise ConnectionError(CLOSED)
                feed(buffer, 0, count)
                reply = gets()
                if type(reply) not in VALUES:
                    reply = wire.whole(reply)
            except BaseException as error:
                connection._reading_failed(error, True)
                raise
            ledger.owed -= 1
            if type(reply) in VALUES:
                return reply
            box = [reply]
            del reply  # as in Conversation.read_response
            return connection._value_in(box, disconnect=True)
        finally:
            # As ConnectionPool.release.
            now = monotonic()
            if (
                now - lease.since >= SHORT
                or ledger.owed
                or ledger.left
                or self._surplus
                or now >= connection.expires_at
                or now >= self._evictor.next_sweep
                or connection.batch is not fitness.batch
            ):
                record.note_acquired()
                record.note_commands(1)
                pool.release(connection)
            else:
                try:
                    connection.lease.pop()
                except IndexError:
                    record.note_acquired()
                    record.note_commands(1)
                    pool.release(connection)  # which says what is wrong
                else:
                    record.single = single = record.single + 1
                    record.cells[SINGLE] = single
                    record.cells[SINCE] = 0.0
                    connection.last_used = now
                    self._idle.append(connection)
                    # What happened between the look and the append:
                    if self._waiters:
                        self._queue.hand_over()
                    if connection.batch is not fitness.batch:
                        self._evictor.end_stale()
