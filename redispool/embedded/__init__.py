"""The private server behind ``embedded://``, shared by all processes of an application.

Who uses it, and who runs it, is written nowhere but in file locks, which the kernel gives back
however a process ends. So nothing is left to clean up after a crash or a kill:

* each process of the application holds a share of ``users.lock`` while it lives (``membership``);
* the first one takes ``start.lock`` and starts a supervisor (``launcher``), a process of its own
  that holds ``supervisor.lock``, runs the server, and ends it when ``users.lock`` is free
  (``supervisor``);
* the server itself holds ``server.lock``, so that two never write the same data.
"""

from __future__ import annotations

from redispool.embedded.checks import check
from redispool.embedded.membership import join

__all__ = ["check", "join"]
