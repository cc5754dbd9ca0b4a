from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redispool import PoolOptions
from redispool.capacity import Capacity
from redispool.gate import Gate
from redispool.policy import DIAL_MOST, Policy
from redispool.slots import Slot
from tests.support import run_threads

REFUSED = redis.ConnectionError("refused")
NEVER = 0.0


class Line:
    """Stands for a connection that was opened."""

    born, last_used = 1.0, 0.0


@pytest.fixture
def gate() -> Gate:
    """A gate with the default policy: three retries, five seconds of patience."""
    return Gate(Policy.of(PoolOptions()))


@pytest.fixture
def slots(gate: Gate) -> Iterator[list[Slot]]:
    """Four empty slots, which somebody may want to dial in."""
    capacity = Capacity(4, gate)
    found = list(capacity.queue.permits)
    capacity.queue.permits.clear()
    yield found
    del capacity  # alive until now


def admitted(gate: Gate, slots: list[Slot], now: float = 0.0) -> list[bool]:
    """Which of the slots may be dialled."""
    return [gate.admit(slot, now) for slot in slots]


def test_two_dial_at_once(gate: Gate, slots: list[Slot]) -> None:
    """The third has to wait until one of the two has ended."""
    assert admitted(gate, slots[:3]) == [True, True, False]

    gate.leave(slots[0])

    assert admitted(gate, slots[2:]) == [True, False]


def test_one_dials_during_an_outage(gate: Gate, slots: list[Slot]) -> None:
    """After a failure there is a single prober, and that after a pause only."""
    gate.failed(REFUSED, 0.0)

    assert admitted(gate, slots[:1], gate.opens_in(0.0) / 2) == [False]
    assert admitted(gate, slots[:2], DIAL_MOST) == [True, False]


def test_an_open_connection_is_no_dial(gate: Gate, slots: list[Slot]) -> None:
    """Whose dial has succeeded is not counted, even if an interruption kept it from leaving."""
    line: Any = Line()
    assert admitted(gate, slots[:2]) == [True, True]

    slots[0].held = weakref.ref(line)

    assert admitted(gate, slots[2:]) == [True, False]


def test_a_slot_that_was_dropped_is_no_dial(gate: Gate, slots: list[Slot]) -> None:
    """An interruption can take a caller out of his dial at any point; nobody waits for him."""
    assert admitted(gate, slots[:2]) == [True, True]

    del slots[1]

    assert admitted(gate, slots[1:]) == [True, False]


def test_a_dial_of_a_loop_that_stands_still_is_passed_over(gate: Gate, slots: list[Slot]) -> None:
    """It counts again with whoever dials there next, be it in another loop or in a thread."""
    assert admitted(gate, slots[:2]) == [True, True]
    loop = asyncio.new_event_loop()
    slots[0].loop = weakref.ref(loop)
    assert gate.has_room(0.0)

    gate.leave(slots[0])
    assert gate.admit(slots[0], 0.0)

    assert not gate.has_room(0.0)
    loop.close()


def test_many_who_ask_at_once(gate: Gate) -> None:
    """Of many threads exactly two get in, each time."""
    capacity = Capacity(8, gate)
    slots = list(capacity.queue.permits)
    capacity.queue.permits.clear()
    for _ in range(200):
        got_in = run_threads(8, lambda number: gate.admit(slots[number], 0.0))
        assert sum(got_in) == 2
        for slot in slots:
            gate.leave(slot)


def test_only_a_handshake_ends_an_outage(gate: Gate) -> None:
    """The pauses grow until a handshake was completed; then they begin anew."""
    for _ in range(20):
        gate.failed(REFUSED, 0.0)
    assert gate.outage is not None
    assert gate.outage.failures == 20

    ended = gate.succeeded(0.0)

    assert ended is not None
    assert ended.failures == 20
    assert gate.outage is None
    assert gate.opens_in(0.0) == 0.0


def test_beginning_and_end_are_told_once(gate: Gate) -> None:
    """Whatever many threads note: one of them learns of the beginning, and one of the end."""
    for _ in range(50):
        begun = run_threads(8, lambda number: gate.failed(REFUSED, 0.0))
        ended = run_threads(8, lambda number: gate.succeeded(0.0))
        assert [len([one for one in many if one]) for many in (begun, ended)] == [1, 1]


def test_a_server_that_was_there_is_waited_for(gate: Gate) -> None:
    """For as long as ``timeout`` says, however many dials fail meanwhile."""
    gate.succeeded(0.0)
    for _ in range(30):
        gate.failed(REFUSED, 10.0)

    assert not gate.hopeless(15.0, NEVER)
    assert gate.hopeless(15.1, NEVER)


def test_a_server_that_never_was_gets_its_tries(gate: Gate) -> None:
    """Who has typed a wrong address learns it after the tries, not after the whole time."""
    for _ in range(3):
        gate.failed(REFUSED, 10.0)
        assert not gate.hopeless(10.0, NEVER)

    gate.failed(REFUSED, 10.0)

    assert gate.hopeless(10.0, NEVER)


def test_connections_that_work_are_worth_waiting_for(gate: Gate) -> None:
    """A server that refuses further connections (``maxclients``) still serves those it has."""
    gate.succeeded(0.0)
    gate.failed(REFUSED, 10.0)

    assert not gate.hopeless(60.0, last_return=59.0)


def test_the_error_that_is_kept_keeps_no_frames(gate: Gate) -> None:
    """The last error is remembered without its traceback, and with that without its callers."""
    try:
        raise REFUSED
    except redis.ConnectionError as error:
        gate.failed(error, 0.0)

    assert gate.outage is not None
    assert gate.outage.error.__traceback__ is None
    assert str(gate.outage.error) == "refused"
