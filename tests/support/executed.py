"""What a server has executed for applications, as it counts itself."""

from __future__ import annotations

from .valkey import Valkey

LEFT_OUT = {"auth", "client|setinfo", "client|setname", "hello", "info", "select"}
"""What handshakes consist of, and how the server is asked here."""


def executed(server: Valkey) -> int:
    """How many commands it has executed or refused; more by those that came between two looks."""
    with server.outside() as client:
        found = client.info("commandstats")
    named = {name.removeprefix("cmdstat_"): counts for name, counts in found.items()}
    return sum(
        counts["calls"] + counts["rejected_calls"]
        for name, counts in named.items()
        if name not in LEFT_OUT
    )
