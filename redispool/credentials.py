"""Credentials: a password, or whoever provides one at each connect."""

from __future__ import annotations

import functools
import importlib
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.credentials import CredentialProvider, StreamingCredentialProvider

from . import logs
from .errors import InvalidOption
from .options import PoolOptions

if TYPE_CHECKING:
    from .dropin import RedisPyPool


_fed: weakref.WeakKeyDictionary[Any, weakref.WeakSet[RedisPyPool]] = weakref.WeakKeyDictionary()
"""The pools of each provider that streams: it knows one listener, and serves several pools."""


class CallableProvider(CredentialProvider):
    """Asks a function at each connect.

    Args:
        ask: gives a password, or a pair of username and password; for asyncio it may be a coroutine
            function.
    """

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        return self._checked(self._ask())

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        found = self._ask()
        return self._checked(await found if inspect.isawaitable(found) else found)

    def _checked(self, found: Any) -> tuple[str] | tuple[str, str]:
        match found:
            case str():
                return (found,)
            case (str(),) | (str(), str()):
                return tuple(found)
        raise InvalidOption(
            "credential_provider",
            "must give a password, or a pair of username and password, all texts; "
            f"it gave {type(found).__name__}",
        )


def kwargs(options: PoolOptions) -> dict[str, Any]:
    """The arguments of redis-py's connection that say who connects.

    Raises:
        InvalidOption: the dotted path in ``credential_provider`` leads nowhere.
    """
    provider = options.credential_provider
    if provider is None:
        return {"username": options.username, "password": options.password}
    if isinstance(provider, str):
        provider = imported(provider)
    if not hasattr(provider, "get_credentials"):
        provider = CallableProvider(provider)
    return {"credential_provider": provider() if isinstance(provider, type) else provider}


def imported(path: str) -> Any:
    """What the dotted `path` names."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidOption(
            "credential_provider", f"{path!r} cannot be imported: {error}"
        ) from error
    if callable(found) or hasattr(found, "get_credentials"):
        return found
    raise InvalidOption(
        "credential_provider", f"{path!r} is neither callable nor has it get_credentials()"
    )


def follow(provider: Any, pool: RedisPyPool) -> None:
    """Renew the connections of `pool` whenever `provider` streams new credentials, if it does."""
    if not isinstance(provider, StreamingCredentialProvider):
        return
    mine: weakref.WeakSet[RedisPyPool] = weakref.WeakSet()
    pools = _fed.setdefault(provider, mine)
    pools.add(pool)
    if pools is mine:
        provider.on_next(functools.partial(_renew, pools))
        provider.on_error(_tell)


def _renew(pools: weakref.WeakSet[RedisPyPool], token: Any) -> None:
    for pool in list(pools):
        pool.re_auth_callback(token)


def _tell(error: Exception) -> None:
    # Not the error itself: whoever made it may have put a token into its message.
    reason = type(error).__name__
    logs.warn(
        "the credential provider could not renew its token (%s)",
        reason,
        event="credentials_not_renewed",
        reason=reason,
    )
