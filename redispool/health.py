"""Health: whether each server answers through its pool, told within a bound of time.

A check is what a request would do: it takes a connection of the pool, sends PING, and gives the
connection back; it dials no other one. It waits in the same queue, behind those who came first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any
from weakref import WeakKeyDictionary

from redis.exceptions import ConnectionError, NoPermissionError

from . import fork, logs, verdicts
from .errors import TooManyWaiting
from .factory import PoolFactory
from .stats import PoolStats
from .verdicts import AliasHealth, Shortage, Status

__all__ = ["AliasHealth", "Health", "Status", "async_check", "check"]

WITHIN = 1.0
"""Seconds that a check may take; Kubernetes gives a probe one second, too."""
SHARE = 0.9
"""The part of them for what a probe waits for; the rest is for telling what came of it."""


@dataclass(frozen=True)
class Health:
    """What a check found."""

    aliases: tuple[AliasHealth, ...]

    @property
    def status(self) -> Status:
        """The worst of all aliases."""
        found = {each.status for each in self.aliases}
        return next((each for each in verdicts.WORST_FIRST if each in found), "healthy")

    @property
    def http_status(self) -> int:
        """503 where an alias is unhealthy, else 200.

        Degraded is 200: who is short of connections still serves, and were it taken out of the
        rotation its load would fall on others that are short as well.
        """
        return 503 if self.status == "unhealthy" else 200

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; they name aliases, but no server, user or error."""
        aliases = {
            each.alias: {
                "status": each.status,
                "reason": each.reason,
                "milliseconds": None if each.seconds is None else round(each.seconds * 1000, 3),
            }
            for each in self.aliases
        }
        return {"status": self.status, "aliases": aliases}


def check(
    factory: PoolFactory, aliases: Iterable[str] | None = None, *, within: float = WITHIN
) -> Health:
    """Ask the server of each alias through its pool for threads, all at once.

    Who asks while another asks the same (alias and `within`) gets the answer to that: there is one
    thread for it, however many probes come, and a second one where the first hangs.

    Args:
        factory: the pools.
        aliases: those that count; all where they are not given.
        within: seconds after which it is told what is known by then, whatever hangs: the network,
            the server, or the look-up of its name.

    Raises:
        InvalidOption: no such alias is defined.
    """
    deadline = monotonic() + within
    probes = [_under_way(factory, alias, within) for alias in known(factory, aliases)]
    return Health(tuple(probe.verdict(deadline) for probe in probes))


async def async_check(
    factory: PoolFactory, aliases: Iterable[str] | None = None, *, within: float = WITHIN
) -> Health:
    """The same through the pools for asyncio, and the loop goes on meanwhile."""
    probes = [_Probe(factory, alias, within) for alias in known(factory, aliases)]
    return Health(tuple(await asyncio.gather(*(probe.arun() for probe in probes))))


def known(factory: PoolFactory, aliases: Iterable[str] | None) -> list[str]:
    """The aliases to be asked: all where they are not given.

    Raises:
        InvalidOption: no such alias is defined.
    """
    wanted = factory.aliases if aliases is None else list(aliases)
    for alias in wanted:
        if alias not in factory.options:
            factory.pool(alias)  # says what is wrong
    return wanted


class _Memory:
    """What the checks of one factory know of each other."""

    def __init__(self) -> None:
        self.shortages: dict[str, Shortage] = {}
        self.under_way: dict[tuple[str, float], _Probe] = {}
        fork.register(self)

    def after_fork_in_child(self) -> None:
        """The threads of the parent do not exist here."""
        self.under_way = {}


_memories: WeakKeyDictionary[PoolFactory, _Memory] = WeakKeyDictionary()


def _under_way(factory: PoolFactory, alias: str, within: float) -> _Probe:
    """The probe that asks now, in a thread of its own; a new one where none does.

    In a thread, for nothing ends a look-up of a name before the system does.
    """
    own = _Probe(factory, alias, within)
    under_way, key = own.memory.under_way, (alias, within)
    try:
        probe = under_way.setdefault(key, own)
        if probe.hangs(monotonic()) and not probe.is_second:
            own.is_second = True
            under_way[key] = probe = own
        if probe is own:
            threading.Thread(target=own.run, name="redispool health", daemon=True).start()
    except BaseException:  # there are too many threads, or a signal handler raised
        own.end()
        raise
    return probe


class _Probe:
    """The question to one server."""

    def __init__(self, factory: PoolFactory, alias: str, within: float) -> None:
        self._factory, self._alias, self._within = factory, alias, within
        self._began = now = monotonic()
        self._deadline, self._told_by = now + within * SHARE, now + within
        self.memory = _memories.get(factory) or _memories.setdefault(factory, _Memory())
        self.is_second = False
        """Whether it asks beside one that hangs."""
        self._ended = threading.Event()
        self._found: AliasHealth | None = None
        self._before: PoolStats | None = None
        self._pool: Any = None

    def verdict(self, deadline: float) -> AliasHealth:
        """What `run` found, in another thread, by `deadline` on the monotonic clock."""
        self._ended.wait(max(deadline - monotonic(), 0.0))
        return self._found or verdicts.late(self._alias)

    def hangs(self, now: float) -> bool:
        """Whether it should have ended."""
        return now > self._told_by

    def end(self) -> None:
        """Who asks from now on starts a probe of his own."""
        if self.memory.under_way.get((self._alias, self._within)) is self:
            self.memory.under_way.pop((self._alias, self._within), None)
        self._ended.set()

    def run(self) -> None:
        """Ask, and find a verdict; raises nothing."""
        try:
            self._begin(self._factory.pool(self._alias))
            _ask(self._pool, self._deadline)
            self._found = self._answered()
        except TooManyWaiting as error:
            sleep(self._left())  # to see whether others are served
            self._found = self._failed(error)
        except Exception as error:
            self._found = self._failed(error)
        finally:
            self.end()

    async def arun(self) -> AliasHealth:
        """The same for asyncio."""
        try:
            async with asyncio.timeout(max(self._told_by - monotonic(), 0.0)):
                self._begin(self._factory.async_pool(self._alias))
                await _aask(self._pool, self._deadline)
                return self._answered()
        except TooManyWaiting as error:
            await asyncio.sleep(self._left())
            return self._failed(error)
        except TimeoutError:
            return verdicts.late(self._alias)
        except Exception as error:
            return self._failed(error)

    def _left(self) -> float:
        return max(self._deadline - monotonic(), 0.0)

    def _begin(self, pool: Any) -> None:
        self._pool, self._before = pool, pool.stats()

    def _answered(self) -> AliasHealth:
        now, shortages = monotonic(), self.memory.shortages
        figures = [p.stats() for p in self._factory.pools() if p.alias == self._alias]
        short = shortages.setdefault(self._alias, Shortage()).look(now, figures)
        return verdicts.answered(self._alias, now - self._began, short=short)

    def _failed(self, error: Exception) -> AliasHealth:
        after = self._pool.stats() if self._pool is not None else None
        found = verdicts.failed(self._alias, error, self._before, after)
        if found.reason == verdicts.FAILED:
            logs.warn(
                "health of %r: %r", self._alias, error, event="health_failed", alias=self._alias
            )
        return found


def _ask(pool: Any, deadline: float) -> None:
    """Get an answer to PING, be it that the user may not send it; raise what comes instead."""
    for again in (True, False):
        connection = pool.acquire(_seconds_until(deadline))
        try:
            connection.finish_by(deadline)
            connection.send_command("PING", check_health=False)
            connection.read_response()
            return
        except NoPermissionError:
            return
        except ConnectionError:
            # It may have broken while it was idle for a moment; the next one is looked at.
            if not again:
                raise
        finally:
            connection.finish_by(None)
            pool.release(connection)


async def _aask(pool: Any, deadline: float) -> None:
    for again in (True, False):
        connection = await pool.acquire(_seconds_until(deadline))
        try:
            connection.finish_by(deadline)
            await connection.send_command("PING")
            await connection.read_response()
            return
        except NoPermissionError:
            return
        except ConnectionError:
            if not again:
                raise
        finally:
            connection.finish_by(None)
            pool.release(connection)


def _seconds_until(deadline: float) -> float:
    """Never 0, which sets no limit to connecting."""
    return max(deadline - monotonic(), 1e-9)
