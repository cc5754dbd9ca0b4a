"""Signals: what happens in the project's pools, as Django tells it.

A receiver gets ``event``, one of the objects of `redispool.events`; the sender is the class
`Pools`. Receivers run in a thread that holds nothing of the pools, one after the other; what one
raises is logged.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import connections
from django.dispatch import Signal

from redispool.events import Event, Listener

__all__ = ["on_close", "on_connect", "on_leak", "on_outage", "on_recovery", "on_timeout"]

on_connect = Signal()
on_close = Signal()
on_timeout = Signal()
on_leak = Signal()
on_outage = Signal()
on_recovery = Signal()


def forwarder(sender: Any, kind: type[Event]) -> Listener | None:
    """What sends events of `kind` to the signal's receivers; None while it has none."""
    signal: Signal = globals()[kind.hook]
    # Not Signal.has_listeners, which takes a lock: a finalizer may ask.
    return partial(_send, signal, sender) if signal.receivers else None


def _send(signal: Signal, sender: Any, event: Event) -> None:
    try:
        signal.send_robust(sender, event=event)  # which logs what a receiver raises
    finally:
        connections.close_all()  # those that receivers have opened in this thread
