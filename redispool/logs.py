"""The log: what the pool has to say, whatever the application does with it.

Each record has the field ``event``, a name that stays, and further ones that belong to it.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

logger = logging.getLogger("redispool")


def debug(message: str, *args: object, event: str, **fields: Any) -> None:
    """Tell the log what is of interest while looking for something."""
    _say(logging.DEBUG, message, args, event, fields)


def info(message: str, *args: object, event: str, **fields: Any) -> None:
    """Tell the log what is good to know."""
    _say(logging.INFO, message, args, event, fields)


def warn(message: str, *args: object, event: str, exc_info: bool = False, **fields: Any) -> None:
    """Tell the log what somebody should look at.

    Args:
        message: with places for `args`, as in `logging`.
        args: for the message.
        event: what happened, in a name for programs; see the table in ``docs/events.md``.
        exc_info: whether to add the error that is handled now.
        fields: what belongs to the event, for the record.
    """
    _say(logging.WARNING, message, args, event, fields, exc_info)


def error(message: str, *args: object, event: str, exc_info: bool = False, **fields: Any) -> None:
    """Tell the log what is a mistake of the application; arguments as of `warn`."""
    _say(logging.ERROR, message, args, event, fields, exc_info)


def _say(
    level: int,
    message: str,
    args: tuple[object, ...],
    event: str,
    fields: dict[str, Any],
    exc_info: bool = False,
) -> None:
    """Tell the log; its filters and handlers are the application's, and may raise."""
    try:
        if logger.isEnabledFor(level):
            extra = {"event": event, **fields}
            logger.log(level, message, *args, exc_info=exc_info, stacklevel=3, extra=extra)
    except Exception:  # of those who take a connection or give it back none is to blame
        traceback.print_exc()
