"""A pytest plugin: our classes where redis-py's tests expect redis-py's, and what may differ.

A test that is listed must fail, so that the list holds no more than there is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import listed
import pytest
import redis
import redis.asyncio
import redis.asyncio.client
import redis.asyncio.connection
import redis.asyncio.sentinel
import redis.client
import redis.connection
import redis.sentinel

import redispool

SECONDS = 30
"""For one test."""

MARKED = pytest.StashKey[bool]()
"""Set for a test that is listed: whether it failed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that leaves redis-py's classes where they are."""
    parser.addoption("--plain", action="store_true", help="redis-py's own classes")


def pytest_configure(config: pytest.Config) -> None:
    """Put our classes under every name that the tests import them by, before they do."""
    if config.getoption("plain"):
        return
    for package, client, pool in (
        (redis, redispool.Redis, redispool.ConnectionPool),
        (redis.asyncio, redispool.AsyncRedis, redispool.AsyncConnectionPool),
    ):
        for module in (package, package.client, package.sentinel):
            module.Redis = client
        for module in (package, package.client):
            module.StrictRedis = client
        for module in (package, package.connection):
            module.ConnectionPool = pool


@pytest.fixture(scope="session")
def administrator(pytestconfig: pytest.Config) -> Iterator[redispool.Redis]:
    """A client whose only connection was opened before the server asked for a password."""
    url = pytestconfig.getoption("--redis-url")
    # Always: a test that cuts every connection of the server cuts this one as well.
    with redispool.Redis.from_url(url, max_connections=1, retry="always") as own:
        own.ping()
        yield own


@pytest.fixture(autouse=True)
def no_password(administrator: redispool.Redis) -> Iterator[None]:
    """A test that fails does not leave a password on the server, on which all others would fail."""
    yield
    administrator.config_set("requirepass", "")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the files that are about other classes than ours."""
    return True if collection_path.name in listed.files_left_out() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect what is listed to fail; let a test that hangs fail alone, and not end the run."""
    groups, plain = applicable(config), config.getoption("plain")
    for item in items:
        item.add_marker(pytest.mark.timeout(SECONDS, method="signal"), append=False)
        for group in groups:
            if group.names(item.nodeid.removeprefix("tests/")):
                item.add_marker(mark(group, plain=plain))
                item.stash[MARKED] = False


def mark(group: listed.Group, *, plain: bool) -> pytest.MarkDecorator:
    """What becomes of the tests of `group`.

    Some of those that lack something would talk to whatever listens on a well-known port; they are
    tried with redis-py's own classes alone.
    """
    if group.lacking and not plain:
        return pytest.mark.skip(reason=group.title)
    return pytest.mark.xfail(reason=group.title, strict=False)  # see pytest_runtest_makereport


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    """Refuse a test that is listed and passes, its setup and its clean-up too."""
    report = yield
    if MARKED in item.stash:
        item.stash[MARKED] |= report.skipped  # which an expected failure is, too
        if report.when == "teardown" and not item.stash[MARKED]:
            report.outcome, report.longrepr = "failed", "it passes; differences.toml says otherwise"
    return report


def applicable(config: pytest.Config) -> list[listed.Group]:
    """The groups of the list that hold for this run."""
    plain = config.getoption("plain")
    return [group for group in listed.groups() if group.lacking or not plain]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a list that names what is not there."""
    if chosen(session.config) or not redis.__version__.startswith(listed.read()["written_for"]):
        return
    seen = [item.nodeid.removeprefix("tests/") for item in session.items]
    files = {name.partition("::")[0] for name in seen}
    named = [test for group in applicable(session.config) for test in group.tests]
    collected = [test for test in named if test.partition("::")[0] in files]
    gone = [test for test in collected if not any(listed.fits(test, name) for name in seen)]
    if gone:
        raise pytest.UsageError(f"differences.toml names what was not collected: {gone}")


def chosen(config: pytest.Config) -> bool:
    """Whether a part of the tests was asked for by name."""
    return bool(config.option.keyword) or any("::" in word for word in config.args)
