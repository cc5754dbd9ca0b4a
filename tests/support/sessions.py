"""What the server knows of a connection's session."""

from __future__ import annotations

from redispool.connection import PooledConnection

from .callers import ask


def assert_is_fresh(connection: PooledConnection, *, db: int = 0) -> None:
    """The session is as the handshake made it."""
    info = set(ask(connection, "CLIENT", "INFO").decode().split())
    # Without flags: in no transaction, no monitor, no subscriber, not tracking, not read-only.
    expected = {f"db={db}", f"resp={connection.protocol}", f"name={connection.client_name}"}
    expected |= set("user=default flags=N watch=0 sub=0 psub=0 ssub=0 redir=-1 capa=".split())
    assert not expected - info, f"{expected - info} instead of which {info}"
