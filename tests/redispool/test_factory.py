from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from redispool import (
    AsyncRedis,
    ConnectionPool,
    InvalidOption,
    PoolClosed,
    PoolFactory,
    PoolOptions,
    Redis,
)
from redispool import factory as module
from tests.conftest import MakeFactory
from tests.support import Valkey, eventually, run_threads

NOBODY = "redis://nobody.invalid:1/0"


def test_making_a_factory_opens_nothing() -> None:
    """Neither the factory, nor its pools and clients connect before the first command."""
    factory = PoolFactory(NOBODY)

    assert factory.aliases == ["default"]
    assert factory.pool().stats().created_total == 0
    assert isinstance(factory.client(), Redis)


def test_an_alias_is_one_pool_and_one_client(make_factory: MakeFactory, server: Valkey) -> None:
    """Whoever asks, and how often: the same alias gives the same pool, another gives another."""
    factory = make_factory({"default": server.url, "sessions": server.url})

    assert factory.pool() is factory.pool("default") is factory.client().connection_pool
    assert factory.client() is factory.client("default")
    assert factory.pool("sessions") is not factory.pool()


def test_an_alias_has_its_own_options(make_factory: MakeFactory, server: Valkey) -> None:
    """Two aliases of one server are two pools, each with its own bound."""
    factory = make_factory(
        {
            "default": {"URL": server.url, "MAX_CONNECTIONS": 3},
            "sessions": PoolOptions(url=server.url, max_connections=4),
        }
    )

    assert [factory.pool(alias).max_connections for alias in factory.aliases] == [3, 4]
    factory.client("sessions").ping()
    assert len(server.clients("sessions")) == 1
    assert factory.stats()["default"].created_total == 0


def test_fifty_threads_get_one_pool(
    make_factory: MakeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads ask for the first time at once, one pool and one client are made."""
    made: list[ConnectionPool] = []

    class Counted(ConnectionPool):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(self)
            threading.Event().wait(0.01)  # let the others come
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(module, "ConnectionPool", Counted)
    factory = make_factory()

    clients = run_threads(50, lambda _: factory.client())

    assert len(made) == 1
    assert {id(client) for client in clients} == {id(factory.client())}
    assert {id(client.connection_pool) for client in clients} == {id(made[0])}


def test_an_unknown_alias_is_told() -> None:
    """The error names the alias as one would define it, and those that are defined."""
    factory = PoolFactory({"default": NOBODY, "sessions": NOBODY})

    for ask in (factory.pool, factory.client):
        with pytest.raises(InvalidOption, match=r'REDISPOOL\["session"\].*default, sessions'):
            ask("session")


def test_settings_are_checked_at_once() -> None:
    """A mistake in any alias stops the start, not the first request that meets it."""
    with pytest.raises(InvalidOption, match=r'REDISPOOL\["sessions"\]\["MAX_CONECTIONS"\]'):
        PoolFactory({"default": NOBODY, "sessions": {"URL": NOBODY, "MAX_CONECTIONS": 5}})


def test_all_pools_are_closed(make_factory: MakeFactory, server: Valkey) -> None:
    """`close` ends every pool that was made, and lets none be made any more."""
    factory = make_factory(dict.fromkeys(("default", "sessions", "unused"), server.url))
    clients = [factory.client(), factory.client("sessions")]
    for client in clients:
        client.ping()

    assert factory.close() == 0

    eventually(lambda: not server.clients("default", "sessions"))
    for client in clients:
        with pytest.raises(PoolClosed):
            client.ping()
    with pytest.raises(PoolClosed, match="make a new one"):
        factory.pool("unused")
    assert factory.pool().closed


def test_closing_again_does_nothing(factory: PoolFactory) -> None:
    """A second `close`, of another thread or of ``atexit``, returns at once."""
    factory.client().ping()

    assert run_threads(4, lambda _: factory.close()) == [0] * 4
    assert factory.close() == 0


def test_the_time_to_close_is_for_all_together(make_factory: MakeFactory, server: Valkey) -> None:
    """Connections that hang are cut at one deadline for all pools; and they are counted."""
    factory = make_factory(dict.fromkeys(("default", "sessions"), server.url))
    held = [factory.pool(alias).acquire() for alias in factory.aliases]
    started = time.monotonic()

    assert factory.close(timeout=0.3) == 2

    assert time.monotonic() - started < 0.55
    for alias, connection in zip(factory.aliases, held, strict=True):
        factory.pool(alias).release(connection)


def test_figures_of_every_alias(make_factory: MakeFactory, server: Valkey) -> None:
    """`stats` has each alias, used or not; also after the end."""
    factory = make_factory({"default": server.url, "sessions": server.url})
    factory.client().ping()

    stats = factory.stats()
    assert {alias: stats[alias].acquired_total for alias in stats} == {"default": 1, "sessions": 0}
    assert [found.alias for found in stats.values()] == ["default", "sessions"]

    factory.close()
    assert factory.stats()["default"].closed


def test_a_with_block(server: Valkey) -> None:
    """At the end of the block all is closed."""
    with PoolFactory(server.url) as factory:
        client = factory.client()
        client.ping()

    with pytest.raises(PoolClosed):
        client.ping()


def test_the_environment_is_the_last_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings, ``REDIS_URL`` of the environment is the ``default`` alias."""
    monkeypatch.setenv("REDIS_URL", "redis://from.environment:1/2")

    assert PoolFactory().pool().options.server == "from.environment:1/2"


def test_where_an_embedded_server_lives(tmp_path: Path) -> None:
    """``embedded://`` keeps its data below the folder of the project."""
    factory = PoolFactory("embedded://", base_path=tmp_path)

    assert factory.pool().make_connection().directory == tmp_path / ".redispool"
    elsewhere = PoolFactory(f"embedded://{tmp_path}/elsewhere", base_path=tmp_path)
    assert elsewhere.pool().make_connection().directory == tmp_path / "elsewhere"


def test_a_repr_for_people() -> None:
    """It lists the aliases, and no URL."""
    assert (
        repr(PoolFactory({"default": "redis://:secret@h", "b": NOBODY}))
        == "<PoolFactory default, b>"
    )


def test_credentials_that_cannot_be_imported_are_named_as_typed() -> None:
    """The error quotes the setting of the alias, and comes before anything is opened."""
    factory = PoolFactory({"default": {"CREDENTIAL_PROVIDER": "no.such.thing"}})
    with pytest.raises(InvalidOption, match=r'REDISPOOL\["default"\]\["CREDENTIAL_PROVIDER"\]: '):
        factory.pool()


@pytest.mark.parametrize("path", ["data", "data/../data"])
def test_a_relative_path_belongs_to_the_project(tmp_path: Path, path: str) -> None:
    """The private server's folder does not depend on where the process was started."""
    settings = {"default": {"URL": "embedded://", "PATH": path}}
    for base_path in (tmp_path, str(tmp_path)):
        kwargs = PoolFactory(settings, base_path=base_path).pool().connection_kwargs
        assert kwargs["directory"].resolve() == tmp_path / "data"


def test_the_figures_of_a_closed_factory(make_factory: MakeFactory) -> None:
    """After the end the figures of what was used can still be read, and nothing else is made."""
    factory = make_factory({"used": "redis://localhost", "unused": "redis://localhost"})
    factory.pool("used")
    factory.close()

    assert list(factory.stats()) == ["used"]
    assert factory.stats()["used"].closed


def test_it_can_begin_anew(factory: PoolFactory, flushed: Valkey) -> None:
    """After `close` its clients, and scripts made from them, go on with new pools."""
    client, aredis, pool = factory.client(), factory.async_client(), factory.pool()
    script = client.register_script("return redis.call('incr', KEYS[1])")
    assert script(keys=["hits"]) == 1
    factory.close()
    with pytest.raises(PoolClosed):
        client.ping()

    factory.reopen()

    assert script(keys=["hits"]) == 2
    assert asyncio.run(incr(aredis)) == 3
    assert factory.client() is client
    assert factory.pool() is client.connection_pool is not pool
    with pytest.raises(PoolClosed):
        pool.acquire()


def test_beginning_anew_without_an_end_does_nothing(factory: PoolFactory) -> None:
    """What is open stays as it is."""
    pool = factory.pool()
    factory.reopen()
    assert factory.pool() is pool
    assert not pool.closed


async def incr(client: AsyncRedis) -> int:
    """One command."""
    return int(await client.incr("hits"))
