"""PoolFactory: alias → pool, each made once in a process, on first use, and closed once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from . import fork
from .client import Redis
from .errors import InvalidOption, PoolClosed
from .lifecycle import CLOSE_WITHIN
from .options import PoolOptions
from .pool import ConnectionPool
from .settings import DEFAULT, Settings, read_settings
from .stats import PoolStats

__all__ = ["PoolFactory"]


class PoolFactory:
    """The pools of one application in this process.

    Making it reads and checks the settings and opens no socket. A forked child may go on using it:
    every pool begins anew there. As a context manager it closes the pools at the end.

    Args:
        settings: what ``REDISPOOL`` holds: alias → URL, dict of options or `PoolOptions`; a text is
            the URL of ``default``. Without it, the environment's ``REDIS_URL`` is.
        base_path: the folder of the project, where ``embedded://`` keeps its ``.redispool``; the
            working directory where it is not given.

    Raises:
        InvalidOption: a setting cannot be used. The message quotes it as it was typed.
    """

    def __init__(
        self, settings: Settings | str | None = None, *, base_path: Path | str | None = None
    ) -> None:
        self.options: Mapping[str, PoolOptions] = read_settings(settings)
        self._base_path = Path(base_path or Path.cwd())
        self._pools: dict[str, ConnectionPool] = {}
        self._clients: dict[str, Redis] = {}
        self._making = threading.Lock()
        self._closed = False
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
        return self._pools.get(alias) or self._make(alias)

    def client(self, alias: str = DEFAULT) -> Redis:
        """The client of `alias`: one for all threads and requests.

        Raises:
            InvalidOption: no such alias is defined. PoolClosed: the factory was closed.
        """
        client = self._clients.get(alias)
        if client is None:
            client = self._clients.setdefault(alias, Redis(connection_pool=self.pool(alias)))
        return client

    def stats(self) -> dict[str, PoolStats]:
        """The figures of every alias in this process; of a closed factory, of the used ones."""
        aliases = [alias for alias in self.options if alias in self._pools or not self._closed]
        return {alias: self.pool(alias).stats() for alias in aliases}

    def close(self, timeout: float = CLOSE_WITHIN) -> int:
        """Close all pools for good; closing again does nothing.

        Args:
            timeout: seconds, for all pools together, until held connections are cut.

        Returns:
            How many connections were cut.
        """
        with self._making:
            self._closed = True
        deadline = monotonic() + timeout
        return sum(
            pool.close(max(deadline - monotonic(), 0.0)) for pool in list(self._pools.values())
        )

    def _make(self, alias: str) -> ConnectionPool:
        if alias not in self.options:
            defined = ", ".join(self.options)
            raise InvalidOption(f'REDISPOOL["{alias}"]', f"is not defined; defined are: {defined}")
        with self._making:
            if self._closed and alias not in self._pools:
                raise PoolClosed("this PoolFactory is closed; make a new one")
            if alias not in self._pools:
                self._pools[alias] = self._new_pool(alias)
            return self._pools[alias]

    def _new_pool(self, alias: str) -> ConnectionPool:
        try:
            return ConnectionPool(self.options[alias], alias=alias, base_path=self._base_path)
        except InvalidOption as error:
            key = f'REDISPOOL["{alias}"]["{error.option.upper()}"]'
            raise InvalidOption(key, error.complaint) from error

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

    def __repr__(self) -> str:
        return f"<PoolFactory {', '.join(self.options)}>"
