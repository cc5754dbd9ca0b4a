from __future__ import annotations

import gc
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import _parsers as parsers
from redis.exceptions import ConnectionError, TimeoutError

from redispool import ConnectionPool, ForkedLease, NotOwned, PoolClosed, PoolTimeout, Redis
from redispool.connection import PooledConnection
from redispool.express import Express
from redispool.policy import TRUSTED_FOR
from tests.support import Clock, Valkey, eventually, in_child, injection
from tests.support.scale import THOROUGH, scale

KEYS = 5
MOST = 5
"""How far the pool is resized, and how many callers are let queue up."""
SPIN = "for i = 1, 1e7 do end return 1"
"""A script that takes some hundredths of a second."""

number = st.integers(min_value=0, max_value=KEYS - 1)
which = st.integers(min_value=0, max_value=MOST - 1)
"""One of those that are there, counted round."""


class CountingPool(ConnectionPool):
    """Counts how often it was asked for a connection."""

    asked = 0

    def acquire(self, timeout: Any = ...) -> PooledConnection:
        self.asked += 1
        return super().acquire(timeout)

    def _begin(self, size: int) -> None:
        super()._begin(size)
        self.express = CountingExpress(self)


class CountingExpress(Express):
    """The same for those commands that do not ask the pool."""

    def ask(self, pool: Any, *args: Any) -> Any:
        before = pool.stats().acquired_total
        try:
            return super().ask(pool, *args)
        finally:
            pool.asked += pool.stats().acquired_total - before


class Line:
    """What the model knows of a line to the server.

    Args:
        row: what the server says of it.
        epoch: how often the pool had been recycled when it was opened.
    """

    def __init__(self, row: dict[str, str], epoch: int) -> None:
        self.address = row["addr"]
        self.id = int(row["id"])
        self.epoch = epoch
        self.killed = False


class Holder:
    """What the model knows of one who holds a connection."""

    def __init__(self, connection: PooledConnection) -> None:
        self.connection = connection
        self.begin()

    def begin(self) -> None:
        """A new session: nothing was asked in it."""
        self.expected: deque[Any] = deque()
        self.in_multi = self.elsewhere = False
        self.blocked_on = ""

    def send(self, reply: Any, *command: Any) -> None:
        """Send a command, and remember the reply that belongs to it."""
        self.connection.send_command(*command)
        self.expected.append(b"QUEUED" if self.in_multi and command[0] != "DISCARD" else reply)

    def read(self) -> None:
        """Read what is owed: the replies that were asked for, in their order, and no others."""
        while self.expected:
            assert self.connection.read_response() == self.expected[0]
            self.expected.popleft()

    def value_of(self, key: int) -> bytes | None:
        """What a read of key number `key` gives."""
        return None if self.elsewhere else value_of(key)


class Caller:
    """A thread that waits for a connection."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.outcome: list[Any] = []
        threading.Thread(target=self._run, args=(pool,), daemon=True).start()

    def _run(self, pool: ConnectionPool) -> None:
        try:
            self.outcome.append(pool.acquire(timeout=None))
        except Exception as error:
            self.outcome.append(error)

    def take(self) -> Any:
        """What it got, once it got something."""
        return eventually(lambda: self.outcome).pop()


class Pools(RuleBasedStateMachine):
    """All that may happen to a pool, in any order; after each step its books are compared.

    Args:
        server: a real one.
        clock: that of the pool.
        options: of the pool.
    """

    def __init__(self, server: Valkey, clock: Clock, options: dict[str, Any]) -> None:
        super().__init__()
        self.clock = clock
        self.outside = server.outside()
        self.options = {"host": server.host, "port": server.port, **options}
        self.stranger = ConnectionPool(**self.options, alias="stranger")
        self.epoch = 0
        self.known_ids: set[int] = set()
        self.open_pool()

    def open_pool(self) -> None:
        """Begin with a pool that nobody used."""
        self.bound = 3
        self.pool = CountingPool(
            **self.options,
            alias="model",
            max_connections=self.bound,
            max_lifetime=600.0,
        )
        self.client = Redis(connection_pool=self.pool)
        self.holders: list[Holder] = []
        self.callers: list[Caller] = []
        self.ghosts = 0
        """Callers who were interrupted where they could not leave the queue any more. The next
        that comes free goes to one of them, and through its finalizer to the next caller."""
        self.lines: WeakKeyDictionary[PooledConnection, Line] = WeakKeyDictionary()

    # Getting

    def some_free(self) -> bool:
        """Whether a caller need not wait."""
        return len(self.holders) < self.bound

    def none_free(self) -> bool:
        """Whether a caller has to wait."""
        return not self.some_free()

    def some_held(self) -> bool:
        """Whether there is somebody to act."""
        return bool(self.holders)

    @initialize(count=which)
    def begin(self, count: int) -> None:
        """Most of what may happen needs somebody to whom it happens."""
        self.get(count)

    @precondition(some_free)
    @rule(count=which)
    def get(self, count: int) -> None:
        """Take some connections, as many as are free at most."""
        for _ in range(min(1 + count, self.bound - len(self.holders))):
            self.get_one()

    def get_one(self) -> None:
        """Take a connection: one that is not stale, or a new one."""
        now = self.clock.now()
        used = {id(idle): idle.last_used for idle in self.pool.capacity.queue.idle}
        connection = self.pool.acquire()
        line = self.lines.get(connection)
        if line is not None:
            idle_for = now - used[id(connection)]
            assert line.epoch == self.epoch, "it should have been renewed"
            assert not line.killed or idle_for < TRUSTED_FOR, "it has been dead for long"
            assert idle_for < self.pool.options.max_idle
            assert now < connection.expires_at
        self.lend(connection)

    def lend(self, connection: PooledConnection) -> None:
        """Note that somebody has it, and that nobody else has."""
        assert all(connection is not holder.connection for holder in self.holders)
        self.holders.append(Holder(connection))

    @precondition(lambda self: self.none_free() and len(self.callers) < MOST)
    @rule()
    def queue(self) -> None:
        """Another caller waits."""
        self.callers.append(Caller(self.pool))
        expected = len(self.callers) + self.ghosts
        eventually(lambda: self.pool.stats().waiting == expected)

    def serve(self) -> None:
        """Whoever waits for what has come free gets it, first come, first served."""
        while self.callers and self.some_free():
            got = self.callers.pop(0).take()
            assert isinstance(got, PooledConnection), got
            self.lend(got)

    @precondition(none_free)
    @rule(seconds=st.sampled_from([0, 0.001]))
    def time_out_in_the_queue(self, seconds: float) -> None:
        """Nothing comes free in time."""
        with pytest.raises(PoolTimeout):
            self.pool.acquire(timeout=seconds)

    # Giving back

    def pick(self, which: int) -> Holder:
        """One of those who hold a connection."""
        return self.holders[which % len(self.holders)]

    @precondition(some_held)
    @rule(which=which)
    def release(self, which: int) -> None:
        """Give a connection back, in whatever state it is."""
        holder = self.pick(which)
        self.holders.remove(holder)
        self.pool.release(holder.connection)
        self.serve()

    @precondition(lambda self: self.holders and not self.callers)
    @rule(which=which)
    def release_twice(self, which: int) -> None:
        """The second time it is not one's own any more; nor may one use it."""
        holder = self.pick(which)
        self.release(which)
        before = self.pool.stats().misuse_total
        with pytest.raises(NotOwned):
            self.pool.release(holder.connection)
        with pytest.raises(NotOwned):
            holder.connection.send_command("PING")
        assert self.pool.stats().misuse_total == before + 1

    @precondition(some_held)
    @rule(which=which)
    def release_to_a_stranger(self, which: int) -> None:
        """Another pool refuses it."""
        with pytest.raises(NotOwned):
            self.stranger.release(self.pick(which).connection)

    @precondition(some_held)
    @rule(which=which)
    def forget(self, which: int) -> None:
        """Drop a connection: its place is free at once."""
        gc.collect()  # errors of earlier steps, whose frames know the connection too
        before = self.pool.stats().reclaimed_total
        with pytest.warns(ResourceWarning, match="never given back"):
            self.holders.remove(self.pick(which))
        assert self.pool.stats().reclaimed_total == before + 1
        self.serve()

    # Using

    def able(self) -> list[Holder]:
        """Those who do not wait for a late reply."""
        return [holder for holder in self.holders if not holder.blocked_on]

    def some_can_speak(self) -> bool:
        """Whether there is one of them."""
        return bool(self.able())

    def speak(self, which: int, work: Callable[[Holder], None]) -> None:
        """Let one of the holders use its line; only one that was killed may break."""
        able = self.able()
        holder = able[which % len(able)]
        line = self.lines.get(holder.connection)
        if not holder.connection.is_open:
            holder.begin()
        try:
            work(holder)
        except ConnectionError:
            assert line is not None
            assert line.killed
            assert not holder.connection.is_open

    @precondition(some_can_speak)
    @rule(which=which, number=number)
    def read_a_key(self, which: int, number: int) -> None:
        """Every reply is that of its own command."""

        def work(holder: Holder) -> None:
            holder.send(holder.value_of(number), "GET", f"key{number}")
            holder.read()

        self.speak(which, work)

    @precondition(some_can_speak)
    @rule(which=which, number=number)
    def leave_a_reply_unread(self, which: int, number: int) -> None:
        """Ask, and do not listen."""
        self.speak(
            which,
            lambda holder: holder.send(holder.value_of(number), "GET", f"key{number}"),
        )

    @precondition(some_can_speak)
    @rule(which=which)
    def leave_a_reply_that_comes_late(self, which: int) -> None:
        """Ask for what is not there yet."""

        def work(holder: Holder) -> None:
            if not (holder.in_multi or holder.elsewhere):
                name = f"late{self.pool.asked}:{id(holder)}"
                holder.send([name.encode(), b"at last"], "BLPOP", name, 60)
                holder.blocked_on = name

        self.speak(which, work)

    @precondition(lambda self: any(holder.blocked_on for holder in self.holders))
    @rule()
    def answer_late(self) -> None:
        """What was asked for comes, for the one who has waited longest for it."""
        holder = next(holder for holder in self.holders if holder.blocked_on)
        self.outside.rpush(holder.blocked_on, "at last")
        holder.blocked_on = ""

    @precondition(some_can_speak)
    @rule(which=which)
    def begin_or_end_a_transaction(self, which: int) -> None:
        """MULTI stays open, until somebody discards it or gives it back."""

        def work(holder: Holder) -> None:
            holder.send(b"OK", "DISCARD" if holder.in_multi else "MULTI")
            holder.in_multi = not holder.in_multi
            holder.read()

        self.speak(which, work)

    @precondition(some_can_speak)
    @rule(which=which)
    def go_elsewhere(self, which: int) -> None:
        """Select a database in which no key is."""

        def work(holder: Holder) -> None:
            holder.send(b"OK", "SELECT", 1)
            holder.elsewhere = holder.elsewhere or not holder.in_multi
            holder.read()

        self.speak(which, work)

    @precondition(some_can_speak)
    @rule(which=which)
    def time_out_before_a_reply(self, which: int) -> None:
        """The server takes longer than the holder would wait."""

        def work(holder: Holder) -> None:
            holder.send(1, "EVAL", SPIN, 0)
            holder.connection.finish_by(self.clock.now() + 0.001)
            try:
                holder.read()
            except TimeoutError:
                pass  # it is as if the holder had not read, or the line was closed
            finally:
                holder.connection.finish_by(None)

        self.speak(which, work)

    @precondition(some_free)
    @rule(number=number)
    def ask_through_a_client(self, number: int) -> None:
        """A client gets the right value, although idle lines may be dead."""
        assert self.client.get(f"key{number}") == value_of(number)

    @rule(number=number, point=st.integers(min_value=1, max_value=300))
    def interrupt(self, number: int, point: int) -> None:
        """Something is raised in the midst of a command, or of waiting for a connection."""
        asked = self.pool.asked - self.pool.stats().requests_total
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if self.some_free():
                outcome = injection.strike(lambda: self.client.get(f"key{number}"), "line", point)
                assert outcome.struck or outcome.value == value_of(number)
            else:
                outcome = injection.strike(lambda: self.pool.acquire(0.001), "line", point)
                self.ghosts += outcome.struck
        # An interruption between a deed and its entry leaves one of the two without the other.
        missing = self.pool.asked - self.pool.stats().requests_total - asked
        assert abs(missing) <= 1
        self.pool.asked -= missing

    # What comes from outside

    @rule(which=which, seconds=st.sampled_from([0.0, 1.0]))
    def kill(self, which: int, seconds: float) -> None:
        """The server closes a connection; soon it can be noticed."""
        alive = sorted(self.alive(), key=lambda line: line.id)
        if alive:
            self.hang_up(alive[which % len(alive)])
        self.clock.advance(seconds)

    def kill_all(self) -> None:
        """The server closes all, as when it is restarted."""
        for line in self.alive():
            self.hang_up(line)

    def hang_up(self, line: Line) -> None:
        self.outside.client_kill_filter(_id=line.id)
        line.killed = True

    @rule(seconds=st.sampled_from([1.0, 31.0, 250.0]))
    def let_time_pass(self, seconds: float) -> None:
        """Idle connections are to be looked at, asked, or closed."""
        self.clock.advance(seconds)

    @rule(size=st.integers(min_value=1, max_value=MOST))
    def resize(self, size: int) -> None:
        """Another bound; who waits may be served by it."""
        self.pool.resize(size)
        self.bound = size
        self.serve()

    @rule()
    def recycle(self) -> None:
        """Nothing that is open now shall be lent again."""
        self.pool.recycle()
        self.epoch += 1

    @rule()
    def fork(self) -> None:
        """A child works on lines of its own; the parent's are refused there, and work on here."""
        self.known_ids.add(in_child(self.in_the_child))
        for place, _ in enumerate(self.able()):
            self.speak(place, Holder.read)

    def in_the_child(self) -> int:
        for holder in self.holders:
            with pytest.raises(ForkedLease):
                holder.connection.send_command("PING")
            with pytest.raises(ForkedLease):
                self.pool.release(holder.connection)
        assert self.client.get("key1") == value_of(1)
        with self.pool.connection():
            stats = self.pool.stats()
            assert (stats.idle, stats.in_use, stats.permits) == (0, 1, self.bound - 1)
        assert stats.waiting == 0
        own = self.client.client_id()
        assert own not in self.known_ids
        return own

    def close(self) -> None:
        """The end, and a new pool: who waits is told, who works is cut and may still give back."""
        assert self.pool.close(timeout=0) == len(self.holders)
        for caller in self.callers:
            assert isinstance(caller.take(), PoolClosed)
        with pytest.raises(PoolClosed):
            self.pool.acquire()
        for holder in self.holders:
            with pytest.raises(ConnectionError):
                holder.send(b"PONG", "PING")
                holder.read()
            self.pool.release(holder.connection)
        assert self.pool.capacity.slots() == []
        eventually(lambda: not self.rows())
        self.open_pool()

    # One rule for both, lest they leave no time for the others.
    @rule(event=st.sampled_from([kill_all, close]))
    def upheaval(self, event: Callable[[Pools], None]) -> None:
        """What concerns all connections at once."""
        event(self)

    # What holds after each step

    @invariant()
    def the_books_agree(self) -> None:
        """Each place is counted once, and each request."""
        stats = self.pool.stats()
        found = (stats.in_use, stats.connecting, stats.max_connections)
        assert found == (len(self.holders), 0, self.bound)
        ghosts = stats.waiting - len(self.callers)
        assert 0 <= ghosts <= self.ghosts
        self.ghosts = ghosts
        # After a resize to less, places in use that are too many end when they are given back.
        assert stats.idle + stats.permits == max(self.bound - len(self.holders), 0)
        assert stats.requests_total == self.pool.asked - len(self.callers)

    @invariant()
    def the_server_agrees(self) -> None:
        """It has just those lines that the pool has, each in one place."""
        eventually(lambda: {line.address for line in self.alive()} == self.rows().keys())
        places = [connection.slot for connection in self.connections()]
        assert len(places) == len(set(places)) <= max(self.bound, len(self.holders))

    def alive(self) -> list[Line]:
        """The lines of the pool that nobody killed; what the model did not know it gets to know."""
        rows = self.rows()
        for connection in self.connections():
            address, line = address_of(connection), self.lines.get(connection)
            if line is None or line.address != address:
                # Opened again by its holder, it is still renewed with those of its first opening.
                epoch = self.epoch if line is None else line.epoch
                line = self.lines[connection] = Line(rows[address], epoch)
                assert line.id not in self.known_ids
                self.known_ids.add(line.id)
        return [
            line for connection in self.connections() if not (line := self.lines[connection]).killed
        ]

    def connections(self) -> Iterator[PooledConnection]:
        """All of the pool that have a line."""
        return (found for found in self.pool.capacity.connections() if found.is_open)

    def rows(self) -> dict[str, dict[str, str]]:
        """What the server says of the connections of the pool in this process, by address."""
        name = f"redispool:{self.pool.alias}:"
        return {
            row["addr"]: row for row in self.outside.client_list() if row["name"].startswith(name)
        }

    def teardown(self) -> None:
        """In the end everybody gives back, and nothing is left."""
        while self.holders:
            self.release(0)
        assert self.pool.close(timeout=0) == 0
        eventually(lambda: not self.rows())
        self.outside.close()


def address_of(connection: PooledConnection) -> str:
    """Under which address the server knows it."""
    host, port = connection._sock.getsockname()
    return f"{host}:{port}"


def value_of(key: int) -> bytes:
    """The value of key number `key`, which nobody changes."""
    return f"value of {key}".encode()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"protocol": 3}, id="RESP3"),
        pytest.param({"protocol": 2}, id="RESP2"),
        pytest.param({"protocol": 3, "parser_class": parsers._RESP3Parser}, id="RESP3, pure"),
    ],
)
def test_model_machine(
    flushed: Valkey, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Whatever happens in whatever order, pool, model and server agree after each step."""
    with flushed.outside() as client:
        client.mset({f"key{number}": value_of(number) for number in range(KEYS)})
    clock = Clock(monkeypatch)
    # Not in the standard library: a trace function, unlike a signal, can leave its locks taken.
    monkeypatch.setattr(injection, "PLACES", injection.PLACES[:2])

    def machine() -> Pools:
        return Pools(flushed, clock, options)

    run_state_machine_as_test(
        # The same each time, so that a change that is not to blame does not fail by chance.
        machine if THOROUGH else seed(str(options))(machine),
        settings=settings(
            deadline=None,
            database=None,
            max_examples=scale(1000, 40),
            stateful_step_count=scale(60, 30),
            # "explain" would trace, as the interruptions do.
            phases=set(Phase) - {Phase.explain},
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
