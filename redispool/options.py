"""PoolOptions: every option of a pool, its default, and what it may be."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis
from redis.cache import CacheConfigurationInterface, CacheInterface
from redis.retry import AbstractRetry

from . import kinds, urls
from .errors import InvalidOption
from .foreign import PASSED_ON, REFUSED, SYNONYMS, TRANSPORTS, taken_by
from .kinds import Kind
from .origins import Traced

__all__ = ["PASSED_ON", "PoolOptions", "kind_of", "option_names"]

SECRETS = frozenset({"credential_provider", "password", "ssl_password"})
MASK = "***"

MEANINGLESS = types.MappingProxyType(
    {
        "unix": ("host", "port", "ssl"),
        "embedded": ("host", "port", "ssl", "username", "password", "credential_provider"),
    }
)
"""Options that would be dropped without a word."""


def option(default: Any, kind: Kind) -> Any:
    return dataclasses.field(default=default, metadata={"kind": kind})


@dataclasses.dataclass(frozen=True, repr=False)
class PoolOptions(Traced):
    """The options of one pool; the setting of the same name is the field in capitals.

    Times are seconds. ``None`` for a time switches off what it limits. Where ``url`` is given, its
    parts fill ``host``, ``port`` and so on; a part that says something else is refused. Instead of
    a word ``retry`` may be redis-py's ``Retry``, for threads or for asyncio, which then decides
    alone what is tried again.

    Raises:
        InvalidOption: a value has the wrong type, is out of range, or contradicts another.
    """

    url: str | None = option(None, kinds.Text(optional=True))
    host: str = option("localhost", kinds.Host())
    port: int = option(6379, kinds.Whole(minimum=1, maximum=65535))
    db: int = option(0, kinds.Whole(minimum=0))
    username: str | None = option(None, kinds.Text(optional=True))
    password: str | None = option(None, kinds.Text(optional=True))
    path: str | None = option(None, kinds.Text(optional=True))
    ssl: bool = option(False, kinds.Flag())
    credential_provider: Any = option(None, kinds.Provider())
    max_connections: int = option(50, kinds.Whole(minimum=1))
    timeout: float | None = option(5.0, kinds.Seconds(optional=True))
    max_waiting: int = option(0, kinds.Whole(minimum=0))
    multiplex: bool = option(False, kinds.Flag())
    min_idle: int = option(0, kinds.Whole(minimum=0))
    max_idle: float | None = option(200.0, kinds.Seconds(optional=True, positive=True))
    max_lifetime: float | None = option(3600.0, kinds.Seconds(optional=True, positive=True))
    health_check_interval: float = option(30.0, kinds.Seconds())
    socket_timeout: float | None = option(5.0, kinds.Seconds(optional=True, positive=True))
    socket_connect_timeout: float | None = option(2.0, kinds.Seconds(optional=True, positive=True))
    retry: str | AbstractRetry[Any] = option("safe", kinds.HowToRetry())
    retries: int = option(3, kinds.Whole(minimum=0))
    protocol: int = option(2, kinds.Choice(2, 3))
    decode_responses: bool = option(False, kinds.Flag())
    cache: CacheInterface | None = option(None, kinds.Made(CacheInterface))
    cache_config: Any = option(None, kinds.Made(CacheConfigurationInterface))
    leak_threshold: float | None = option(60.0, kinds.Seconds(optional=True, positive=True))
    max_pubsub: int = option(100, kinds.Whole(minimum=1))
    client_name: str | None = option(None, kinds.ClientName())
    connection: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further options of redis-py's connection classes (``ssl_ca_certs``, ``encoding``, …)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "connection", types.MappingProxyType(dict(self.connection)))
        for name, value in self._given():
            check(name, value)
        for name in self.connection:
            if name not in PASSED_ON:
                raise InvalidOption(name, "belongs beside the dict connection, not in it")
        if self.url is not None:
            self._take_parts_of_url(self.url)
        self._refuse_contradictions()

    @property
    def transport(self) -> str:
        """How the server is reached: ``tcp``, ``tls``, ``unix`` or ``embedded``."""
        if self.url is not None and self.url.lower().startswith("embedded:"):
            return "embedded"
        if self.path is not None:
            return "unix"
        return "tls" if self.ssl else "tcp"

    @property
    def server(self) -> str:
        """The server and the database, for people: no credentials in it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        place = self.path if self.path is not None else f"{host}:{self.port}"
        if self.transport == "embedded":
            place = f"embedded {self.path or ''}".rstrip()
        return f"{place}/{self.db}"

    def masked(self) -> dict[str, Any]:
        """All options by name, secrets replaced by ``***``; for pages, logs and commands."""
        return {name: masked(name, value) for name, value in self._given()}

    def replace(self, **changes: Any) -> PoolOptions:
        """The same options but for `changes`, which may differ from what the URL says."""
        for name, value in changes.items():
            check(name, value)
        own = {name: value for name, value in changes.items() if name not in PASSED_ON}
        further = {name: value for name, value in changes.items() if name in PASSED_ON}
        twin = copy.copy(self)
        twin.__dict__.update(own)
        twin.__dict__["connection"] = types.MappingProxyType({**self.connection, **further})
        twin.forget_origins(changes)
        return twin

    def __repr__(self) -> str:
        parts = (
            f"{name}={masked(name, value)!r}"
            for name, value in self._given()
            if name in self.connection or value != default_of(name)
        )
        return f"PoolOptions({', '.join(parts)})"

    def _given(self) -> Iterator[tuple[str, Any]]:
        for field in dataclasses.fields(self):
            if field.name != "connection":
                yield field.name, getattr(self, field.name)
        yield from self.connection.items()

    def _take_parts_of_url(self, url: str) -> None:
        further = dict(self.connection)
        parts = urls.parse(url, kind_of)
        self.took_from_url(parts)
        if "ssl" in parts and (self.path is not None or "path" in parts):
            raise InvalidOption("path", "stands beside a URL that names a host; keep one")
        for name, value in parts.items():
            present = getattr(self, name, further.get(name))
            if name in PASSED_ON:
                refuse_contradiction(name, value, further.setdefault(name, value))
            elif present in (default_of(name), value):
                object.__setattr__(self, name, value)
            else:
                refuse_contradiction(name, value, present)
        object.__setattr__(self, "connection", types.MappingProxyType(further))

    def _refuse_contradictions(self) -> None:
        if self.credential_provider is not None and (self.username or self.password):
            raise InvalidOption(
                "credential_provider",
                "stands beside USERNAME or PASSWORD; give either the provider or the password",
            )
        if self.min_idle > self.max_connections:
            raise InvalidOption(
                "min_idle",
                f"is {self.min_idle}, more than MAX_CONNECTIONS ({self.max_connections})",
            )
        self._refuse_useless_cache()
        if self.multiplex and not isinstance(self.retry, str):
            raise InvalidOption(
                "multiplex",
                "cannot follow a redis.retry.Retry, which wants each command to have a connection "
                'to itself; set RETRY to "safe", "always" or "never"',
            )
        self._refuse_what_the_transport_drops()

    def _refuse_useless_cache(self) -> None:
        given = [name for name in ("cache", "cache_config") if getattr(self, name) is not None]
        if given and self.protocol != 3:
            raise InvalidOption(given[0], "needs RESP3, which tells what changes; set PROTOCOL = 3")
        if len(given) == 2:
            raise InvalidOption("cache_config", "stands beside CACHE, which has its own; keep one")

    def _refuse_what_the_transport_drops(self) -> None:
        words, _ = TRANSPORTS[self.transport]
        for name in MEANINGLESS.get(self.transport, ()):
            if getattr(self, name) != default_of(name):
                raise InvalidOption(name, f"means nothing to {words}; remove it")
        for name in self.connection:
            if name.startswith("ssl_") and self.transport != "tls":
                raise InvalidOption(name, "needs TLS; use a rediss:// URL or SSL = True")
            if name not in taken_by(self.transport):
                complaint = f"is no option of redis-py {redis.__version__} for {words}; remove it"
                raise InvalidOption(name, complaint)


def option_names() -> list[str]:
    """The names that a setting may have, in lower case."""
    own = [f.name for f in dataclasses.fields(PoolOptions) if f.name != "connection"]
    return [*own, *PASSED_ON]


def default_of(name: str) -> Any:
    """What the option `name` of PoolOptions is where nobody says anything."""
    return getattr(PoolOptions, name)


def kind_of(name: str, spell: Callable[[str], str] = str.upper) -> Kind:
    """What the option `name` (lower case) may be.

    Raises:
        InvalidOption: there is no such option; a near one is suggested in the spelling of `spell`.
    """
    if name in PASSED_ON:
        return PASSED_ON[name]
    for field in dataclasses.fields(PoolOptions):
        if field.name == name and name != "connection":
            kind: Kind = field.metadata["kind"]
            return kind
    raise InvalidOption(name, unknown(name, spell))


def masked(name: str, value: Any) -> Any:
    """The value as it may be shown."""
    if name == "url" and isinstance(value, str):
        return urls.mask(value, kind_of)
    return MASK if name in SECRETS and value is not None else value


def check(name: str, value: Any) -> None:
    complaint = kind_of(name).complaint(value)
    if complaint:
        raise InvalidOption(name, f"{complaint}, not {shown(name, value)} ({type(value).__name__})")


def shown(name: str, value: Any) -> str:
    """The value as an error may quote it: not a secret, nor a URL that stands in a wrong place."""
    text = repr(value)
    if name in SECRETS or name == "url" or "://" in text or "@" in text:
        return MASK
    return text if len(text) <= 80 else text[:80] + "…"


def unknown(name: str, spell: Callable[[str], str]) -> str:
    """What to say of the unknown option `name`, with the names in the user's spelling."""
    lower = name.lower()
    if lower in REFUSED:
        return REFUSED[lower]
    close = [SYNONYMS[lower]] if lower in SYNONYMS else []
    close = close or difflib.get_close_matches(lower, option_names(), n=1, cutoff=0.6)
    return f"unknown option; did you mean {spell(close[0])}?" if close else "unknown option"


def refuse_contradiction(name: str, in_url: Any, beside: Any) -> None:
    if in_url == beside:
        return
    values = f"{shown(name, in_url)} in the URL, {shown(name, beside)} beside it"
    advice = "write rediss:// for TLS, redis:// without" if name == "ssl" else "keep one"
    raise InvalidOption(
        name, f"is given in the URL and beside it with different values ({values}); {advice}"
    )
