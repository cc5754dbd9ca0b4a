"""Packing: commands as the bytes that go over the line."""

from __future__ import annotations

import codecs
import itertools
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
from redis.connection import HiredisRespSerializer
from redis.exceptions import DataError

TEXTS = frozenset({str, bytes})

AT_ONCE = 64 * 1024
"""Bytes from which on a batch is sent in more than one piece, so that no large copy is made."""


class Packed(list[bytes]):
    """Bytes for the wire, together with the commands that they hold."""

    def __init__(self, chunks: Iterable[bytes], batch: Sequence[Sequence[Any]]) -> None:
        super().__init__(chunks)
        self.batch = batch

    @property
    def atomic(self) -> bool:
        """Whether the server runs nothing of it before it has all of it."""
        return is_atomic(self.batch)


def number_of(command: Any) -> int:
    """How many commands these are; one, where somebody else has packed it."""
    return len(command.batch) if isinstance(command, Packed) else 1


def is_atomic(batch: Sequence[Sequence[Any]]) -> bool:
    """Whether the server runs nothing of `batch` before it has all of it."""
    return len(batch) == 1 or (batch[0][0], batch[-1][0]) == ("MULTI", "EXEC")


def is_fast(packer: Any) -> bool:
    """Whether `packer` is redis-py's for hiredis, in whose place `pack_one` and `pack_all` do."""
    return type(packer) is HiredisRespSerializer


def encodes_alike(encoder: Any) -> bool:
    """Whether hiredis makes the same bytes of a text as redis-py's `encoder`."""
    utf8 = codecs.lookup(encoder.encoding).name == "utf-8"
    return utf8 and encoder.encoding_errors == "strict"


def pack_one(args: tuple[Any, ...]) -> bytes:
    """The bytes of a command whose name is one word.

    hiredis 3.5 crashes where a signal handler raises while it makes a text of a number; so it is
    given none.

    Raises:
        redis.DataError: an argument is neither text, bytes nor number.
    """
    # The way of most commands: no number among the arguments.
    for value in args:
        kind = type(value)
        if kind is not str and kind is not bytes:
            args = tuple(map(_as_text, args))
            break
    try:
        packed: bytes = hiredis.pack_command(args)
        return packed
    except TypeError as error:
        raise DataError(error).with_traceback(sys.exc_info()[2]) from None


def pack_plain(batch: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """The bytes of several commands whose names are one word each; errors as of `pack_one`."""
    # At the speed of C where there are no numbers.
    if TEXTS.issuperset(map(type, itertools.chain.from_iterable(batch))):
        pieces = list(map(hiredis.pack_command, batch))
    else:
        pieces = list(map(pack_one, batch))
    return in_chunks(pieces)


def pack_all(batch: Iterable[Sequence[Any]]) -> list[bytes]:
    """The bytes of several commands, in as few pieces as is good."""
    return in_chunks([pack_one(split_name(args)) for args in batch])


def in_chunks(pieces: Sequence[bytes]) -> list[bytes]:
    """The same bytes in as few pieces as is good."""
    if sum(map(len, pieces)) <= AT_ONCE:
        return [b"".join(pieces)]
    chunks: list[bytes] = []
    together: list[bytes] = []
    size = 0
    for piece in pieces:
        together.append(piece)
        size += len(piece)
        if size > AT_ONCE:
            chunks.append(b"".join(together))
            together, size = [], 0
    return [*chunks, b"".join(together)] if together else chunks


def split_name(args: Sequence[Any]) -> tuple[Any, ...]:
    """The same with each word of the name by itself: ``CONFIG GET`` is two for the server."""
    name = args[0]
    space: Any = " " if isinstance(name, str) else b" "
    return (*name.split(), *args[1:]) if space in name else tuple(args)


def as_texts(args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments, with bytes in place of numbers and buffers, as redis-py sends them.

    hiredis 3.5 crashes where a signal handler raises while it makes a text of a number.
    """
    for value in args:
        kind = type(value)
        if kind is not str and kind is not bytes:
            return tuple(map(_as_text, args))
    return args if type(args) is tuple else tuple(args)


def _as_text(value: Any) -> Any:
    # Other kinds of whole numbers, such as True, are for the packer to refuse or to take.
    if type(value) is int or isinstance(value, float):
        return repr(value).encode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value
