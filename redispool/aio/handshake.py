"""The handshake for asyncio: the steps of `redispool.handshake`, in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationWrongNumberOfArgsError

from ..handshake import judge, provider_of, steps_of

if TYPE_CHECKING:
    from .connection import AsyncPooledConnection


async def shake_hands(connection: AsyncPooledConnection) -> None:
    """Authenticate, choose the protocol and the database, and say who connects.

    Raises:
        redis.AuthenticationError: the server refused the credentials.
        redis.ConnectionError, redis.ResponseError: it cannot do what was asked for.
    """
    credentials = await credentials_of(connection)
    try:
        await _take(connection, credentials)
    except AuthenticationWrongNumberOfArgsError:
        # Servers before Redis 6 know no user names.
        await _take(connection, credentials[-1:])


async def credentials_of(connection: AsyncPooledConnection) -> Sequence[Any]:
    """Password, or user name and password; empty where there are none."""
    provider = provider_of(connection)
    if provider is None:
        return ()
    ask = getattr(type(provider), "get_credentials_async", None)
    if ask in (None, CredentialProvider.get_credentials_async):  # which warns, and asks the other
        return tuple(provider.get_credentials())
    return tuple(await provider.get_credentials_async())


async def _take(connection: AsyncPooledConnection, credentials: Sequence[Any]) -> None:
    steps = steps_of(connection, credentials)
    if not steps:
        return
    commands = [step.command for step in steps]
    await connection.send_packed_command(connection.pack_commands(commands), own=True)
    # All are read before one is judged: what is tried again then finds no reply of this one.
    judge(steps, [await connection.read_reply() for _ in steps])
