"""Transactions: what the replies to a pipeline say, whoever has sent it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ExecAbortError, ResponseError, WatchError

from . import retries, telemetry
from .ledger import PLAIN
from .replies import Command


def is_plain(pipeline: Any) -> bool:
    """Whether nothing needs redis-py's own way.

    That is for pipelines that watch, for scripts, for commands that leave state or block, and
    for pools of other kinds.
    """
    if (
        pipeline._special
        or pipeline.scripts
        or pipeline.connection is not None
        or pipeline.watching
    ):
        return False
    mode = getattr(pipeline.connection_pool, "retry_mode", "")
    if mode not in retries.MODES or telemetry.is_on():
        return False
    names = {args[0] for args, _ in pipeline.command_stack}
    return bool(names) and names <= PLAIN


def conclude(
    pipeline: Any, connection: Any, commands: Sequence[Command], replies: list[Any]
) -> list[Any]:
    """The replies to `commands`, out of those to MULTI, to each of them, and to EXEC.

    Raises:
        redis.WatchError: a key that is watched has changed.
        redis.ResponseError: the server refused one of the commands, and ran none.
    """
    begun, *queued, found = replies
    del replies  # errors among them would be held by this frame, and hold it
    refused = [(index, each) for index, each in enumerate(queued) if is_error(each)]
    for index in [index for index, _ in refused]:
        pipeline.annotate_exception(queued[index], index + 1, commands[index][0])
    if is_error(begun):
        refused.insert(0, (0, begun))
    if is_error(found):
        if not isinstance(found, ExecAbortError):
            connection.ledger.stain()  # it may not have ended
        told = refused[0][1] if refused and isinstance(found, ExecAbortError) else found
        box = [told]
        del begun, queued, refused, found, told
        raise box.pop()  # no name for it here: it would hold this frame, the frame the line
    if found is None:
        raise WatchError("Watched variable changed.")
    for index, each in refused:
        found.insert(index, each)
    if len(found) != len(commands):
        connection.disconnect()
        raise ResponseError("Wrong number of response items from pipeline execution")
    return list(found)


def is_error(reply: Any) -> bool:
    """Whether a reply is an error."""
    return isinstance(reply, Exception)
