"""For the tests of an application: a real server, faults, and an eye on what is not given back.

The pytest plugin, ``redispool_pytest``, makes fixtures of these. redispool itself imports none.
"""

from __future__ import annotations

from .patience import eventually
from .proxy import FaultProxy
from .returns import all_pools, assert_all_returned
from .scripted import BLACK_HOLE, DROP, HANG, RESET, Answer, ScriptedServer
from .server import RunningServer, Server, free_port

__all__ = [
    "BLACK_HOLE",
    "DROP",
    "HANG",
    "RESET",
    "Answer",
    "FaultProxy",
    "RunningServer",
    "ScriptedServer",
    "Server",
    "all_pools",
    "assert_all_returned",
    "eventually",
    "free_port",
]
