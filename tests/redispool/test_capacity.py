from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from redispool import PoolOptions
from redispool.capacity import Capacity
from redispool.cells import Cells, Counts
from redispool.figures import Record, Total
from redispool.gate import Gate
from redispool.policy import Policy
from redispool.slots import Slot
from tests.support import run_threads


class Line:
    """Stands for an idle connection."""

    born, last_used = 1.0, 0.0

    def __init__(self, slot: Slot) -> None:
        self.slot = slot


POLICY = Policy.of(PoolOptions())


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Only reference counts free what nobody holds."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def interrupted_finalizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python says on its hook that a finalizer ended in an exception: here that is meant."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)


def interrupt(*_: Any) -> None:
    """Be a signal handler."""
    raise KeyboardInterrupt


def take(capacity: Capacity) -> Slot:
    """A permit."""
    slot = capacity.queue.take()
    assert isinstance(slot, Slot)
    return slot


def open_line(capacity: Capacity) -> Line:
    """A place with a connection in it, in use."""
    slot = take(capacity)
    line = Line(slot)
    slot.held = weakref.ref(line)  # type: ignore[assignment]
    return line


def drain(capacity: Capacity) -> list[Any]:
    """Everything that is free."""
    return list(iter(capacity.queue.take, None))


def test_there_are_exactly_as_many_slots_as_asked_for() -> None:
    """A new capacity of n hands out n slots, and not one more."""
    capacity = Capacity(3, Gate(POLICY, at_once=9))

    assert len(drain(capacity)) == 3
    assert len(Capacity(3, Gate(POLICY, at_once=9)).slots()) == 3


def test_a_freed_slot_can_be_taken_again() -> None:
    """`free` makes a permit of the slot, which says no more that a connection is in it."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    line = open_line(capacity)

    capacity.free(line.slot)

    assert capacity.connections() == []
    assert take(capacity) is line.slot


@pytest.mark.usefixtures("no_gc")
def test_a_dropped_slot_comes_back_at_once() -> None:
    """Whoever loses a slot loses no capacity: its finalizer puts another in its place."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    for _ in range(5):
        drain(capacity)  # dropped at once

    assert len(drain(capacity)) == 2


def test_a_finalizer_that_was_interrupted_is_made_good(
    monkeypatch: pytest.MonkeyPatch, interrupted_finalizer: None
) -> None:
    """A slot whose finalizer was cut off by a signal is replaced at the next look, and once."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    lost = [take(capacity)]

    with monkeypatch.context() as patched:
        patched.setattr(Capacity, "reclaim", interrupt)
        lost.clear()
    assert len(capacity.slots()) == 1

    run_threads(8, lambda _: capacity.heal())
    assert len(capacity.slots()) == len(drain(capacity)) == 2


def test_who_waits_looks_for_what_was_lost(
    monkeypatch: pytest.MonkeyPatch, interrupted_finalizer: None
) -> None:
    """A caller gets the place that an interrupted finalizer lost, before it queued or since."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    lost = [take(capacity)]

    def lose() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Capacity, "reclaim", interrupt)
            lost.clear()

    lose()
    lost.append(wait(capacity, 0.0))
    assert isinstance(lost[0], Slot)

    threading.Timer(0.05, lose).start()
    assert isinstance(wait(capacity, 10.0), Slot)


def wait(capacity: Capacity, seconds: float) -> Any:
    """Queue for so long, as the pool does."""
    return capacity.queue.wait(
        monotonic() + seconds, stop=lambda now: capacity.shut.is_set(), heal=capacity.heal
    )


def test_a_place_has_one_slot_at_a_time() -> None:
    """However often a dropped slot is replaced, by its finalizer and by others, one comes of it."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    dropped = [take(capacity)]

    run_threads(8, lambda _: capacity.reclaim(dropped[0]))
    dropped.clear()

    assert len(capacity.slots()) == len(drain(capacity)) == 1


def test_the_figures_of_a_dropped_slot_stay() -> None:
    """The slot that takes the place of a dropped one goes on counting where that stopped."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    for _ in range(7):
        take(capacity).record.note_acquired()

    take(capacity).record.note_acquired()

    assert [record.leased for record in capacity.records()] == [8]


def test_a_dropped_slot_goes_to_who_waits() -> None:
    """The finalizer serves the queue, like any return."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    lost = [take(capacity)]
    threading.Timer(0.05, lost.clear).start()

    assert isinstance(wait(capacity, 10), Slot)


@pytest.mark.usefixtures("no_gc")
def test_the_finalizer_takes_no_lock() -> None:
    """A slot may be dropped in the midst of a resize, by the same thread: nothing dead-locks."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    slot = [take(capacity)]

    with capacity._resizing:
        slot.clear()

    assert len(drain(capacity)) == 1


@pytest.mark.usefixtures("no_gc")
def test_a_slot_may_outlive_its_capacity() -> None:
    """A slot whose pool is gone goes quietly."""
    slot = take(Capacity(1, Gate(POLICY, at_once=9)))

    assert slot.capacity() is None


def test_the_slots_of_others_are_not_taken() -> None:
    """A slot of another capacity, such as a forked child's parent's, adds nothing to this one."""
    ours, theirs = Capacity(1, Gate(POLICY, at_once=9)), Capacity(1, Gate(POLICY, at_once=9))

    ours.free(take(theirs))

    assert len(drain(ours)) == 1


def test_growing_makes_slots_at_once() -> None:
    """`resize` to more lets waiting callers go ahead without a return."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    _held = take(capacity)
    timer = threading.Timer(0.05, capacity.resize, [2])
    timer.start()

    assert wait(capacity, 10)
    timer.join()
    assert capacity.size == 2


def test_shrinking_takes_permits_then_idle_connections_then_what_comes_back() -> None:
    """`resize` to less ends what costs least first, and spares what is in use until it returns."""
    capacity = Capacity(4, Gate(POLICY, at_once=9))
    in_use, idle = open_line(capacity), open_line(capacity)
    capacity.queue.give(idle)  # type: ignore[arg-type]

    assert capacity.resize(2) == []
    assert capacity.resize(1) == [idle]
    assert not capacity.surplus
    assert len(capacity.slots()) == 1

    capacity.resize(1)
    assert capacity.queue.take() is None
    capacity.free(in_use.slot)
    assert len(drain(capacity)) == 1


def test_what_is_too_many_ends_when_it_comes_back() -> None:
    """Two in use of a capacity of one: the first to come back ends, the second stays."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    first, second = take(capacity), take(capacity)

    capacity.resize(1)
    assert capacity.surplus
    capacity.free(first)

    assert not capacity.surplus
    assert capacity.queue.take() is None
    capacity.free(second)
    assert drain(capacity) == [second]


@pytest.mark.usefixtures("no_gc")
def test_what_is_too_many_ends_when_it_is_dropped() -> None:
    """A slot that is one too many does not come back through its finalizer either."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    dropped, _held = take(capacity), take(capacity)
    capacity.resize(1)

    del dropped

    assert drain(capacity) == []
    assert len(capacity.slots()) == 1


def test_growing_again_forgives_what_is_too_many() -> None:
    """Shrinking and growing again while all is in use changes nothing."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    held = drain(capacity)
    capacity.resize(1)
    capacity.resize(2)

    for slot in held:
        capacity.free(slot)

    assert len(drain(capacity)) == 2


def test_resizing_under_use_ends_at_the_last_size() -> None:
    """Whatever eight threads take and give meanwhile, the last size holds in the end."""
    capacity = Capacity(4, Gate(POLICY, at_once=9))

    def work(number: int) -> None:
        for turn in range(300):
            if number == 0:
                capacity.resize(1 + turn % 7)
            elif slot := wait(capacity, 0.5):
                assert isinstance(slot, Slot)
                capacity.free(slot)

    run_threads(8, work)
    capacity.resize(5)

    assert len(capacity.slots()) == 5
    assert len(drain(capacity)) == 5


def test_nothing_is_kept_after_the_end() -> None:
    """Once shut, a slot that comes back ends, and `returned` tells who waits for that."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    freed, dropped = take(capacity), take(capacity)
    capacity.shut.set()

    capacity.free(freed)
    assert capacity.returned.is_set()
    del dropped

    assert capacity.slots() == []
    assert drain(capacity) == []


def test_a_slot_that_comes_back_at_the_very_end_is_not_kept() -> None:
    """Where `shut` is set between the look at it and the return, the slot ends all the same."""
    capacity = Capacity(1, Gate(POLICY, at_once=9))
    slot = take(capacity)
    give = capacity.queue.give_permit

    def shut_and_give(free: Any) -> None:
        capacity.shut.set()
        capacity.queue.permits.clear()  # as the pool does when it closes
        give(free)

    capacity.queue.give_permit = shut_and_give  # type: ignore[method-assign]
    capacity.free(slot)
    del slot

    assert capacity.slots() == []
    assert capacity.returned.is_set()


def test_the_figures_of_ended_slots_stay() -> None:
    """What was counted in a place that a smaller pool has no more is still in the sum."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    slot = take(capacity)
    for _ in range(3):
        slot.record.note_acquired()
    capacity.resize(1)
    capacity.resize(1)
    capacity.shut.set()
    capacity.free(slot)

    assert sum(record.leased for record in capacity.records()) == 3


def test_counting_is_exact() -> None:
    """Sixteen threads that count lose nothing."""
    counts = Counts(Cells())

    def work(number: int) -> None:
        for _ in range(2000):
            counts.add("timeouts")

    run_threads(16, work)

    assert counts == {"timeouts": 32000}


def test_a_record_knows_the_sum_and_the_longest_wait() -> None:
    """Waits add up, and the longest is remembered."""
    record = Record()
    for seconds in (0.2, 0.5, 0.1):
        record.note_wait(seconds)

    total = Total([record])
    assert (total.waited, round(total.wait_seconds, 6), total.wait_longest) == (3, 0.8, 0.5)


def test_resizing_often_costs_no_memory_and_no_figures() -> None:
    """New places go on counting where places that ended stopped."""
    capacity = Capacity(2, Gate(POLICY, at_once=9))
    for turn in range(50):
        capacity.queue.permits[0].record.note_acquired()
        capacity.resize(1 + turn % 2)

    assert len(capacity.records()) < 10
    assert sum(record.leased for record in capacity.records()) == 50


def test_a_closed_pool_does_not_grow() -> None:
    """After the end a greater size brings no places."""
    capacity = Capacity(1, Gate(POLICY))
    capacity.shut.set()

    capacity.resize(3)

    assert len(capacity.slots()) == 1
