"""RedisPoolDashboard: the dashboard as a Flask extension, shown to whom the application lets in."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask, Response, abort, request
from flask.typing import ResponseReturnValue

from redispool.dashboard import Dashboard
from redispool.dashboard.pages import METHODS

from .extension import RedisPool, current_factory

__all__ = ["RedisPoolDashboard"]


class RedisPoolDashboard:
    """The page with the pools of all processes of the application.

    Args:
        pools: the extension that makes the pools.
        authorize: called within each request, before anything is shown: True lets the request in,
            False, None and the like answer 403, and a response (a redirect to a login) is sent as
            it is.
        app: the application; or call `init_app`.
        url_prefix: where the page is.

    Raises:
        TypeError: there is no `authorize`. The page shows how a site is built.
    """

    def __init__(
        self,
        pools: RedisPool,
        authorize: Callable[[], bool | ResponseReturnValue] | None = None,
        app: Flask | None = None,
        *,
        url_prefix: str = "/redispool",
    ) -> None:
        if not callable(authorize):
            raise TypeError(
                f"RedisPoolDashboard needs authorize=, a callable that says who may look; found "
                f"{authorize!r}. With Flask-Login: authorize=lambda: current_user.is_authenticated "
                "and current_user.is_admin"
            )
        self.pools = pools
        self._authorize = authorize
        self._url_prefix = url_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Mount the page in `app`, which the extension `pools` knows."""
        made = Blueprint("redispool_dashboard", __name__, url_prefix=self._url_prefix)
        dashboard = Dashboard(current_factory)

        @made.before_request
        def let_in() -> ResponseReturnValue | None:
            allowed = self._authorize()
            if not allowed:  # also None, of who forgot to return, or of a column without a value
                abort(403)
            return None if isinstance(allowed, bool) else allowed

        def show(name: str = "") -> Response:
            answer = dashboard.answer(name, request.method)
            response = Response(answer.body, answer.status, content_type=answer.content_type)
            response.headers.update(answer.headers)
            return response

        made.add_url_rule("/", "dashboard", show, methods=METHODS)
        made.add_url_rule("/<name>", "file", show, methods=METHODS)
        app.register_blueprint(made)
