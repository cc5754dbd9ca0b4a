"""What servers tell the doctor: their limits, their role, and who is connected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..client import Redis
from ..factory import PoolFactory
from ..origins import to_change
from .asking import ask, by_server, setting
from .budget import Budget, budgets_of
from .finding import NOTICE, WRONG, Finding
from .fleet import Member, fleet
from .report import Row, count

NEAR = 0.8
"""The share of ``maxclients`` from which on it is worth a warning."""
REPLICA = "slave"


def servers(
    factory: PoolFactory, aliases: Sequence[str], answers: Sequence[Row]
) -> Iterator[Finding]:
    """What is found on the servers of `aliases`, which answer.

    Args:
        factory: the pools to ask with.
        aliases: those whose servers answer.
        answers: the rows of `ping`.
    """
    yield from _roles(answers)
    budgets, refusals = budgets_of(factory, aliases)
    for refusal in refusals:
        change = "Allow CLIENT LIST and INFO to its user, where the budget is to be known."
        yield Finding(NOTICE, "budget", refusal.partition(":")[0], f"{refusal}.", change)
    for budget in budgets:
        yield from _limits(budget)
    for server, pools in by_server(factory, aliases).items():
        told, _ = ask(factory, pools, _question)
        if told is not None:
            listed, statistics, timeout = told
            yield from _told(server, statistics)
            yield from _members(server, fleet(factory, listed))
            yield from _closing(factory, [pool.alias for pool in pools], timeout)


def _question(client: Redis) -> tuple[list[Any], dict[str, Any], int]:
    return client.client_list(), client.info("stats"), setting(client, "timeout") or 0


def _roles(answers: Sequence[Row]) -> Iterator[Finding]:
    for row in answers:
        if row["role"] == REPLICA:
            says = f"{row['server']} is a replica, which refuses writes."
            change = f"Name its primary in {row['setting'] or 'REDIS_URL'}."
            yield Finding(WRONG, "role", row["alias"], says, change)


def _limits(budget: Budget) -> Iterator[Finding]:
    if budget.verdict != "fits":
        level = WRONG if budget.verdict == "too many" else NOTICE
        yield Finding(level, "budget", budget.server, budget.sentence, "")
    if budget.maxclients is not None and budget.connected >= NEAR * budget.maxclients:
        says = f"{budget.server} has {budget.connected} clients now and allows {budget.maxclients}."
        change = "Raise the server's maxclients, or lower MAX_CONNECTIONS of whoever has most."
        yield Finding(WRONG, "maxclients", budget.server, says, change)


def _told(server: str, statistics: dict[str, Any]) -> Iterator[Finding]:
    if rejected := int(statistics.get("rejected_connections", 0)):
        says = (
            f"{server} has turned away {count(rejected, 'client')} since its start or its last "
            "CONFIG RESETSTAT, because maxclients were connected."
        )
        yield Finding(NOTICE, "maxclients", server, says, "See: redispool budget")


def _members(server: str, members: Sequence[Member]) -> Iterator[Finding]:
    strangers = [f"{_nickname(each)} ({len(each.clients)})" for each in members if each.stranger]
    if strangers:
        says = f"Others than redispool are connected to {server}: {', '.join(strangers)}."
        yield Finding(NOTICE, "strangers", server, says, "")
    # Servers tell the library from version 7.2 on.
    versions = {each.library: each for each in members if not each.stranger and each.library}
    if len(versions) > 1:
        told = ", ".join(f"{name} (process {each.process})" for name, each in versions.items())
        says = f"Processes with several versions are connected to {server}: {told}."
        yield Finding(NOTICE, "versions", server, says, "Restart the older ones.")


def _nickname(member: Member) -> str:
    return member.alias.partition(": ")[2]


def _closing(factory: PoolFactory, aliases: Sequence[str], timeout: int) -> Iterator[Finding]:
    for alias in aliases:
        options = factory.options[alias]
        if timeout and (options.max_idle is None or options.max_idle >= timeout):
            says = (
                f"{options.server} closes clients that are idle for {timeout} s; those of {alias} "
                f"are kept for {'ever' if options.max_idle is None else f'{options.max_idle:g} s'}."
            )
            change = f"Set {to_change(options, alias, 'max_idle')} below {timeout}."
            yield Finding(NOTICE, "idle", alias, says, change)
