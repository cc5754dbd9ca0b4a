"""Sharing: how clients come by a pool, theirs or shared, at next to no cost."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from .callbacks import Callbacks
from .lending import Lending

LISTENERS = frozenset({"credential_provider", "event_dispatcher"})
"""What redis-py's client takes beside a pool: whom it tells of new credentials."""

NOWHERE = None, None, None, None
"""The arguments of one more client of a pool, of which there may be one for each request."""


class SharingClient(Callbacks):
    """What clients for threads and for asyncio have in common: mixed into redis-py's."""

    pool_class: ClassVar[type[Lending]]
    """What a client makes that is given no pool."""
    redis_py: ClassVar[Any]
    """The class of redis-py's that is mixed with."""
    connection_pool: Any
    connection: Any
    auto_close_connection_pool: bool
    _single_connection_client: bool
    """redis-py's name of it in its client for threads; `single_connection_client` for asyncio."""
    single_connection_client: bool
    _parses_by_itself = False
    """Whether a subclass reads replies in a way of its own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own: Any = cls
        cls._parses_by_itself = own.parse_response is not cls.redis_py.parse_response

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        password: str | None = None,
        *,
        connection_pool: Any = None,
        single_connection_client: bool = False,
        **settings: Any,
    ) -> None:
        if (host, port, db, password) != NOWHERE:
            place = {"host": host, "port": port, "db": db, "password": password}
            settings |= {name: part for name, part in place.items() if part is not None}
        if connection_pool is not None and not settings and not single_connection_client:
            self._share(connection_pool)
            return
        listeners = {name: settings.pop(name) for name in LISTENERS & settings.keys()}
        if connection_pool is not None and settings:
            raise TypeError(f"options belong to the pool, not to its client: {list(settings)}")
        if connection_pool is None and "credential_provider" in listeners:
            settings["credential_provider"] = listeners.pop("credential_provider")
        pool = self.pool_class(**settings) if connection_pool is None else connection_pool
        self.redis_py.__init__(
            self,
            connection_pool=pool,
            single_connection_client=single_connection_client,
            **listeners,
        )
        self.auto_close_connection_pool = connection_pool is None

    def _share(self, pool: Any) -> None:
        """Be one more client of `pool`, without the 0.1 ms that redis-py's constructor takes."""
        if not isinstance(pool, self.pool_class):
            if isinstance(pool, Lending):
                raise TypeError(
                    f"{type(self).__name__} takes a pool of the class {self.pool_class.__name__}, "
                    f"not a {type(pool).__name__}; a factory gives each by a method of its own, "
                    "pool() and async_pool()"
                )
            self.redis_py.__init__(self, connection_pool=pool)
            return
        if pool.state_of_clients is None:
            pool.state_of_clients = self._first_state(pool)
        vars(self).update(pool.state_of_clients)
        self.connection_pool = pool

    def _first_state(self, pool: Any) -> dict[str, Any]:
        """The attributes that redis-py's constructor makes, and none that a subclass adds."""
        plain: Any = next(kind for kind in type(self).__mro__ if "pool_class" in vars(kind))
        client: Any = plain.__new__(plain)
        self.redis_py.__init__(client, connection_pool=pool)
        client.share_callbacks(client.response_callbacks)
        # Without the pool, which would hold itself.
        return {**vars(client), "connection_pool": None}

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        """A client with a pool of its own for `url`; no option may contradict the URL."""
        return cls(url=url, **settings)

    def _on(self, pool: Any) -> Self:
        """The same client on another pool, without the 0.1 ms that redis-py's constructor takes."""
        twin = type(self).__new__(type(self))
        # Without methods that somebody put on the object, as tracers do: they are bound to this
        # client, and so to its pool.
        kind, own = type(self), vars(self)
        twin.__dict__.update({k: own[k] for k in own if not callable(getattr(kind, k, None))})
        twin.connection_pool = pool
        twin.connection = None
        twin._single_connection_client = twin.single_connection_client = False
        twin.auto_close_connection_pool = False
        return twin

    @property
    def _pool_of_tries(self) -> Any:
        """The pool whose options say what is sent again: none, while a connection is held."""
        return None if self.connection is not None else self.connection_pool
