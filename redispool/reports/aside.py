"""Aside: a question to a server over a connection of its own, which ends with the answer.

For who must not wait for the pool, nor take a connection from those who do: the dashboard.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from ..client import Redis
from ..dropin import client_name
from ..pool import ConnectionPool
from .fleet import Client

WITHIN = 1.0
"""Seconds for connecting, and the same again for the answer."""
NO_ALIAS = ""
"""What stands in the name of the connection where others have their alias, which is not empty."""


def list_aside(pool: ConnectionPool) -> list[Client]:
    """What CLIENT LIST tells, without the connection that asks.

    It is made with the options of `pool` and outside of its bound; the pool learns nothing of it.

    Raises:
        redis.RedisError, OSError: the server is away, too slow, or refuses.
    """
    connection = pool.make_connection()
    connection.client_name = own = client_name(NO_ALIAS)
    connection.name_is_ours = True
    connection.retry = Retry(NoBackoff(), 0)  # the user's may pause between its tries
    try:
        connection.lend(started := monotonic())
        connection.open(started + WITHIN)
        connection.finish_by(monotonic() + WITHIN)
        connection.send_command("CLIENT", "LIST", check_health=False)
        reader: Any = Redis(connection_pool=pool)
        listed = reader.parse_response(connection, "CLIENT LIST")
        return [client for client in listed if client["name"] != own]
    finally:
        connection.end()
