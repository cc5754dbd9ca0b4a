from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from blinker import NamedSignal
from flask import Flask

from flask_redispool import RedisPool, redis, signals
from redispool.announcer import ANNOUNCER
from redispool.events import KINDS, Connected
from tests.flask_redispool.conftest import MakeApp, factory_of
from tests.support import Valkey


def test_a_receiver_hears_the_application_that_it_asked_for(make_app: MakeApp) -> None:
    """The sender is the application; who asks for one hears nothing of another one."""
    shop, other = make_app("shop"), make_app("other")
    heard: list[Any] = []

    def receive(sender: Flask, event: Connected) -> None:
        heard.append((sender, event))

    with signals.on_connect.connected_to(receive, shop):
        for app in (shop, other):
            with app.app_context():
                redis.ping()
        assert ANNOUNCER.wait(10.0)

    ((sender, event),) = heard
    assert sender is shop
    assert isinstance(event, Connected)


def test_a_raising_receiver_harms_nobody(shop: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """The view and the other receivers do not notice; the error is logged."""
    heard: list[Any] = []

    def fail(sender: Flask, event: Connected) -> None:
        raise RuntimeError("on purpose")

    def receive(sender: Flask, event: Connected) -> None:
        heard.append(event)

    with signals.on_connect.connected_to(fail), signals.on_connect.connected_to(receive):
        with shop.app_context():
            assert redis.ping()
        assert ANNOUNCER.wait(10.0)

    assert len(heard) == 1
    assert [vars(record)["event"] for record in caplog.records] == ["listener_failed"]


def test_without_a_receiver_nothing_is_sent(shop: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody receives a signal its events are not even made."""
    told: list[Any] = []
    monkeypatch.setattr(ANNOUNCER, "tell", lambda *args: told.append(args))
    with shop.app_context():
        redis.ping()

    assert told == []


def test_signals_do_not_keep_an_application(server: Valkey) -> None:
    """The pools of an application that is no more do not hold it through their signals."""
    app = Flask("gone")
    app.config["REDIS_URL"] = server.url
    RedisPool(app)
    factory, gone = factory_of(app), weakref.ref(app)
    del app
    gc.collect()

    assert gone() is None
    assert factory.listeners.of(Connected) == []


def test_there_is_a_signal_for_each_hook() -> None:
    """Signals have the names of the hooks."""
    assert sorted(kind.hook for kind in KINDS) == signals.__all__
    assert all(isinstance(getattr(signals, name), NamedSignal) for name in signals.__all__)
