import tempfile
from collections.abc import Iterator

import pytest

from django_redispool import redis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A private server for the tests, so that they leave the data of the site alone."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        yield f"embedded://{directory}/data"


@pytest.fixture(autouse=True)
def empty_redis(settings, redis_url: str) -> None:
    """A site with nothing in Redis."""
    settings.REDISPOOL = {"default": {"URL": redis_url, "DECODE_RESPONSES": True}}
    redis.flushdb()
