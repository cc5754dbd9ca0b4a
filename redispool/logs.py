"""The log: what the pool has to say, whatever the application does with it."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger("redispool")


def warn(message: str, *args: object, exc_info: bool = False) -> None:
    """Tell the log; its filters and handlers are the application's, and may raise."""
    try:
        logger.warning(message, *args, exc_info=exc_info, stacklevel=2)
    except Exception:  # of those who take a connection or give it back none is to blame
        traceback.print_exc()
