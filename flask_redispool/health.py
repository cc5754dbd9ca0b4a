"""Health: a blueprint that answers probes through the pools of the current app."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, Response, jsonify

from redispool.health import WITHIN, check

from .extension import current_factory

__all__ = ["blueprint"]


def blueprint(
    path: str = "/redispool/health",
    aliases: Iterable[str] | None = None,
    *,
    within: float = WITHIN,
    name: str = "redispool_health",
) -> Blueprint:
    """Make a blueprint with one view: 200 or 503, and what `redispool.health` found, as JSON.

    Args:
        path: of the view.
        aliases: those that count; all where they are not given.
        within: seconds that an answer may take.
        name: of the blueprint; another one for each further blueprint of an application.

    Returns:
        What ``app.register_blueprint`` takes.
    """
    wanted = None if aliases is None else list(aliases)
    made = Blueprint(name, __name__)

    @made.get(path)
    def health() -> Response:
        """Answer a probe."""
        found = check(current_factory(), wanted, within=within)
        response = jsonify(found.as_dict())
        response.status_code = found.http_status
        response.headers["Cache-Control"] = "no-store"
        return response

    return made
