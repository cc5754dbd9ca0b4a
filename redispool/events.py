"""Events: what happens in pools, as objects, and the hooks by which listeners ask for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

from .announcer import ANNOUNCER

__all__ = [
    "Closed",
    "Connected",
    "Event",
    "LeakSuspected",
    "OutageBegan",
    "OutageEnded",
    "TimedOut",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a pool. Times are seconds; no field holds a secret."""

    hook: ClassVar[str]
    """Which hook tells it."""
    alias: str
    server: str
    face: str
    """For whom the pool is: ``threads`` or ``asyncio``."""
    subscriptions: bool
    """Whether it is the pool of the alias' subscriptions."""


@dataclass(frozen=True, kw_only=True)
class Connected(Event):
    """A connection was opened."""

    hook = "on_connect"
    seconds: float
    """What that took, the handshake included."""


@dataclass(frozen=True, kw_only=True)
class Closed(Event):
    """A connection was closed."""

    hook = "on_close"
    reason: str
    """One of those that ``PoolStats.closed_total`` counts, or ``dropped``: its holder lost it."""
    seconds: float
    """How long it was open."""


@dataclass(frozen=True, kw_only=True)
class TimedOut(Event):
    """A caller got no connection, because all were in use."""

    hook = "on_timeout"
    reason: str
    """``timeout``, or ``too_many_waiting``: he was turned away at once."""
    seconds: float
    """For how long he waited."""
    place: str
    """The line of the application's code that asked for the connection."""
    in_use: int
    max_connections: int
    waiting: int
    oldest: str
    """Who holds a connection for longest, in words."""


@dataclass(frozen=True, kw_only=True)
class LeakSuspected(Event):
    """A lease is held for longer than ``leak_threshold``; told once for each."""

    hook = "on_leak"
    seconds: float
    holder: str
    place: str
    """The line of the application's code that took it."""


@dataclass(frozen=True, kw_only=True)
class OutageBegan(Event):
    """The server cannot be reached any more."""

    hook = "on_outage"
    reason: str
    """What the dial ended in."""


@dataclass(frozen=True, kw_only=True)
class OutageEnded(Event):
    """The server is back."""

    hook = "on_recovery"
    reason: str
    """What the last dial that failed ended in."""
    seconds: float
    """How long it was away."""
    failures: int
    """How many dials failed."""


KINDS: tuple[type[Event], ...] = (
    Connected,
    Closed,
    TimedOut,
    LeakSuspected,
    OutageBegan,
    OutageEnded,
)

Listener: TypeAlias = Callable[[Any], object]
Forwarder: TypeAlias = Callable[[type[Event]], Listener | None]
"""Gives the listener for a kind of event, or None while nobody beyond it wants to hear that."""

_R = TypeVar("_R")


class Listeners:
    """Who listens to which kind of event."""

    def __init__(self) -> None:
        self._known: dict[type[Event], list[Listener]] = {kind: [] for kind in KINDS}
        self.forwarders: list[Forwarder] = []
        """Of adapters: to the signals of their framework."""

    def add(self, kind: type[Event], listener: Listener) -> None:
        """Let `listener` hear what is of `kind`, once, however often it is added.

        Raises:
            TypeError: it is a coroutine function, and no loop would run it.
        """
        if inspect.iscoroutinefunction(listener):
            raise TypeError(f"{listener!r} is a coroutine function; a listener is a plain one")
        if listener not in self._known[kind]:
            self._known[kind].append(listener)

    def discard(self, listener: Listener) -> None:
        """Let `listener` hear nothing any more."""
        for known in self._known.values():
            if listener in known:
                known.remove(listener)

    def of(self, kind: type[Event]) -> list[Listener]:
        """Who is to be told what is of `kind`. Takes no lock."""
        found = list(self._known[kind])
        for forwarder in self.forwarders:
            listener = forwarder(kind)
            if listener is not None:
                found.append(listener)
        return found


class Hooks:
    """The hooks of a pool or a factory: each takes a plain function, and is a decorator too.

    Listeners are called one after the other, in a thread that holds nothing of the pool's; what one
    raises is logged.
    """

    listeners: Listeners

    def on_connect(self, listener: Callable[[Connected], _R]) -> Callable[[Connected], _R]:
        """Call `listener` when a connection was opened."""
        self.listeners.add(Connected, listener)
        return listener

    def on_close(self, listener: Callable[[Closed], _R]) -> Callable[[Closed], _R]:
        """Call `listener` when a connection was closed."""
        self.listeners.add(Closed, listener)
        return listener

    def on_timeout(self, listener: Callable[[TimedOut], _R]) -> Callable[[TimedOut], _R]:
        """Call `listener` when a caller got no connection, because all were in use."""
        self.listeners.add(TimedOut, listener)
        return listener

    def on_leak(self, listener: Callable[[LeakSuspected], _R]) -> Callable[[LeakSuspected], _R]:
        """Call `listener` when a lease is found that is held for too long."""
        self.listeners.add(LeakSuspected, listener)
        return listener

    def on_outage(self, listener: Callable[[OutageBegan], _R]) -> Callable[[OutageBegan], _R]:
        """Call `listener` when the server cannot be reached any more."""
        self.listeners.add(OutageBegan, listener)
        return listener

    def on_recovery(self, listener: Callable[[OutageEnded], _R]) -> Callable[[OutageEnded], _R]:
        """Call `listener` when the server is back."""
        self.listeners.add(OutageEnded, listener)
        return listener

    def forget_listener(self, listener: Callable[[Any], object]) -> None:
        """Call `listener` no more, whichever hooks it was given to."""
        self.listeners.discard(listener)


class Channel:
    """Where the parts of one pool tell what happens; it does not know the pool, nor holds it."""

    def __init__(self, alias: str = "", server: str = "", face: str = "") -> None:
        self.alias, self.server, self.face = alias, server, face
        self.subscriptions = False
        self.sources: list[Listeners] = []
        """Of the pool and of its factory."""

    def follow(self, other: Channel) -> None:
        """Be the channel of the subscriptions of the pool whose channel is `other`."""
        self.subscriptions, self.sources = True, other.sources

    def tell(self, kind: type[Event], **fields: Any) -> None:
        """Tell those who listen. May be called by a finalizer; waits for nobody, takes no lock."""
        listeners = [listener for source in self.sources for listener in source.of(kind)]
        if listeners:
            event = kind(
                alias=self.alias,
                server=self.server,
                face=self.face,
                subscriptions=self.subscriptions,
                **fields,
            )
            ANNOUNCER.tell(event, listeners)
