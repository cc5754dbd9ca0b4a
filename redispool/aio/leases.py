"""Leases of tasks: who holds a connection, where many tasks share one thread."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from .. import tasks
from ..leases import Lease


class AsyncLease(Lease):
    """What is known of the task that holds a connection.

    Which task it is, is noted only for what is held longer than one command.
    """

    task: weakref.ref[asyncio.Task[Any]] | None = None
    unnamed = "a task"
    """The holder in words, where it is not known which task that is."""

    def note_place(self) -> None:
        super().note_place()
        task = tasks.running()
        self.task = None if task is None else weakref.ref(task)

    def is_ours(self) -> bool:
        task = tasks.running()
        return task is not None and self.task is not None and self.task() is task

    def holder(self) -> str:
        task = self.task() if self.task is not None else None
        return f"task {task.get_name()}" if task is not None else self.unnamed

    def holder_here(self) -> str:
        return self.holder()

    kind = "task"

    def where(self) -> str:
        return ""  # its thread runs other tasks too
