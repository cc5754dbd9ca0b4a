"""The Flask extension: pools that live as long as the process, a scope for each app context."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path

from flask import Flask, Response, current_app, g
from flask.signals import appcontext_pushed, request_finished

from redispool import AsyncConnectionPool, AsyncRedis, ConnectionPool, PoolFactory, Redis, Scope
from redispool.aio.current import CurrentAsyncRedis
from redispool.current import CurrentRedis
from redispool.settings import DEFAULT, read_settings

from . import signals

KEY = "redispool"
SCOPE = "_redispool_scope"
FLAT = "REDISPOOL_"
LIVE = "REDISPOOL_LIVE_DIRECTORY"
"""Where the pools show their figures to the other processes of the application."""
SERVER_TIMING = "REDISPOOL_SERVER_TIMING"
"""The setting that asks for the header ``Server-Timing`` while the application is debugged."""
NO_OPTIONS = frozenset({LIVE, SERVER_TIMING})
"""Settings that begin like the options of ``default``, and are none."""


class RedisPool:
    """The extension: one object for any number of applications, each with its own settings.

    It reads ``app.config["REDISPOOL"]`` (alias → URL or dict), ``REDIS_URL`` and flat keys such as
    ``REDISPOOL_MAX_CONNECTIONS``, and ``REDISPOOL_LIVE_DIRECTORY`` once, when the application is
    registered; changes after that have no effect. No socket is opened before the first command.

    Args:
        app: an application to register at once.

    Raises:
        InvalidOption: a setting cannot be used.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register `app`; its ``PoolFactory`` is ``app.extensions["redispool"]`` from then on.

        Raises:
            RuntimeError: the application has been registered before.
            InvalidOption: a setting cannot be used.
        """
        if KEY in app.extensions:
            raise RuntimeError(
                "This Flask app has a RedisPool already; call RedisPool(app) or init_app(app) once."
            )
        factory = factory_for(app)
        app.teardown_appcontext(end_scope)
        app.shell_context_processor(lambda: {"redis": redis, "aredis": aredis})
        appcontext_pushed.connect(open_scope, app)
        # Not after_request: a function that runs later may answer with another response.
        request_finished.connect(keep_scope_while_streaming, app)
        factory.listeners.forwarders.append(partial(signals.forwarder, weakref.ref(app)))
        if app.config.get(SERVER_TIMING):
            app.after_request(add_server_timing)
        app.extensions[KEY] = factory

    def pool(self, alias: str = DEFAULT) -> ConnectionPool:
        """The pool of `alias` of the current app.

        Raises:
            RuntimeError: there is no current app, or it is not registered.
            InvalidOption: no such alias is defined.
        """
        return current_factory().pool(alias)

    def client(self, alias: str = DEFAULT) -> Redis:
        """The client of `alias` of the current app; errors as of `pool`."""
        return current_factory().client(alias)

    def async_pool(self, alias: str = DEFAULT) -> AsyncConnectionPool:
        """The pool of `alias` for asyncio, one for all event loops; errors as of `pool`."""
        return current_factory().async_pool(alias)

    def async_client(self, alias: str = DEFAULT) -> AsyncRedis:
        """The client of `alias` for async views, hooks and scripts; errors as of `pool`."""
        return current_factory().async_client(alias)


def factory_for(app: Flask) -> PoolFactory:
    """The pools that the settings of `app` describe."""
    options = read_settings(
        app.config.get("REDISPOOL"),
        redis_url=app.config.get("REDIS_URL"),
        flat={
            key: value
            for key, value in app.config.items()
            if key.startswith(FLAT) and key not in NO_OPTIONS
        },
    )
    return PoolFactory(
        options,
        # Flask puts the instance folder into the folder of the project.
        base_path=Path(app.instance_path).parent,
        live_directory=app.config.get(LIVE),
    )


def current_factory() -> PoolFactory:
    """The pools of the current app.

    Raises:
        RuntimeError: there is no current app, or it is not registered.
    """
    try:
        # One look through Flask's proxy, which is the dearest part of what a request pays.
        app = current_app._get_current_object()  # type: ignore[attr-defined]
    except RuntimeError:
        raise RuntimeError(
            "Redis was used outside of an app context, so it is not known which application's "
            "settings hold. Use it in a view or a command, or write: with app.app_context(): ... "
            "In a streamed response, wrap the generator in flask.stream_with_context."
        ) from None
    try:
        factory: PoolFactory = app.extensions[KEY]
    except KeyError:
        raise RuntimeError(
            f"The Flask app {app.name!r} is not registered with a RedisPool; call "
            "RedisPool(app), or init_app(app) in the application factory."
        ) from None
    return factory


redis: Redis = CurrentRedis(lambda: current_factory().client(), "redis of the current Flask app")
aredis: AsyncRedis = CurrentAsyncRedis(
    lambda: current_factory().async_client(), "aredis of the current Flask app"
)


class ContextScope(Scope):
    """The scope of an app context; where a response is streamed it ends with the last of both."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: set[object] = set()
        self._context_has_ended = False

    def last_until_closed(self, response: Response) -> None:
        """Do not end before `response`, which may outlive the app context."""
        stream = object()
        self._streams.add(stream)
        response.call_on_close(lambda: self._stream_ends(stream))

    def context_ends(self, error: BaseException | None) -> None:
        """The app context is torn down. Never raises."""
        self._context_has_ended = True
        if self._streams and error is None:
            self.leave()
        else:
            self.close()

    def _stream_ends(self, stream: object) -> None:
        self._streams.discard(stream)  # a response may be closed more than once
        if self._context_has_ended and not self._streams:
            self.close()


def open_scope(app: Flask, **_: object) -> None:
    """Begin the scope of an app context, once, although it may be pushed several times."""
    if SCOPE not in g:
        scope = ContextScope()
        scope.enter()
        setattr(g, SCOPE, scope)


def keep_scope_while_streaming(app: Flask, *, response: Response, **_: object) -> None:
    """Let the scope last as long as the response is streamed."""
    # A file is passed through to the server, and its response is never closed.
    if response.is_streamed and not response.direct_passthrough and SCOPE in g:
        scope: ContextScope = g.get(SCOPE)
        scope.last_until_closed(response)


def end_scope(error: BaseException | None) -> None:
    """End the scope with its app context."""
    scope: ContextScope | None = g.pop(SCOPE, None)
    if scope is not None:
        scope.context_ends(error)


def add_server_timing(response: Response) -> Response:
    """Tell the browser how long the request waited for Redis, where the application is debugged."""
    if current_app.debug:  # else the durations would tell strangers what is in a cache
        from redispool.server_timing import HEADER, server_timing

        response.headers.add(HEADER, server_timing(g.get(SCOPE)))
    return response
