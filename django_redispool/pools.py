"""The pools of the Django project: made from its settings, and again when these change."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from redispool import (
    AsyncConnectionPool,
    AsyncRedis,
    ConnectionPool,
    InvalidOption,
    PoolFactory,
    PoolStats,
    Redis,
    fork,
)
from redispool.aio.current import CurrentAsyncRedis
from redispool.current import CurrentRedis
from redispool.options import PoolOptions
from redispool.settings import DEFAULT, read_settings

from . import signals

FOLLOWED = frozenset({"REDISPOOL", "REDIS_URL", "REDISPOOL_LIVE_DIRECTORY", "BASE_DIR"})
"""The settings that the pools are made from."""


class Pools:
    """One `PoolFactory` for the project; importing it touches no settings and opens no socket."""

    def __init__(self) -> None:
        self._factory: PoolFactory | None = None
        self._clients: dict[str, Redis] = {}
        self._async_clients: dict[str, AsyncRedis] = {}
        self._making = threading.Lock()
        fork.register(self)

    @property
    def factory(self) -> PoolFactory:
        """The factory that the settings of now describe.

        Raises:
            django.core.exceptions.ImproperlyConfigured: a setting cannot be used.
        """
        return self._factory or self._make()

    def pool(self, alias: str = DEFAULT) -> ConnectionPool:
        """The pool of `alias`.

        Raises:
            django.core.exceptions.ImproperlyConfigured: no such alias is defined.
        """
        with in_words_of_django():
            return self.factory.pool(alias)

    def async_pool(self, alias: str = DEFAULT) -> AsyncConnectionPool:
        """The pool of `alias` for asyncio, one for all event loops. Errors as of `pool`."""
        with in_words_of_django():
            return self.factory.async_pool(alias)

    def client(self, alias: str = DEFAULT) -> Redis:
        """The client of `alias`; it may be kept, it follows the settings. Errors as of `pool`."""
        self.pool(alias)  # says at once what is wrong with the settings
        known = self._clients.get(alias)
        if known is not None:
            return known
        client = CurrentRedis(lambda: self.present_client(alias), f"redis {alias!r} of Django")
        return self._clients.setdefault(alias, client)

    def async_client(self, alias: str = DEFAULT) -> AsyncRedis:
        """The client of `alias` for async views; it may be kept, too. Errors as of `pool`."""
        self.async_pool(alias)
        known = self._async_clients.get(alias)
        if known is not None:
            return known
        name = f"aredis {alias!r} of Django"
        client = CurrentAsyncRedis(lambda: self.present_async_client(alias), name)
        return self._async_clients.setdefault(alias, client)

    def present_client(self, alias: str) -> Redis:
        """The client of `alias` that the settings of now describe; errors as of `pool`."""
        try:  # no `with`: every command comes through here
            return self.factory.client(alias)
        except InvalidOption as error:
            raise ImproperlyConfigured(str(error)) from error

    def present_async_client(self, alias: str) -> AsyncRedis:
        """The same for asyncio."""
        try:
            return self.factory.async_client(alias)
        except InvalidOption as error:
            raise ImproperlyConfigured(str(error)) from error

    def stats(self) -> dict[str, PoolStats]:
        """The figures of every alias in this process."""
        return self.factory.stats()

    def async_stats(self) -> dict[str, PoolStats]:
        """The figures of the pools for asyncio, of the aliases that were used."""
        return self.factory.async_stats()

    def rebuild(self) -> None:
        """Close the pools; the next use makes new ones from the settings of then."""
        with self._making:
            factory, self._factory = self._factory, None
        if factory is not None:
            factory.close(timeout=0)

    def _make(self) -> PoolFactory:
        with self._making:
            if self._factory is None:
                factory = make_factory()
                factory.listeners.forwarders.append(partial(signals.forwarder, Pools))
                self._factory = factory
            return self._factory

    def after_fork_in_child(self) -> None:
        """A thread of the parent may have held the lock."""
        self._making = threading.Lock()


def make_factory() -> PoolFactory:
    """The pools that the project's settings describe; errors as of `project_options`."""
    options = project_options()
    with in_words_of_django():
        return PoolFactory(
            options,
            base_path=project_folder(),
            live_directory=getattr(settings, "REDISPOOL_LIVE_DIRECTORY", None),
        )


def project_options() -> dict[str, PoolOptions]:
    """The options of each alias in the project's settings.

    Raises:
        django.core.exceptions.ImproperlyConfigured: a setting cannot be used.
    """
    with in_words_of_django():
        return read_settings(
            getattr(settings, "REDISPOOL", None), redis_url=getattr(settings, "REDIS_URL", None)
        )


@contextlib.contextmanager
def in_words_of_django() -> Iterator[None]:
    """Raise what is wrong with a setting as the error that Django's users expect."""
    try:
        yield
    except InvalidOption as error:
        raise ImproperlyConfigured(str(error)) from error


def project_folder() -> Path:
    """``BASE_DIR``, which Django's project template sets; else the working directory."""
    return Path(getattr(settings, "BASE_DIR", None) or Path.cwd())


pools = Pools()
redis: Redis = CurrentRedis(lambda: pools.present_client(DEFAULT), "redis of the Django project")
aredis: AsyncRedis = CurrentAsyncRedis(
    lambda: pools.present_async_client(DEFAULT), "aredis of the Django project"
)
