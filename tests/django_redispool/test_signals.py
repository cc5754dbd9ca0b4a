from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.dispatch import Signal

from django_redispool import redis, signals
from django_redispool.pools import Pools
from redispool.announcer import ANNOUNCER
from redispool.events import KINDS, Connected
from tests.support.loops import Run


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """What a receiver of ``on_connect`` hears."""
    found: list[Any] = []

    def receive(sender: Any, event: Any, **_: Any) -> None:
        found.append((sender, event))

    signals.on_connect.connect(receive)
    yield found
    signals.on_connect.disconnect(receive)


def test_a_receiver_hears_all_pools_of_the_project(site: Pools, heard: list[Any], run: Run) -> None:
    """Pools for threads and asyncio, and those that a change of the settings makes, are heard."""
    redis.ping()
    run(site.async_client().ping())
    site.rebuild()
    redis.ping()
    assert ANNOUNCER.wait(10.0)

    assert {sender for sender, _ in heard} == {Pools}
    assert [event.face for _, event in heard] == ["threads", "asyncio", "threads"]
    assert isinstance(heard[0][1], Connected)


def test_a_raising_receiver_harms_nobody(
    site: Pools, heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The view and the other receivers do not notice; the error is logged."""

    def fail(**_: Any) -> None:
        raise RuntimeError("on purpose")

    signals.on_connect.connect(fail)
    try:
        assert redis.ping()
        assert ANNOUNCER.wait(10.0)
    finally:
        signals.on_connect.disconnect(fail)

    assert len(heard) == 1
    assert any(record.exc_info for record in caplog.records)


def test_without_a_receiver_nothing_is_sent(site: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody receives a signal its events are not even made."""
    told: list[Any] = []
    monkeypatch.setattr(ANNOUNCER, "tell", lambda *args: told.append(args))
    redis.ping()

    assert told == []


def test_there_is_a_signal_for_each_hook() -> None:
    """Signals have the names of the hooks."""
    assert sorted(kind.hook for kind in KINDS) == signals.__all__
    assert all(isinstance(getattr(signals, name), Signal) for name in signals.__all__)
