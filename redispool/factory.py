"""PoolFactory: alias → pool, each made once in a process, on first use, and closed once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from . import fork, live
from .aio.client import AsyncRedis
from .aio.pool import AsyncConnectionPool
from .client import Redis
from .errors import InvalidOption, PoolClosed
from .events import Hooks, Listeners
from .lending import Lending
from .lifecycle import CLOSE_WITHIN
from .live import LivePool
from .measuring import Measuring
from .options import PoolOptions
from .pool import ConnectionPool
from .settings import DEFAULT, Settings, read_settings
from .stats import PoolStats
from .whereabouts import directory_of

__all__ = ["PoolFactory"]

_Pool = TypeVar("_Pool", ConnectionPool, AsyncConnectionPool)


class PoolFactory(Hooks):
    """The pools of one application in this process.

    Making it reads and checks the settings and opens no socket. A forked child may go on using it:
    every pool begins anew there. As a context manager (``with`` or ``async with``) it closes the
    pools at the end.

    Args:
        settings: what ``REDISPOOL`` holds: alias → URL, dict of options or `PoolOptions`; a text is
            the URL of ``default``. Without it, the environment's ``REDIS_URL`` is.
        base_path: the folder of the project, where ``embedded://`` keeps its ``.redispool``; the
            working directory where it is not given.
        live_directory: under which the pools show their figures to the other processes of the user;
            else what the environment's ``REDISPOOL_LIVE_DIRECTORY`` says, or a directory of the
            user's in the system's temporary one. An empty text switches that off.

    Raises:
        InvalidOption: a setting cannot be used. The message quotes it as it was typed.
    """

    def __init__(
        self,
        settings: Settings | str | None = None,
        *,
        base_path: Path | str | None = None,
        live_directory: Path | str | None = None,
    ) -> None:
        self.options: Mapping[str, PoolOptions] = read_settings(settings)
        self._base_path = Path(base_path or Path.cwd())
        self.directory = directory_of(self._base_path, live_directory)
        """Where the pools of the application show their figures; None for nowhere."""
        self._pools: dict[str, ConnectionPool] = {}
        self._async_pools: dict[str, AsyncConnectionPool] = {}
        self._clients: dict[str, Redis] = {}
        self._async_clients: dict[str, AsyncRedis] = {}
        self._making = threading.Lock()
        self._closed = False
        self._measure: Callable[[Lending], Measuring] | None = None
        self.listeners = Listeners()
        """Who hears of what happens in any of the pools."""
        fork.register(self)

    @property
    def aliases(self) -> list[str]:
        """The aliases that the settings define."""
        return list(self.options)

    def pool(self, alias: str = DEFAULT) -> ConnectionPool:
        """The pool of `alias`, the same for all threads.

        Raises:
            InvalidOption: no such alias is defined. PoolClosed: the factory was closed.
        """
        return self._pools.get(alias) or self._make(alias, ConnectionPool, self._pools)

    def async_pool(self, alias: str = DEFAULT) -> AsyncConnectionPool:
        """The pool of `alias` for asyncio, the same for all event loops and threads.

        ``max_connections`` bounds it and the pool for threads, each by itself. Errors: see `pool`.
        """
        found = self._async_pools.get(alias)
        return found or self._make(alias, AsyncConnectionPool, self._async_pools)

    def client(self, alias: str = DEFAULT) -> Redis:
        """The client of `alias`: one for all threads and requests.

        Raises:
            InvalidOption: no such alias is defined. PoolClosed: the factory was closed.
        """
        client = self._clients.get(alias)
        if client is None:
            client = self._clients.setdefault(alias, Redis(connection_pool=self.pool(alias)))
        return client

    def async_client(self, alias: str = DEFAULT) -> AsyncRedis:
        """The client of `alias` for asyncio: one for all event loops, threads and requests.

        Raises:
            InvalidOption: no such alias is defined. PoolClosed: the factory was closed.
        """
        client = self._async_clients.get(alias)
        if client is None:
            made = AsyncRedis(connection_pool=self.async_pool(alias))
            client = self._async_clients.setdefault(alias, made)
        return client

    def pools(self) -> list[ConnectionPool | AsyncConnectionPool]:
        """The pools that were used: those for threads, and those for asyncio."""
        return [*self._pools.copy().values(), *self._async_pools.copy().values()]

    def stats(self) -> dict[str, PoolStats]:
        """The figures of every alias in this process; of a closed factory, of the used ones."""
        aliases = [alias for alias in self.options if alias in self._pools or not self._closed]
        return {alias: self.pool(alias).stats() for alias in aliases}

    def async_stats(self) -> dict[str, PoolStats]:
        """The figures of the pools for asyncio, of the aliases that were used."""
        return {alias: pool.stats() for alias, pool in self._async_pools.copy().items()}

    def live(self) -> list[LivePool]:
        """The pools of all processes of the application on this host, this one's among them.

        Raises:
            Unreadable: their figures cannot be seen; the text says why.
        """
        return live.read(self.directory)

    def measure(self, measure: Callable[[Lending], Measuring]) -> None:
        """Have each pool, also those to come, tell what `measure` gives for it; one at a time."""
        with self._making:
            self._measure = measure
            for pool in self.pools():
                pool.measuring = measure(pool)

    def close(self, timeout: float = CLOSE_WITHIN) -> int:
        """Close all pools for good; closing again does nothing.

        Where an event loop runs in the calling thread, use `aclose`: this would stop the loop.

        Args:
            timeout: seconds, for all pools together, until held connections are cut.

        Returns:
            How many connections were cut.
        """
        deadline = monotonic() + timeout
        return sum(pool.close(max(deadline - monotonic(), 0.0)) for pool in self._end())

    def aclose(self, timeout: float = CLOSE_WITHIN) -> Coroutine[Any, Any, int]:
        """The same, and the loop goes on meanwhile: for the shutdown of an ASGI application.

        From this call on nothing is lent; awaiting it waits for those who hold a connection. Where
        that is cancelled, they are cut at once.
        """
        return _drain(self._end(), timeout)

    def _end(self) -> list[Lending]:
        """Make and lend nothing any more; gives the pools, which a later `reopen` leaves alone."""
        with self._making:
            self._closed = True
            pools: list[Lending] = [*self._async_pools.values(), *self._pools.values()]
        for pool in pools:
            pool.begin_to_end()
        return pools

    def reopen(self) -> None:
        """Begin anew after `close`, with new pools, on which the clients that it gave go on.

        For an application that starts and ends several times in a process, as tests have it. What
        `pool` and `async_pool` gave before stays closed. Where nothing was closed it does nothing.
        """
        with self._making:
            if not self._closed:
                return
            self._pools, self._async_pools, self._closed = {}, {}, False
        for alias, client in list(self._clients.items()):
            client.connection_pool = self.pool(alias)
        for alias, async_client in list(self._async_clients.items()):
            async_client.connection_pool = self.async_pool(alias)

    def _make(self, alias: str, kind: type[_Pool], known: dict[str, _Pool]) -> _Pool:
        if alias not in self.options:
            defined = ", ".join(self.options)
            raise InvalidOption(f'REDISPOOL["{alias}"]', f"is not defined; defined are: {defined}")
        with self._making:
            if self._closed and alias not in known:
                raise PoolClosed("this PoolFactory is closed; make a new one")
            if alias not in known:
                known[alias] = self._new_pool(alias, kind)
            return known[alias]

    def _new_pool(self, alias: str, kind: type[_Pool]) -> _Pool:
        try:
            pool = kind(self._options_for(kind, alias), alias=alias, base_path=self._base_path)
        except InvalidOption as error:
            key = f'REDISPOOL["{alias}"]["{error.option.upper()}"]'
            raise InvalidOption(key, error.complaint) from error
        pool.directory = self.directory
        pool.measuring = self._measure(pool) if self._measure else None
        pool.channel.sources.append(self.listeners)
        return pool

    def _options_for(self, kind: type[Lending], alias: str) -> PoolOptions:
        """The options of `alias`; what of them is for asyncio alone does not stop threads."""
        options = self.options[alias]
        asyncio_only = options.multiplex and kind is ConnectionPool
        return options.replace(multiplex=False) if asyncio_only else options

    def after_fork_in_child(self) -> None:
        """A thread of the parent may have held the lock."""
        self._making = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<PoolFactory {', '.join(self.options)}>"


async def _drain(pools: Sequence[Lending], timeout: float) -> int:
    """Close `pools`, which lend nothing any more; gives how many connections were cut."""
    deadline = monotonic() + timeout
    cut = 0
    try:
        for pool in pools:
            left = max(deadline - monotonic(), 0.0)
            if isinstance(pool, AsyncConnectionPool):
                cut += await pool.aclose(left)
            else:
                cut += await asyncio.to_thread(pool.close, left)
    finally:
        for pool in pools:
            pool.close(0)  # nothing, unless this was cancelled: and there may be no loop after it
    return cut
