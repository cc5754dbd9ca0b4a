"""The pytest plugin: a server, its URL and a factory as fixtures, and a check of what came back.

pytest loads it wherever redispool is installed, so it does nothing before a fixture is asked for.
It lies outside of the package, for with the package would come redis-py, in each run of pytest, and
``ssl``, which gevent has to patch before it is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from redispool import PoolFactory
    from redispool.testing import RunningServer

HELP = "run tests against the Redis at this URL, never emptied; a server of their own without it"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--redispool-url``, and ``redispool_url`` for the configuration file."""
    parser.getgroup("redispool").addoption("--redispool-url", metavar="URL", help=HELP)
    parser.addini("redispool_url", HELP, default="")


@pytest.fixture(scope="session")
def redispool_server(pytestconfig: pytest.Config) -> Iterator[RunningServer]:
    """One server for all tests of the process: started for them, or the one that a URL names."""
    from redispool.testing import server

    url = pytestconfig.getoption("redispool_url") or pytestconfig.getini("redispool_url")
    if url:
        yield server.RunningServer(url)
        return
    with server.Server() as own:
        yield own


@pytest.fixture
def redispool_url(redispool_server: RunningServer) -> str:
    """The URL of the server: one that was started for the tests is empty when a test begins.

    A server that was given by its URL is never emptied: its keys may be somebody's.
    """
    from redispool.testing import server

    if isinstance(redispool_server, server.Server):
        with redispool_server.outside() as client:
            client.flushall()
    return redispool_server.url


@pytest.fixture
def redispool_factory(redispool_url: str) -> Iterator[PoolFactory]:
    """A `PoolFactory` for the server; at the end of the test everything must have come back."""
    from redispool import PoolFactory
    from redispool.testing import assert_all_returned

    factory = PoolFactory(redispool_url)
    try:
        yield factory
        assert_all_returned(factory)
    finally:
        factory.close(0)


@pytest.fixture
def redispool_returns_all() -> Iterator[None]:
    """The test must give back all connections that it takes, from any pool of the process.

    For some tests: ``@pytest.mark.usefixtures("redispool_returns_all")``; for all of them:
    ``usefixtures = redispool_returns_all`` in the configuration file.
    """
    from redispool.testing.returns import all_pools, assert_returned, held_of

    before = {lease for _, lease in held_of(all_pools())}
    yield
    assert_returned(
        lambda: [held for held in held_of(all_pools()) if held[1] not in before], within=1.0
    )
