"""A test suite of which each test has an event loop of its own: of three kinds, one after another.

Run by pytest itself, in a process of its own; ``REDIS_URL`` says where, ``REQUESTS`` how often.
"""

from __future__ import annotations

import asyncio
import os
import unittest
from collections.abc import Iterator

import pytest

from redispool import PoolFactory

factory = PoolFactory()
aredis = factory.async_client()
REQUESTS = int(os.environ["REQUESTS"])


@pytest.fixture(scope="module", autouse=True)
def _pools() -> Iterator[None]:
    """All loops together have made one connection; the end needs no loop."""
    yield
    made = factory.async_pool().stats().created_total
    assert made == 1
    factory.close()


async def request(number: int) -> None:
    """Write and read a key."""
    await aredis.set(f"key {number}", number)
    assert await aredis.get(f"key {number}") == str(number).encode()


@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(REQUESTS))
async def test_pytest_asyncio(number: int) -> None:
    """One request, in the loop of a function."""
    await request(number)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", range(REQUESTS))
async def test_pytest_asyncio_module(number: int) -> None:
    """One request, in the loop of the module."""
    await request(number)


@pytest.mark.anyio
@pytest.mark.parametrize("number", range(REQUESTS))
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyio(number: int) -> None:
    """One request, in a loop of anyio's."""
    await request(number)


class Isolated(unittest.IsolatedAsyncioTestCase):
    """unittest's own loops."""


def add(number: int) -> None:
    """Add a test to the class, which knows no parameters."""

    async def test(self: Isolated) -> None:
        await request(number)

    setattr(Isolated, f"test_{number}", test)


for each in range(REQUESTS):
    add(each)


@pytest.mark.parametrize("number", range(REQUESTS))
def test_asyncio_run(number: int) -> None:
    """One request, in a loop of ``asyncio.run``."""
    asyncio.run(request(number))
