"""The handshake: what the server is told of a new session, all in one round trip.

redis-py 8.1 waits for each of four to six replies before it sends the next command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from redis._parsers import _RESP2Parser, _RESP3Parser
from redis.credentials import UsernamePasswordCredentialProvider
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    ConnectionError,
    ResponseError,
)
from redis.utils import str_if_bytes

if TYPE_CHECKING:
    from .connection import PooledConnection


Shaking: TypeAlias = Any
"""A connection of ours, for threads or for asyncio: a new session has the same steps for both."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the handshake, and what its reply says.

    Args:
        command: its words.
        check: given the reply, an error among them; raises where the session cannot be used.
    """

    command: Sequence[Any]
    check: Callable[[Any], None]


def shake_hands(connection: PooledConnection) -> None:
    """Authenticate, choose the protocol and the database, and say who connects.

    Raises:
        redis.AuthenticationError: the server refused the credentials.
        redis.ConnectionError, redis.ResponseError: it cannot do what was asked for.
    """
    credentials = credentials_of(connection)
    try:
        _take(connection, credentials)
    except AuthenticationWrongNumberOfArgsError:
        # Servers before Redis 6 know no user names.
        _take(connection, credentials[-1:])


def credentials_of(connection: Shaking) -> Sequence[Any]:
    """Password, or user name and password; empty where there are none."""
    provider = provider_of(connection)
    return () if provider is None else tuple(provider.get_credentials())


def provider_of(connection: Shaking) -> Any:
    """Who knows the credentials; None where there are none."""
    if connection.credential_provider is not None:
        return connection.credential_provider
    if not (connection.username or connection.password):
        return None
    return UsernamePasswordCredentialProvider(connection.username, connection.password)


def _take(connection: PooledConnection, credentials: Sequence[Any]) -> None:
    steps = steps_of(connection, credentials)
    if not steps:
        return
    commands = [step.command for step in steps]
    packed = connection.pack_commands(commands)
    connection.send_packed_command(packed, check_health=False, own=True)
    # All are read before one is judged: what is tried again then finds no reply of this one.
    judge(steps, [_reply(connection) for _ in steps])


def judge(steps: Sequence[Step], replies: Sequence[Any]) -> None:
    """Look at the replies to all `steps`; errors as of `shake_hands`."""
    for step, reply in zip(steps, replies, strict=True):
        step.check(reply)


def steps_of(connection: Shaking, credentials: Sequence[Any]) -> list[Step]:
    """What the server is told of the session of `connection`, in this order."""
    steps = []
    if connection.protocol == 3:
        _want_resp3(connection)
        name = ("default", *credentials)[-2:] if credentials else ()
        words = ("HELLO", 3, *(("AUTH", *name) if credentials else ()))
        steps.append(Step(words, lambda reply: _greeted(connection, reply)))
    elif credentials:
        steps.append(Step(("AUTH", *credentials), _ok(AuthenticationError, "AUTH")))
    if connection.client_name:
        check = (
            _noted if connection.name_is_ours else _ok(ConnectionError, "Error setting client name")
        )
        steps.append(Step(("CLIENT", "SETNAME", connection.client_name), check))
    for key, value in connection.library.items():
        steps.append(Step(("CLIENT", "SETINFO", key, value), _noted))
    if connection.db:
        steps.append(Step(("SELECT", connection.db), _ok(ConnectionError, "Invalid Database")))
    if connection.tracks:
        steps.append(Step(("CLIENT", "TRACKING", "ON"), _tracking))
    return steps


def _reply(connection: PooledConnection) -> Any:
    try:
        return connection.read_response(disconnect_on_error=False)
    except (ResponseError, AuthenticationError) as error:
        return error


def _noted(reply: Any) -> None:
    """What is good to know may be refused: by an ACL, or by a server that is too old for it."""
    if not isinstance(reply, ResponseError):
        _ok(ConnectionError, "the server does not answer as Redis does")(reply)


def _ok(error: type[Exception], complaint: str) -> Callable[[Any], None]:
    def check(reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        if str_if_bytes(reply) != "OK":
            raise error(complaint)

    return check


def _tracking(reply: Any) -> None:
    if isinstance(reply, ResponseError):
        raise ConnectionError(
            f"the server does not say which replies change ({reply}); "
            "leave out CACHE and CACHE_CONFIG"
        ) from reply
    _ok(ConnectionError, "the server does not answer as Redis does")(reply)


def _greeted(connection: Shaking, reply: Any) -> None:
    if isinstance(reply, AuthenticationError | AuthenticationWrongNumberOfArgsError):
        raise reply
    if isinstance(reply, Exception):
        raise ConnectionError(
            f"the server does not speak RESP3 ({reply}); set PROTOCOL to 2"
        ) from reply
    connection.handshake_metadata = reply
    if 3 not in (reply.get(b"proto"), reply.get("proto")):
        raise ConnectionError("Invalid RESP version")


def _want_resp3(connection: Shaking) -> None:
    """Let redis-py's own parser, where it is used, read RESP3."""
    parser = connection._parser
    if isinstance(parser, _RESP2Parser):
        connection.set_parser(_RESP3Parser)
        connection._parser.EXCEPTION_CLASSES = parser.EXCEPTION_CLASSES
        connection._parser.on_connect(connection)
