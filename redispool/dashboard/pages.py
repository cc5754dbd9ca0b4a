"""Pages: the answer to each path of the dashboard, for whatever framework asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ..factory import PoolFactory
from . import data

FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "history.js": ("history.js", "text/javascript; charset=utf-8"),
}
"""Path → file in ``static/`` and its type. The page refers to the others by their names alone."""

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
METHODS = ("GET", "HEAD")
"""All that the dashboard knows: it shows, and changes nothing."""


@dataclass(frozen=True)
class Answer:
    """What goes back to the browser."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]


class Dashboard:
    """The dashboard of one application. Whoever mounts it sees to it who may look.

    Args:
        factory: gives the pools to show; asked at each request, so it may change.
    """

    def __init__(self, factory: Callable[[], PoolFactory]) -> None:
        self._factory = factory
        self._fleet: data.Fleet | None = None
        self._fleet_of: PoolFactory | None = None

    def answer(self, path: str, method: str = "GET") -> Answer:
        """The answer to `path`, which is relative to where the dashboard is mounted."""
        if method not in METHODS:
            return Answer(405, "text/plain", b"", {**HEADERS, "Allow": ", ".join(METHODS)})
        if path in FILES:
            name, content_type = FILES[path]
            return Answer(200, content_type, _file(name), HEADERS)
        found = self._data(path)
        if found is None:
            return Answer(404, "text/plain", b"", HEADERS)
        body = json.dumps(found, default=str).encode()
        return Answer(200, "application/json", body, HEADERS)

    def _data(self, path: str) -> dict[str, Any] | None:
        factory = self._factory()
        if path == "pools.json":
            return data.pools(factory)
        if path == "options.json":
            return data.options(factory)
        if path == "fleet.json":
            return self._fleet_for(factory).ask()
        return None

    def _fleet_for(self, factory: PoolFactory) -> data.Fleet:
        if self._fleet is None or self._fleet_of is not factory:
            self._fleet, self._fleet_of = data.Fleet(factory), factory
        return self._fleet


@cache
def _file(name: str) -> bytes:
    return (resources.files(__package__) / "static" / name).read_bytes()
