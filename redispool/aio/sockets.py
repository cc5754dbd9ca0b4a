"""Sockets: opened without blocking, by whichever loop runs, with the options of redis-py's."""

from __future__ import annotations

import contextlib
import socket
from asyncio import get_running_loop, timeout
from collections.abc import Callable
from typing import Any

from .. import embedded
from ..wire import quiet
from .line import Line, TLSLine

Limit = Callable[[float | None], float | None]
"""Gives the time limit that the caller's deadline leaves of another."""


async def open_line(connection: Any, within: Limit) -> Line:
    """An open line to the server of `connection`, by the way that its attributes tell.

    Args:
        connection: one of redis-py's for asyncio.
        within: raises where there is no time at all.

    Raises:
        OSError, TimeoutError: the server cannot be reached.
    """
    if hasattr(connection, "directory"):
        # It starts the server where that does not run, and waits for it.
        place = await get_running_loop().run_in_executor(None, embedded.join, connection.directory)
        connection.path = str(place)
    if hasattr(connection, "path"):
        within(None)
        return await _connect(socket.AF_UNIX, 0, connection.path, connection, within)
    line = await _over_tcp(connection, within)
    if not hasattr(connection, "ssl_context"):
        return line
    try:
        async with timeout(within(connection.socket_connect_timeout)):
            # It reads files of certificates.
            context = await get_running_loop().run_in_executor(None, connection.ssl_context.get)
        line.seconds = within(connection.socket_timeout)
        return await TLSLine.over(line, context, connection.host)
    except BaseException:
        line.close()
        raise


async def _over_tcp(connection: Any, within: Limit) -> Line:
    """Try the addresses of the host in their order; raises the error of the last one."""
    failure = OSError(f"{connection.host} has no address")
    for family, _, protocol, _, address in await _addresses(connection, within):
        try:
            return await _connect(family, protocol, address, connection, within)
        except OSError as error:  # TimeoutError among them
            failure = error
    try:
        raise failure
    finally:
        del failure  # which would hold this frame, and the frame the error


async def _addresses(connection: Any, within: Limit) -> list[Any]:
    host, port, family = connection.host, connection.port, connection.socket_type
    with contextlib.suppress(socket.gaierror):
        # An address in digits is not looked up: that would start a thread for the loop.
        flags = socket.AI_NUMERICHOST
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=flags))
    async with timeout(within(connection.socket_connect_timeout)):
        look_up = get_running_loop().getaddrinfo
        return list(await look_up(host, port, family=family, type=socket.SOCK_STREAM))


async def _connect(
    family: int, protocol: int, address: Any, connection: Any, within: Limit
) -> Line:
    line = Line(quiet(socket.socket(family, socket.SOCK_STREAM, protocol)))
    try:
        line.sock.setblocking(False)
        if family != socket.AF_UNIX:
            _set_options(line.sock, connection)
        line.seconds = within(connection.socket_connect_timeout)
        await line.connect(address)
    except BaseException:
        line.close()
        raise
    return line


def _set_options(sock: socket.socket, connection: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if connection.socket_keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in connection.socket_keepalive_options.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
