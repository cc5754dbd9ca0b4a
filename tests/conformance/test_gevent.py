from __future__ import annotations

import pytest

from tests.support import Valkey, eventually
from tests.support.scale import scale

from .programs import report_of

INTERRUPTIONS = scale(100_000, 2_000)


@pytest.mark.parametrize("protocol", [2, 3])
def test_gevent_timeouts_and_kills(flushed: Valkey, protocol: int) -> None:
    """Greenlets may be timed out and killed at any moment: no wrong value, no place lost."""
    found = report_of("gevent_storm", flushed.port, protocol, INTERRUPTIONS, within=580.0)

    assert found["seen"].get("wrong", 0) == 0
    assert min(found["seen"][kind] for kind in ("right", "timed out", "killed")) > 20
    assert (found["places"], found["waiting"], found["cut"]) == (4, 0, 0)
    eventually(lambda: not flushed.clients())


@pytest.mark.parametrize("patched", ["after", "before", "used"])
def test_gevent_late_patch(flushed: Valkey, patched: str) -> None:
    """Waiting blocks no other greenlet, be the pool made after or before the patch, or used."""
    assert report_of("gevent_late", flushed.port, patched, "wait") is True


@pytest.mark.parametrize("patched", ["after", "before", "used"])
def test_gevent_late_patch_at_the_end(flushed: Valkey, patched: str) -> None:
    """`close` lets the greenlets run that it waits for, so that it has to cut none."""
    assert report_of("gevent_late", flushed.port, patched, "close") == 0


def test_release_does_not_switch(flushed: Valkey) -> None:
    """Whatever becomes of a connection on its return, no other greenlet runs meanwhile."""
    found = report_of("gevent_switches", flushed.port)

    assert found["a command"] > 0
    assert {way: count for way, count in found["returns"].items() if count} == {}


@pytest.mark.parametrize("protocol", [2, 3])
def test_gevent_waits_for_replies(flushed: Valkey, protocol: int) -> None:
    """While one greenlet waits for a reply others run, and ``socket_timeout`` ends its wait."""
    found = report_of("gevent_reply", flushed.port, protocol)

    assert found["pushed"] == "x"
    assert found["turns"] > 1
    assert 0.3 <= found["gave up after"] < 0.3 + 1.0
    assert found["others"] > 5
