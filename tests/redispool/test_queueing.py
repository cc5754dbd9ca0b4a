from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from redispool import PoolOptions, queueing
from redispool.capacity import Capacity
from redispool.cells import Cells
from redispool.figures import Record
from redispool.gate import Gate
from redispool.policy import Policy
from redispool.queueing import SlotQueue, Waiter
from redispool.slots import Place, Slot
from tests.support import eventually, run_threads

FOREVER = float("inf")


class Line:
    """Stands for a connection: the queue does nothing with it but keep it."""

    def __init__(self) -> None:
        of_no_capacity: Any = weakref.ref(set())
        self.slot = Slot(of_no_capacity, Place(Record()), 0)


@pytest.fixture
def queue() -> SlotQueue:
    """A queue with nothing free."""
    return SlotQueue(Gate(POLICY, at_once=9), Cells())


POLICY = Policy.of(PoolOptions())


def told(stop: threading.Event) -> Callable[[float], bool]:
    """What a waiter asks whether it shall stop."""
    return lambda now: stop.is_set()


@pytest.fixture
def stop() -> threading.Event:
    """What `Capacity.shut` is for a pool."""
    return threading.Event()


class Queued:
    """A thread that waits in the queue."""

    def __init__(self, queue: SlotQueue, stop: threading.Event, deadline: float = FOREVER) -> None:
        self.got: list[Any] = []
        before = len(queue.waiters)
        self._thread = threading.Thread(
            target=lambda: self.got.append(queue.wait(deadline, stop=told(stop))), daemon=True
        )
        self._thread.start()
        eventually(lambda: len(queue.waiters) > before or self.got)

    def result(self) -> Any:
        """What it was given."""
        self._thread.join(10)
        assert self.got, "it waits still"
        return self.got[0]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Waiters look for themselves all the time."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 0.001)
    return


def test_the_connection_used_last_goes_first(queue: SlotQueue) -> None:
    """Idle connections go before permits, and of them the one that was given back last."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    permit = capacity.queue.permits.pop()
    older, newer = Line(), Line()
    for free in (permit, older, newer):
        queue.give(free)

    assert [queue.take() for _ in range(4)] == [newer, older, permit, None]


def test_waiters_are_served_in_their_order(queue: SlotQueue, stop: threading.Event) -> None:
    """What comes free goes to the caller who has waited longest, and at once."""
    lines = [Line() for _ in range(5)]
    queued = [Queued(queue, stop) for _ in lines]

    for line in lines:
        queue.give(line)

    assert [one.result() for one in queued] == lines


def test_a_newcomer_does_not_pass_those_who_wait(queue: SlotQueue, stop: threading.Event) -> None:
    """While somebody waits, `take` gives nothing, even where something is free."""
    queued = Queued(queue, stop)
    line = Line()
    queue.idle.append(line)

    assert queue.take() is None

    queue.hand_over()
    assert queued.result() is line


def test_what_came_free_before_the_caller_queued_is_found(
    queue: SlotQueue, stop: threading.Event
) -> None:
    """Something that comes free between the look and the queueing is not missed."""
    line = Line()
    queue.keep(line)

    assert queue.wait(monotonic(), stop=told(stop)) is line


def test_who_queued_before_it_came_free_is_found(
    queue: SlotQueue, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller who queues between a giver's look at the queue and its return is not missed."""
    monkeypatch.setattr(queueing, "LOOK_AGAIN", 30.0)
    queued = []

    class KeepsTooLate(deque[Any]):
        def append(self, free: Any) -> None:
            queued.append(Queued(queue, stop))
            super().append(free)

    queue.idle = KeepsTooLate()
    line = Line()
    queue.give(line)

    assert queued[0].result() is line


def test_what_nobody_took_is_kept(queue: SlotQueue) -> None:
    """Where all who stand in the queue have gone, what is free stays free."""
    gone = Waiter()
    gone.gone = True
    queue.waiters.append(gone)
    line = Line()
    queue.idle.append(line)

    queue.hand_over()

    assert queue.take() is line


def test_a_gift_for_who_has_just_gone_is_taken_back() -> None:
    """A caller who leaves while a giver delivers leaves the gift: one of the two takes it."""
    waiter = Waiter()

    class Inbox(list[Any]):
        def append(self, gift: Any) -> None:
            super().append(gift)
            waiter.gone = True

    waiter.inbox = Inbox()

    assert waiter.offer(Line()) is False
    assert waiter.inbox == []


def test_a_timed_out_waiter_leaves_nothing_behind(queue: SlotQueue, stop: threading.Event) -> None:
    """A caller who gave up is out of the queue; the next return goes to somebody who lives."""
    assert queue.wait(monotonic() + 0.01, stop=told(stop)) is None

    assert not queue.waiters
    line = Line()
    queue.give(line)
    assert queue.take() is line


def test_a_waiter_that_times_out_never_swallows_a_connection(
    queue: SlotQueue, stop: threading.Event
) -> None:
    """Whatever comes at the very deadline is either handed over or still free: it has one owner."""
    line = Line()
    for _ in range(500):
        deadline = monotonic() + 0.001

        def wait_or_give(number: int, deadline: float = deadline) -> Any:
            if number == 0:
                return queue.wait(deadline, stop=told(stop))
            while monotonic() < deadline:
                pass
            return queue.give(line)

        got, _ = run_threads(2, wait_or_give)

        assert [got, queue.take()] in ([line, None], [None, line])


def test_stop_wakes_a_waiter(queue: SlotQueue, stop: threading.Event) -> None:
    """With `stop` set, a waiter that is rung comes back without anything."""
    queued = Queued(queue, stop)

    stop.set()
    for waiter in list(queue.waiters):
        waiter.ring()

    assert queued.result() is None


def test_an_interrupted_waiter_leaves_the_queue(
    queue: SlotQueue, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KeyboardInterrupt while waiting takes the caller out of the queue."""
    monkeypatch.setattr(Waiter, "sleep", interrupt)

    with pytest.raises(KeyboardInterrupt):
        queue.wait(FOREVER, stop=told(stop))

    assert not queue.waiters


def test_what_an_interrupted_waiter_was_given_goes_on(
    queue: SlotQueue, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection handed to a caller in the moment of its interruption stays in the pool."""
    line = Line()

    def given_and_interrupted(waiter: Waiter, seconds: float) -> None:
        queue.give(line)
        assert waiter.inbox == [line]
        raise KeyboardInterrupt

    monkeypatch.setattr(Waiter, "sleep", given_and_interrupted)

    with pytest.raises(KeyboardInterrupt):
        queue.wait(FOREVER, stop=told(stop))

    assert queue.take() is line


@pytest.mark.usefixtures("impatient")
def test_a_hand_over_that_was_cut_off_heals(queue: SlotQueue, stop: threading.Event) -> None:
    """A waiter whom a giver took out of the queue and forgot gets the next place, before others."""
    first = Queued(queue, stop)
    second = Queued(queue, stop)
    forgotten = queue.waiters.popleft()  # the giver is interrupted here
    eventually(lambda: forgotten.gone and len(queue.waiters) == 2)

    one, other = Line(), Line()
    queue.give(one)
    queue.give(other)

    assert (first.result(), second.result()) == (one, other)


def test_what_was_lost_is_looked_for_before_giving_up(
    queue: SlotQueue, stop: threading.Event
) -> None:
    """Who is served at once spends no time on that look; who would give up takes what it finds."""
    here, lost = Line(), Line()
    looks: list[None] = []

    def heal() -> None:
        looks.append(None)
        queue.keep(lost)

    queue.keep(here)
    assert queue.wait(FOREVER, stop=told(stop), heal=heal) is here
    assert looks == []

    assert queue.wait(monotonic(), stop=told(stop), heal=heal) is lost
    assert len(looks) == 1


def test_a_waiter_never_gives_up_early(
    queue: SlotQueue, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiter that looks for itself just when a slow giver serves it gets it, or waits on."""
    line = Line()
    first = Met(queue, line)
    monkeypatch.setattr(queueing, "Waiter", iter([first, Waiter(), Waiter()]).__next__)

    assert queue.wait(monotonic() + 10, stop=told(stop)) is line


class Met(Waiter):
    """Is met by a giver that is interrupted by other threads at the worst moments.

    The giver has taken it out of the queue and seen that the caller is there. Then the caller looks
    for itself; the giver delivers, and when the caller goes, it takes back what it delivered.
    """

    def __init__(self, queue: SlotQueue, line: Line) -> None:
        super().__init__()
        self._giver = self._serve(queue, line)

    @property
    def gone(self) -> bool:
        return self._gone

    @gone.setter
    def gone(self, gone: bool) -> None:
        self._gone = gone
        if gone:
            next(self._giver, None)

    def sleep(self, seconds: float) -> None:
        next(self._giver)

    def _serve(self, queue: SlotQueue, line: Line) -> Iterator[None]:
        queue.waiters.remove(self)
        yield
        self.inbox.append(line)  # type: ignore[arg-type]
        yield
        if self.claim():
            queue.give(line)  # type: ignore[arg-type]


def interrupt(*_: Any) -> None:
    """Be a signal handler."""
    raise KeyboardInterrupt
