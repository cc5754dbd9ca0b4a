"""The samples are one application: what they share is the same, letter by letter."""

from __future__ import annotations

import re

import pytest
from run import DJANGO, FASTAPI, FLASK

TEMPLATES = DJANGO.directory / "breakroom" / "templates" / "breakroom"


@pytest.mark.parametrize("name", ["style.css", "feed.js"])
def test_looks(name: str) -> None:
    """Style sheet and script are the same file."""
    flask = (FLASK.directory / "static" / name).read_text()
    assert (TEMPLATES / name).read_text() == flask
    assert (FASTAPI.directory / "static" / name).read_text() == flask


def test_page() -> None:
    """Of the page itself only the addresses and the name of the framework differ."""
    flask, fastapi = (
        (sample.directory / "templates" / "index.html").read_text() for sample in (FLASK, FASTAPI)
    )
    for old, new in (("get_flashed_messages()", "messages"), ("filename=", "path=")):
        flask = flask.replace(old, new)
    assert neutral(flask) == neutral(fastapi)


def neutral(page: str) -> str:
    """A page without the name of its framework and the ways to say an address in it."""
    page = page.replace("FastAPI", "Flask").replace("url_for('.", "url_for('")
    return page.replace(").path }}", ") }}")


def test_store() -> None:
    """What is done with Redis differs in the import line alone, and in what asyncio asks for."""
    flask = (FLASK.directory / "store.py").read_text()
    django = (DJANGO.directory / "breakroom" / "store.py").read_text()
    fastapi = (FASTAPI.directory / "store.py").read_text()

    assert flask.replace("flask_redispool", "django_redispool") == django
    assert flask.replace("flask_redispool", "pools") == threaded(fastapi)


def threaded(source: str) -> str:
    """Code for asyncio, as it is written for threads."""
    source = re.sub(r"\b(async|await) ", "", source)
    return re.sub(r"AsyncGenerator(\[str, None)?", r"Generator\1", source).replace(
        "Generator[str, None]", "Generator[str, None, None]"
    )
