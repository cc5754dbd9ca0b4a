"""A model of the tasks that share a connection, and of what may become of them, in any order."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from redispool import AsyncConnectionPool, AsyncRedis, PoolClosed
from redispool.aio.multiplexer import LARGE, LINES
from redispool.testing import FaultProxy
from tests.support import Valkey, eventually
from tests.support.loops import closed_quietly, until
from tests.support.scale import THOROUGH, scale

BOUND = 8
MOST = 30
"""How many tasks are let run at once."""
PATIENCE = 0.15
"""``socket_timeout``: what is held up for longer is given up."""
which = st.integers(min_value=0, max_value=MOST)
"""One of those that are there, counted round."""


def only_if(condition: Callable[[Tasks], Any]) -> Callable[[Callable[..., None]], Any]:
    """Let a rule do nothing where `condition` does not hold.

    A ``precondition`` would say so before the rule is chosen; but what the tasks have come to is a
    matter of time here, and Hypothesis wants the same choice each time that it plays steps again.
    """

    def decorate(rule: Callable[..., None]) -> Any:
        @functools.wraps(rule)
        def conditional(self: Tasks, **drawn: Any) -> None:
            if condition(self):
                rule(self, **drawn)

        return conditional

    return decorate


@dataclass
class Asked:
    """A task, what it has to give, and what may have come between."""

    task: asyncio.Task[Any]
    right: Any
    write: str = ""
    """The counter that it increments, which nobody else touches."""
    own_line: bool = False
    """Whether it holds a connection until somebody answers it."""
    cancelled: bool = False
    may_fail: bool = False
    """Whether something was done since that may have broken its line."""


@dataclass
class Writes:
    """What the callers know of the counters."""

    ran: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


class Tasks(RuleBasedStateMachine):
    """Asks, cancels, breaks and closes; and compares what comes of it with the server."""

    def __init__(self, server: Valkey, proxy: FaultProxy) -> None:
        super().__init__()
        self.server, self.proxy = server, proxy
        self.writes = Writes()
        self.asked: list[Asked] = []
        self.numbers = itertools.count()
        self.holding = self.shaken = False
        with server.outside() as outside:
            outside.flushall()
        self.open_pool()
        self.loop = asyncio.new_event_loop()

    def open_pool(self) -> None:
        self.pool = AsyncConnectionPool(
            url=self.proxy.url,
            multiplex=True,
            max_connections=BOUND,
            socket_timeout=PATIENCE,
            timeout=5.0,
            alias="model",
        )
        self.client = AsyncRedis(connection_pool=self.pool)

    # What tasks ask for

    def ask(self, work: Any, right: Any, **known: Any) -> None:
        async def run() -> Any:
            return await work

        known.setdefault("may_fail", self.shaken)
        self.asked.append(Asked(self.loop.create_task(run()), right, **known))

    def some_room(self) -> bool:
        return len(self.asked) < MOST

    def own_lines(self) -> int:
        return sum(each.own_line for each in self.asked)

    @rule(count=st.integers(min_value=1, max_value=5))
    @only_if(some_room)
    def read(self, count: int) -> None:
        """Commands whose replies name them; they may be sent again."""
        for number in itertools.islice(self.numbers, count):
            self.ask(self.client.echo(f"echo {number}"), f"echo {number}".encode())

    @rule(count=st.integers(min_value=1, max_value=3))
    @only_if(some_room)
    def write(self, count: int) -> None:
        """Commands that must not run twice, each with a counter of its own."""
        for number in itertools.islice(self.numbers, count):
            key = f"count {number}"
            self.ask(self.client.incr(key), 1, write=key)

    @rule()
    @only_if(some_room)
    def send_much(self) -> None:
        """A value that is too large for a line with others."""
        text = str(next(self.numbers)) * LARGE
        self.ask(self.client.echo(text), text.encode())

    @rule()
    @only_if(some_room)
    def receive_much(self) -> None:
        """A reply that comes in many pieces, on the line of the others."""
        number = next(self.numbers)
        script, size = "return ARGV[1] .. string.rep('x', tonumber(ARGV[2]))", 5 * LARGE
        work = self.client.eval(script, 0, str(number), size)  # type: ignore[no-untyped-call]
        # A script counts as a write: it is not sent again.
        self.ask(work, str(number).encode() + b"x" * size)

    @rule()
    @only_if(some_room)
    def transact(self) -> None:
        """A transaction that writes, on a line of its own."""
        key = f"count {next(self.numbers)}"
        work = self.client.pipeline().incr(key).echo("x").execute()
        self.ask(work, [1, b"x"], write=key)

    @rule()
    @only_if(lambda self: self.some_room() and self.own_lines() < BOUND - LINES)
    def block(self) -> None:
        """A command that waits until `answer`."""
        name = f"list {next(self.numbers)}"
        work = self.client.blpop([name], 60)
        self.ask(work, (name.encode(), b"at last"), own_line=True)

    @rule()
    @only_if(lambda self: self.some_room() and self.own_lines() < BOUND - LINES)
    def pin(self) -> None:
        """A task that holds its connection until `answer`, and whose session stays its own."""
        name = f"list {next(self.numbers)}"

        async def work() -> Any:
            async with self.client.pinned() as pin:
                first = await pin.client_id()
                found = await pin.blpop([name], 60)
                assert await pin.client_id() == first
                return found

        self.ask(work(), (name.encode(), b"at last"), own_line=True)

    # What becomes of them

    @rule(turns=st.integers(min_value=1, max_value=6))
    def go_on(self, turns: int) -> None:
        """Some turns of the loop, in the middle of everything."""
        for _ in range(turns):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule()
    @only_if(lambda self: self.asked and not self.holding)
    def hold(self) -> None:
        """The server does what was asked for, and its replies do not come."""
        self.all_may_fail()
        self.proxy.hold()
        self.holding = True
        for _ in range(50):
            self.loop.run_until_complete(asyncio.sleep(0.0))
            if self.proxy.held:
                break

    @rule(which=which, times=st.integers(min_value=1, max_value=2))
    @only_if(lambda self: self.asked)
    def cancel(self, which: int, times: int) -> None:
        """A task is cancelled, wherever it is."""
        each = self.asked[which % len(self.asked)]
        for _ in range(times):
            each.cancelled = each.task.cancel() or each.cancelled

    @rule(which=which)
    @only_if(lambda self: any(each.own_line for each in self.asked))
    def answer(self, which: int) -> None:
        """One of those gets its element that wait for one."""
        waiting = [each for each in self.asked if each.own_line]
        each = waiting[which % len(waiting)]
        each.own_line = False
        with self.server.outside() as outside:
            outside.rpush(each.right[0], "at last")

    @rule()
    @only_if(lambda self: not self.holding)
    def settle(self) -> None:
        """Everybody gets what he has asked for, but those who wait for `answer`."""
        due = [each.task for each in self.asked if not each.own_line]
        self.loop.run_until_complete(until(lambda: all(task.done() for task in due)))
        self.loop.run_until_complete(until(lambda: not self.pool.shared_in_flight))
        self.loop.run_until_complete(until(lambda: self.pool.stats().in_use <= self.own_lines()))
        if self.shaken:
            self.pool.recycle()
            self.shaken = False

    # What comes from outside

    def all_may_fail(self) -> None:
        self.shaken = True  # a line may be found dead later, too
        for each in self.asked:
            each.may_fail = True

    @rule(how=st.sampled_from([FaultProxy.close_all, FaultProxy.reset_all]), executed=st.booleans())
    def break_lines(self, how: Callable[[FaultProxy], None], executed: bool) -> None:
        """All lines end, perhaps when the server has done what was asked for."""
        if executed:
            self.hold()
        self.all_may_fail()
        how(self.proxy)
        if executed:
            self.pass_all()

    @rule(late=st.booleans())
    @only_if(lambda self: self.holding)
    def let_go(self, late: bool) -> None:
        """The replies come, before or after the time of those who wait for them is over."""
        self.loop.run_until_complete(asyncio.sleep(PATIENCE * 1.2 if late else 0))
        self.pass_all()

    def pass_all(self) -> None:
        """Nothing is held any more."""
        if self.holding:
            self.all_may_fail()
            self.proxy.let_go()
            self.holding = False

    def recycle(self) -> None:
        """Other connections take the place of those of now, and nobody notices."""
        self.pool.recycle()

    def end_the_loop(self, *, close: bool = True) -> None:
        """The loop is gone, with whatever was in flight; the next one goes on."""
        self.replies_belong_to_their_commands()
        self.abandon()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if close:
                closed_quietly(self.loop)
            self.loop = asyncio.new_event_loop()
            gc.collect()
            self.pass_all()
            # Who waits for a place in a loop that stands still is passed over by the next one.
            assert self.loop.run_until_complete(self.client.echo("x")) == b"x"  # type: ignore[arg-type]
            gc.collect()
        self.loop.run_until_complete(until(lambda: not self.pool.stats().in_use))
        stats = self.pool.stats()
        assert (stats.in_use, stats.connecting, stats.shared_in_flight) == (0, 0, 0)

    def abandon(self) -> None:
        """Know nothing any more of the tasks, which know their loop."""
        self.loop.set_exception_handler(lambda *_: None)
        while self.asked:
            each = self.asked.pop()
            self.writes.unknown.add(each.write)
            each.task._log_destroy_pending = False  # type: ignore[attr-defined]

    def drop_the_loop(self) -> None:
        """The same, and nobody closes it."""
        self.end_the_loop(close=False)

    def close_the_pool(self) -> None:
        """All who wait are told, and what comes later is refused."""
        self.all_may_fail()
        self.pool.close()
        pool, client = self.pool, self.client
        self.loop.run_until_complete(until(lambda: all(each.task.done() for each in self.asked)))
        with pytest.raises(PoolClosed):
            self.loop.run_until_complete(client.echo("x"))  # type: ignore[arg-type]
        assert pool.stats().in_use == 0
        self.open_pool()

    # One rule for all of them, lest they leave no time for the others.
    @rule(event=st.sampled_from([recycle, end_the_loop, drop_the_loop, close_the_pool]))
    def upheaval(self, event: Callable[[Tasks], None]) -> None:
        """What concerns all tasks at once."""
        event(self)

    # What holds after each step

    @invariant()
    def replies_belong_to_their_commands(self) -> None:
        """Who has got something, got his own, or an error that there was a reason for."""
        for each in [each for each in self.asked if each.task.done()]:
            self.asked.remove(each)
            self.judge(each)

    def judge(self, each: Asked) -> None:
        """Look at what has become of a task."""
        if each.task.cancelled():
            assert each.cancelled
            self.writes.unknown.add(each.write)
            return
        error = each.task.exception()
        if error is None:
            assert each.task.result() == each.right
            self.writes.ran.add(each.write)
            return
        assert each.may_fail, error
        assert isinstance(error, redis.ConnectionError | redis.TimeoutError), error
        self.writes.unknown.add(each.write)

    @invariant()
    def the_books_agree(self) -> None:
        """No place is lost, and none is there twice."""
        stats = self.pool.stats()
        assert stats.idle + stats.in_use + stats.connecting + stats.permits == BOUND

    def teardown(self) -> None:
        """In the end nobody has lost anything, and no write has run twice."""
        self.pass_all()
        for each in self.asked:
            if each.own_line:
                each.cancelled = each.task.cancel() or each.cancelled
                each.own_line = False
        self.settle()
        self.replies_belong_to_their_commands()
        stats = self.pool.stats()
        assert (stats.in_use, stats.waiting, stats.connecting) == (0, 0, 0)
        assert self.pool.close() == 0
        closed_quietly(self.loop)
        with self.server.outside() as outside:
            found = {key.decode(): int(outside.get(key)) for key in outside.keys("count *")}
        assert set(found.values()) <= {1}
        assert self.writes.ran - {""} <= found.keys() <= self.writes.ran | self.writes.unknown
        eventually(lambda: not self.server.clients("model"))


@pytest.mark.filterwarnings("ignore:.*was never awaited", "ignore:.*never given back")
def test_multiplex_machine(flushed: Valkey) -> None:
    """Whatever happens in whatever order: replies are one's own, and no write runs twice."""
    with FaultProxy(flushed.url) as proxy:

        def machine() -> Tasks:
            return Tasks(flushed, proxy)

        run_state_machine_as_test(
            # The same each time, so that a change that is not to blame does not fail by chance.
            machine if THOROUGH else seed(1)(machine),
            settings=settings(
                deadline=None,
                database=None,
                max_examples=scale(1000, 12),
                stateful_step_count=scale(60, 30),
                phases=set(Phase) - {Phase.explain, Phase.shrink},
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    gc.collect()  # here, where nobody minds how tasks end whose loop is gone
