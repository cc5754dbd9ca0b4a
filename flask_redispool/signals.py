"""Signals: what happens in the pools of an application, as Flask tells it, with blinker.

A receiver gets the application as the sender and ``event``, one of the objects of
`redispool.events`. Receivers run in a thread that holds nothing of the pools and is in no app
context, one after the other; what one raises is logged.
"""

from __future__ import annotations

import weakref
from functools import partial

from blinker import Namespace
from flask import Flask

from redispool.announcer import call
from redispool.events import Event, Listener

__all__ = ["on_close", "on_connect", "on_leak", "on_outage", "on_recovery", "on_timeout"]

_signals = Namespace()
on_connect = _signals.signal("redispool.on_connect")
on_close = _signals.signal("redispool.on_close")
on_timeout = _signals.signal("redispool.on_timeout")
on_leak = _signals.signal("redispool.on_leak")
on_outage = _signals.signal("redispool.on_outage")
on_recovery = _signals.signal("redispool.on_recovery")


def forwarder(app: weakref.ref[Flask], kind: type[Event]) -> Listener | None:
    """What sends events of `kind` to the signal's receivers; None while it has none."""
    name = f"redispool.{kind.hook}"
    return partial(_send, name, app) if _signals[name].receivers else None


def _send(name: str, known: weakref.ref[Flask], event: Event) -> None:
    app = known()
    if app is not None:
        for receiver in _signals[name].receivers_for(app):
            call(receiver, app, event=event)
