import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

# Before the application is imported: a private server, so that its own data is left alone.
directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
os.environ["REDIS_URL"] = f"embedded://{directory.name}/data"

from app import app  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from pools import factory, redis  # noqa: E402
from redispool import asgi  # noqa: E402


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Redis speaks asyncio."""
    return "asyncio"


@pytest.fixture
async def empty_redis() -> AsyncIterator[None]:
    """The pools, as the lifespan of the application has them, and nothing in Redis."""
    async with asgi.lifespan(factory)(app):
        await redis.flushdb()
        yield


@pytest.fixture
def visitor() -> Iterator[Callable[[], TestClient]]:
    """Makes visitors of the application, each with cookies of its own; nothing is in Redis."""
    with TestClient(app):  # runs the lifespan
        factory.client().flushdb()
        yield lambda: TestClient(app)


@pytest.fixture
def client(visitor: Callable[[], TestClient]) -> TestClient:
    """A visitor."""
    return visitor()
