"""The time limit that a socket has, whoever keeps it: Python or the kernel."""

from __future__ import annotations

import socket
import struct

from redispool.connection import PooledConnection


def time_limit(connection: PooledConnection) -> float | None:
    """Seconds that a receive on `connection` may take; None where there is no limit."""
    limit: float | None = connection._sock.gettimeout()
    if limit is not None:
        return limit
    time = connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    seconds, microseconds = struct.unpack("ll", time)
    return seconds + microseconds / 1e6 or None
