"""The two samples are one application: what they share is the same, letter by letter."""

from __future__ import annotations

import pytest
from run import DJANGO, FLASK

TEMPLATES = DJANGO.directory / "breakroom" / "templates" / "breakroom"


@pytest.mark.parametrize("name", ["style.css", "feed.js"])
def test_looks(name: str) -> None:
    """Style sheet and script are the same file."""
    assert (FLASK.directory / "static" / name).read_text() == (TEMPLATES / name).read_text()


def test_store() -> None:
    """What is done with Redis differs in the import line alone."""
    flask = (FLASK.directory / "store.py").read_text()
    django = (DJANGO.directory / "breakroom" / "store.py").read_text()
    assert flask.replace("flask_redispool", "django_redispool") == django
