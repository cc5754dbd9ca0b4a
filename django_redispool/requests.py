"""Requests: the receivers that give each request a scope, under WSGI and ASGI.

All of them are plain functions that do not block: an async receiver would get an event loop of its
own for each request under WSGI.
"""

from __future__ import annotations

import weakref
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from redispool import Scope, scopes

from .pools import FOLLOWED, pools

# Under ASGI the receivers run in contexts of their own, so a context variable set there is lost.
# What they and the view do have in common is the context that Django opens round a request.
_asgi_scopes: weakref.WeakKeyDictionary[ThreadSensitiveContext, Scope] = weakref.WeakKeyDictionary()


class RequestScope(Scope):
    """The scope of a request."""


class RequestScopeInContext(RequestScope):
    """The same under WSGI, where loops end with their tasks, and in tests with ``AsyncClient``.

    That runs the request in the task of the test, which cannot be told from one that goes on.
    """

    spares_tasks = False


def open_scope(**_: Any) -> None:
    """Begin the scope of a request."""
    request = _asgi_request()
    if request is None:
        RequestScopeInContext().enter()
        return
    scope = _asgi_scopes[request] = RequestScope()
    # Django sends no request_finished after an error in a stream, or where the server cancels.
    weakref.finalize(request, scope.close).atexit = False


def close_scope(**_: Any) -> None:
    """End the scope of a request. Never raises."""
    request = _asgi_request()
    scope = scopes.current() if request is None else _asgi_scopes.pop(request, None)
    if isinstance(scope, RequestScope):
        scope.close()


def scope_of_request() -> Scope | None:
    """The scope of the running request under ASGI."""
    request = _asgi_request()
    return None if request is None else _asgi_scopes.get(request)


def rebuild_pools(*, setting: str, **_: Any) -> None:
    """Follow a change of the settings, as ``override_settings`` makes it."""
    if setting in FOLLOWED:
        pools.rebuild()


def _asgi_request() -> ThreadSensitiveContext | None:
    return SyncToAsync.thread_sensitive_context.get(None)
