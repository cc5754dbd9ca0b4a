"""What all tests may ask for: a real server, and pools that are seen off at the end of a test."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from redispool import AsyncConnectionPool, ConnectionPool, PoolFactory, PoolStats, live, whereabouts
from redispool.lending import Lending
from redispool.testing import assert_all_returned

from .support import ScriptedServer, Valkey, eventually
from .support.loops import LOOPS, Run

MakeAsyncPool: TypeAlias = Callable[..., AsyncConnectionPool]
MakePool: TypeAlias = Callable[..., ConnectionPool]
MakeFactory: TypeAlias = Callable[..., PoolFactory]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[Valkey]:
    """One Valkey for all tests; ask for `flushed` to find it empty."""
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def flushed(server: Valkey) -> Valkey:
    """The server, without a key in it."""
    with server.outside() as client:
        client.flushall()
    return server


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """A server for one test alone, which may stop and start it."""
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    """A server that answers as told."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def live_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the tests' pools show their figures, those of other processes among them."""
    root = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(os.environ, whereabouts.VARIABLE, str(root))
        yield root


@pytest.fixture
def live_directory(live_root: Path) -> Path:
    """Where the pools of `make_pool` and `make_async_pool` show their figures."""
    directory = whereabouts.directory_of(Path(__file__).parent, live_root)
    assert directory is not None
    return directory


@pytest.fixture
def make_pool(flushed: Valkey, live_directory: Path) -> Iterator[MakePool]:
    """Makes pools for the server, each under an alias of its own.

    At the end of the test nobody may hold a connection of theirs; they are closed, and the server
    may know none of their connections any more.
    """
    pools: list[ConnectionPool] = []

    def make(**options: Any) -> ConnectionPool:
        options.setdefault("alias", f"pool{next(_numbers)}")
        if not {"url", "path", "host"} & options.keys():
            options |= {"host": flushed.host, "port": flushed.port}
        pools.append(ConnectionPool(**options))
        pools[-1].directory = live_directory
        return pools[-1]

    yield make
    see_off(pools, flushed)


@pytest.fixture
def make_async_pool(flushed: Valkey, live_directory: Path) -> Iterator[MakeAsyncPool]:
    """Makes pools for asyncio; what holds for `make_pool` holds for them."""
    pools: list[AsyncConnectionPool] = []

    def make(**options: Any) -> AsyncConnectionPool:
        options.setdefault("alias", f"pool{next(_numbers)}")
        if not {"url", "path", "host"} & options.keys():
            options |= {"host": flushed.host, "port": flushed.port}
        pools.append(AsyncConnectionPool(**options))
        pools[-1].directory = live_directory
        return pools[-1]

    yield make
    see_off(pools, flushed)


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in a loop of its own: once of asyncio, once of uvloop."""
    return LOOPS[request.param]


@pytest.fixture
def pool(make_pool: MakePool) -> ConnectionPool:
    """A pool of at most two connections."""
    return make_pool(max_connections=2)


@pytest.fixture
def make_factory(flushed: Valkey) -> Iterator[MakeFactory]:
    """Makes factories; at the end of the test, what holds for `make_pool` holds for their pools."""
    factories: list[PoolFactory] = []

    def make(settings: Any = None) -> PoolFactory:
        factories.append(PoolFactory(flushed.url if settings is None else settings))
        return factories[-1]

    yield make
    pools: list[Lending] = []
    for factory in factories:
        pools += [*factory._pools.values(), *factory._async_pools.values()]
    see_off(pools, flushed)
    for factory in factories:
        factory.close(0)


@pytest.fixture
def factory(make_factory: MakeFactory) -> PoolFactory:
    """A factory with the alias ``default``."""
    return make_factory()


def see_off(pools: Sequence[Lending], server: Valkey) -> None:
    """Close `pools`, and check that nothing of them is left."""
    try:
        # The time is for threads of a test that are about to give their connection back.
        assert_all_returned(*pools, within=2.0)
        for pool in pools:
            assert_shown_as_they_are(pool)
    finally:
        cut = {pool.alias: pool.close(2.0) for pool in pools}
    assert not any(cut.values()), f"connections that nobody gave back: {cut}"
    if pools:
        eventually(lambda: not server.clients(*cut))


def assert_shown_as_they_are(pool: Lending) -> None:
    """Check that other processes see the figures that the pool itself gives."""
    if pool.directory is None or pool.closed or not pool._boards.get("own"):
        return  # it was never used, or is not shown any more

    def differences() -> dict[str, tuple[object, object]]:
        named = pool.alias, pool.face, os.getpid()
        pools = live.read(pool.directory)
        shown = [
            without_ages(found.stats)
            for found in pools
            if (found.stats.alias, found.face, found.process) == named
        ]
        own = without_ages(pool.stats())
        if sum(found.stats.alias == pool.alias for found in pools) > 1:
            own.pop("away_reason")  # another one may know better
        found = [
            {name: (seen[name], own[name]) for name in own if seen[name] != own[name]}
            for seen in shown  # a test may have several factories with the same aliases
        ]
        return min(found, key=len)

    # A thread of a test may be about to end its command.
    with contextlib.suppress(AssertionError):
        eventually(lambda: not differences(), within=2.0)
    assert not differences(), "what others see, and what the pool says"


def without_ages(stats: PoolStats) -> dict[str, object]:
    """The figures but those that grow from one moment to the next."""
    return {
        name: value
        for name, value in dataclasses.asdict(stats).items()
        if name not in {"oldest_wait_seconds", "oldest_lease_seconds", "away_seconds"}
    }
