"""The report `doctor`: what is wrong, in sentences, and which setting to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from ..factory import PoolFactory
from ..live import LivePool
from ..origins import origin_of_server
from .finding import NOTICE, WRONG, Finding
from .ping import ping
from .report import Report, count, seconds
from .seen import seen_of_others
from .servers import servers
from .stats import name_of
from .symptoms import symptoms


def doctor(factory: PoolFactory, aliases: Iterable[str]) -> Report:
    """One row for each finding; first what is wrong, then what is good to know."""
    wanted = list(aliases)
    live, why_none = seen_of_others(factory, wanted)
    answers = ping(factory, wanted)
    answering = [row["alias"] for row in answers.rows if row["answers"]]
    found = [
        *_away(factory, wanted, answering, answers.errors),
        *_outages(live, answering),
        *symptoms(factory, live),
        *servers(factory, answering, [row for row in answers.rows if row["answers"]]),
        *([Finding(NOTICE, "seen", "", why_none, "")] if why_none else []),
    ]
    found.sort(key=lambda finding: finding.level != WRONG)
    wrong = sum(finding.level == WRONG for finding in found)
    note = "" if wrong else "All well."
    errors = [f"{count(wrong, 'thing is', 'things are')} wrong"] if wrong else []
    return Report("What the doctor finds", [asdict(finding) for finding in found], note, errors)


def _away(
    factory: PoolFactory, aliases: Sequence[str], answering: Sequence[str], said: Sequence[str]
) -> Iterator[Finding]:
    silent = [alias for alias in aliases if alias not in answering]
    for alias, complaint in zip(silent, said, strict=True):
        key = origin_of_server(factory.options[alias]).key
        where = f"The server is named by {key}" if key else "No setting names a server"
        change = f"{where}: start it, or mend the setting (address, user, password)."
        yield Finding(WRONG, "server", alias, f"{complaint.rstrip('.')}.", change)


def _outages(pools: Iterable[LivePool], answering: Sequence[str]) -> Iterator[Finding]:
    """What processes think of servers; that may be old where they have not tried since."""
    for pool in pools:
        stats = pool.stats
        if not stats.away_seconds:
            continue
        says = (
            f"{name_of(pool)} has had no answer from {stats.server} for "
            f"{seconds(stats.away_seconds)}: {stats.away_reason.rstrip('.')}."
        )
        if stats.alias not in answering:
            yield Finding(WRONG, "outage", stats.alias, says, "")
        elif stats.waiting or stats.connecting:
            change = "It answers this command: look at the network and names of that process."
            yield Finding(WRONG, "outage", stats.alias, says, change)
        else:
            change = "It answers this command; that process finds out with its next use."
            yield Finding(NOTICE, "outage", stats.alias, says, change)
