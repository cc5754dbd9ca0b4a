"""The fleet: who is connected to a server, told apart by the names of the connections."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..dropin import client_name
from ..factory import PoolFactory

OWN_NAME = re.compile("redispool:(?P<alias>.+):(?P<host>[^:]*):(?P<process>[0-9]+)")
"""The name of a connection, as `client_name` makes it."""

Client: TypeAlias = Mapping[str, str]
"""An entry of CLIENT LIST."""


@dataclass(frozen=True)
class Member:
    """The connections of one process under one alias, or of one kind of stranger."""

    alias: str
    """Of a stranger, what is known of it."""
    host: str
    """Of a stranger, its address."""
    process: int | None
    """None for strangers, and where the user chose the name of the connections."""
    stranger: bool
    clients: Sequence[Client]

    @property
    def is_this_command(self) -> bool:
        """Whether it is the process that asks."""
        return self.clients[0]["name"] == client_name(self.alias)

    @property
    def last(self) -> Client:
        """The connection that was used last."""
        return min(self.clients, key=lambda client: int(client["idle"]))

    @property
    def library(self) -> str | None:
        """What the connections say they were made with; None where they say nothing."""
        words = (self.last.get("lib-name", ""), self.last.get("lib-ver", ""))
        return " ".join(filter(None, words)) or None


def fleet(factory: PoolFactory, listed: Iterable[Client]) -> list[Member]:
    """The members of the fleet, from the entries of CLIENT LIST."""
    named = {o.client_name: alias for alias, o in factory.options.items() if o.client_name}
    spelt = {_own(alias)["alias"]: alias for alias in factory.options}
    groups: dict[tuple[str, str, int, bool], list[Client]] = defaultdict(list)
    for client in listed:
        groups[_who(client, named, spelt)].append(client)
    return [
        Member(alias, host, process or None, stranger, clients)
        for (alias, host, process, stranger), clients in sorted(groups.items())
    ]


def own_host() -> str:
    """The name of this host, as the names of connections have it."""
    return _own("any")["host"]


def _own(alias: str) -> re.Match[str]:
    found = OWN_NAME.fullmatch(client_name(alias))
    assert found is not None
    return found


def _who(
    client: Client, named: Mapping[str, str], spelt: Mapping[str, str]
) -> tuple[str, str, int, bool]:
    """Alias, host and process, as the connection's name tells; for others what is known of them.

    Args:
        client: whom to tell.
        named: the aliases whose connections have names of the user's choice.
        spelt: the aliases, by what the letters that a name may have leave of them.
    """
    name = client["name"]
    if own := OWN_NAME.fullmatch(name):
        return spelt.get(own["alias"], own["alias"]), own["host"], int(own["process"]), False
    address = client["addr"].rpartition(":")[0]
    if name in named:
        return named[name], address, 0, False
    return f"not redispool: {name or 'unnamed'}", address, 0, True
