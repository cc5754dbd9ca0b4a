import tempfile
from collections.abc import Iterator

import pytest
from app import create_app
from flask import Flask

from flask_redispool import redis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A private server for the tests, so that they leave the data of the application alone."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        yield f"embedded://{directory}/data"


@pytest.fixture
def app(redis_url: str) -> Flask:
    """The application, with nothing in Redis."""
    options = {"URL": redis_url, "DECODE_RESPONSES": True}
    app = create_app({"TESTING": True, "REDISPOOL": {"default": options}})
    with app.app_context():
        redis.flushdb()
    return app
