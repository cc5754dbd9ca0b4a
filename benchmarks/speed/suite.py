"""A suite: who takes part, what each is asked, and what ours is to reach."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from .goals import Goal

MICROSECONDS = "µs"
MILLISECONDS = "ms"
PER_SECOND = "/s"
COUNT = "count"

TURNS = 5
"""Of a contender in a round: one after the other, they meet what disturbs the machine together."""

CONNECTIONS = 32
"""How many requests are under way: more than there are threads, as at a busy time."""

Serve: TypeAlias = Callable[[str, int], Sequence[str]]
"""Given an application and a port: the command of a server."""


@dataclass(frozen=True)
class Contender:
    """Who is measured.

    Args:
        open: makes a client for a URL.
        needs: the module that has to be installed.
        tcp_only: it cannot use a unix socket.
        one_per_thread: threads do not share it.
        only: how the names of the measures begin that it takes part in.
    """

    open: Callable[[str], Any]
    needs: str = "redis"
    tcp_only: bool = False
    one_per_thread: bool = False
    only: tuple[str, ...] = ("",)

    @property
    def installed(self) -> bool:
        """Whether it can take part."""
        return importlib.util.find_spec(self.needs) is not None


@dataclass(frozen=True)
class Measure:
    """One column of a table.

    Args:
        name: for ``--only`` and the JSON file.
        group: the table that it stands in.
        title: its words there.
        unit: of its figures; fewer microseconds are better, more a second are.
    """

    name: str
    group: str
    title: str
    unit: str

    @property
    def full_title(self) -> str:
        """Its words in a table of several groups."""
        return self.title


@dataclass(frozen=True)
class Command(Measure):
    """What a contender does in a process of its own.

    Args:
        run: does it, as the worker of the suite knows.
        unix: over the unix socket instead of TCP.
        turns: into so many turns the time in a round is split.
    """

    run: Callable[..., Any]
    unix: bool = False
    turns: int = TURNS


@dataclass(frozen=True)
class View(Measure):
    """Requests to a view, in one process of a server.

    Args:
        about: what tells it from those of other groups.
        application: the module and the name in it.
        serve: gives the command of the server.
        patterns: the ways in which the view comes by its client.
        connections: how many requests are under way.
        requests: so many requests in all, whose failures and connections are counted; None for a
            load of some seconds.
    """

    about: str
    application: str
    serve: Serve
    patterns: tuple[str, ...]
    connections: int = CONNECTIONS
    requests: int | None = None

    @property
    def full_title(self) -> str:
        """With what it is about."""
        return f"{self.about}, {self.title}"


@dataclass(frozen=True)
class Beside:
    """A table of what was measured beside the main figures.

    Args:
        title: of the table.
        key: of the figures.
        unit: of them.
        measures: the names of its columns.
    """

    title: str
    key: str
    unit: str
    measures: tuple[str, ...]


@dataclass(frozen=True)
class Suite:
    """What one command measures.

    Args:
        package: what ``python -m`` runs; its module ``worker`` is the process of a contender.
        contenders: by name, in the order of the tables and of each round.
        commands: by name, in the order of the tables.
        views: likewise.
        goals: what ours is to reach.
        bases: ratios are given beside the first of them that took part.
        besides: the tables after those of the groups.
        mark: the word in the comments between which a page has the figures.
    """

    package: str
    contenders: Mapping[str, Contender]
    commands: Mapping[str, Command]
    views: Mapping[str, View]
    goals: Sequence[Goal]
    bases: Sequence[str]
    besides: Sequence[Beside]
    mark: str

    @property
    def measures(self) -> dict[str, Measure]:
        """All, by name, in the order of the tables."""
        return {**self.commands, **self.views}

    def takes_part(self, name: str, command: Command) -> bool:
        """Whether a contender is asked at all."""
        contender = self.contenders[name]
        return command.name.startswith(contender.only) and not (command.unix and contender.tcp_only)

    def rows(self, measures: Sequence[Measure]) -> list[str]:
        """Who can stand in a table of these, in its order."""
        names: dict[str, None] = {}
        for measure in measures:
            names |= dict.fromkeys(
                measure.patterns if isinstance(measure, View) else self.contenders
            )
        return list(names)

    def begin(self) -> str:
        """The comment in a page before the figures."""
        return f"<!-- {self.mark}: begin -->"

    def end(self) -> str:
        """The one after them."""
        return f"<!-- {self.mark}: end -->"
