"""Bookkeeping: what a connection owes and is owed, and what it makes of replies and failures."""

from __future__ import annotations

import errno
import socket
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError

from .leases import Lease
from .ledger import Ledger
from .packing import Packed
from .timekeeping import Timekeeping
from .wire import CLOSED_HERE, CUT

if TYPE_CHECKING:
    from .slots import Slot

_Error = TypeVar("_Error", bound=BaseException)


class Bookkeeping(Timekeeping):
    """The books of a connection: mixed into those for threads and those for asyncio."""

    lease: list[Lease]
    was_cut = False
    """Whether the pool was closed, and broke the line."""

    def _open_books(self) -> None:
        self.ledger = Ledger()
        # Claimed by list.pop(): of two that give back at the same time, one finds it empty.
        self.lease = []

    if TYPE_CHECKING:  # of the classes mixed with
        slot: Slot | None

        def disconnect(self) -> Any:
            """Close the line; done when it returns."""

        def _host_error(self) -> str:
            """The server, for errors."""

    @abstractmethod
    def _refuse(self) -> NoReturn:
        """Raise what tells somebody who does not hold the connection."""

    def _count(self, commands: int) -> None:
        """Count commands that are about to be sent for the application."""
        slot = self.slot
        if slot is not None:  # else it is in no pool
            slot.record.note_commands(commands)

    def _book(self, command: Any) -> None:
        if not isinstance(command, Packed):
            self.ledger.stain()  # somebody packed it: how many replies it brings nobody knows
        elif not self.ledger.sent(command.batch):
            self._wait_as_long_as_the_server(command.batch)

    def _sending_failed(self, error: BaseException, *, unsent: bool) -> NoReturn:
        """Close the line, and raise the error: redis-py's for one of the system's."""
        self.disconnect()
        box = [failure_of_send(self.cause_of(error))]
        del error
        if isinstance(box[0], ConnectionError | TimeoutError):
            box[0].unsent = unsent  # type: ignore[union-attr]  # read by the client's retry
        raise box.pop()  # as in _value_in

    def _value_in(self, box: list[Any], disconnect: bool) -> Any:
        """The reply in `box`, which is raised where it is an error."""
        if disconnect and is_refusal(box[0]):
            self.disconnect()
        if isinstance(box[0], ReadOnlyError):
            self.ledger.refused_write()
        return value_in(box)

    def _look_for_refusals(self, replies: list[Any]) -> None:
        """Raise the first reply that says that the server does not serve at all."""
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            self.ledger.refused_write()
        box = [reply for reply in replies if is_refusal(reply)][:1]
        if box:
            del replies
            self._value_in(box, disconnect=True)

    def _reading_failed(self, error: BaseException, disconnect: bool) -> None:
        """Close the line, where that is wanted; raise redis-py's error for one of the system's."""
        if disconnect:
            self.disconnect()
        box = [self.cause_of(error)]
        if box[0] is not error:
            raise box.pop()  # as in _value_in
        if isinstance(error, OSError):
            raise failure_of_read(error, self._host_error())

    def cause_of(self, error: _Error) -> _Error | ConnectionError:
        """The error itself, or that the line was cut on purpose, where that is what it is about."""
        broken = self.was_cut and isinstance(error, OSError | ConnectionError)
        return ConnectionError(CUT) if broken else error


def value_in(box: list[Any]) -> Any:
    """The reply in `box`, which is raised where it is an error, or holds a refusal to serve."""
    if is_refusal(box[0]):
        box[:] = box[0][:1] if isinstance(box[0], list) else box
    if isinstance(box[0], Exception):
        raise box.pop()  # no name for it here: it would hold this frame, and the frame it
    return box.pop()


def failure_of_send(error: BaseException) -> BaseException:
    """redis-py's error for one of the system's."""
    if isinstance(error, BlockingIOError | socket.timeout):
        return TimeoutError("Timeout writing to socket")
    if isinstance(error, OSError):
        if error.errno == errno.EBADF:
            return ConnectionError(CLOSED_HERE)
        number, text = error.args if len(error.args) == 2 else ("UNKNOWN", error)
        return ConnectionError(f"Error {number} while writing to socket. {text}.")
    return error


def failure_of_read(error: OSError, server: str) -> Exception:
    """The same of an error while reading from `server`."""
    if isinstance(error, BlockingIOError | socket.timeout):
        return TimeoutError("Timeout reading from socket")
    if error.errno == errno.EBADF:
        return ConnectionError(CLOSED_HERE)
    return ConnectionError(f"Error while reading from {server} : {error.args}")


def is_refusal(reply: Any) -> bool:
    """Whether a reply says that the server does not serve at all: redis-py hangs up then."""
    if isinstance(reply, list) and reply:
        reply = reply[0]
    return isinstance(reply, ConnectionError)
