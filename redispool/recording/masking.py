"""Masking: commands as text that may be shown: shortened, and without what is secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MASK = "***"
LONGEST_ARGUMENT = 60
MOST_ARGUMENTS = 20

_SECRET_SETTING = re.compile(r"pass|auth|secret|key-file-pass", re.IGNORECASE)
_ACL_SECRETS = (">", "<", "#", "!")


def shown(args: Sequence[Any]) -> str:
    """The command `args` in one line."""
    words = [*_text(args[0]).split(), *map(_text, args[1 : MOST_ARGUMENTS + 1])]
    secret = secrets(words)
    parts = [MASK if index in secret else _short(word) for index, word in enumerate(words)]
    more = len(args) - 1 - MOST_ARGUMENTS
    return " ".join(parts) + (f" … ({more} more)" if more > 0 else "")


def secrets(words: Sequence[str]) -> set[int]:
    """Which of the words of a command nobody shall see.

    Args:
        words: the command, of which each word of the name is one: ``["CONFIG", "SET", …]``.
    """
    name, second = words[0].upper(), words[1].upper() if len(words) > 1 else ""
    if name == "AUTH":
        return set(range(1, len(words)))
    if name in {"HELLO", "MIGRATE"}:
        return _after_auth(words)
    if (name, second) == ("CONFIG", "SET"):
        return _of_settings(words, 2)
    if (name, second) in {("SENTINEL", "SET"), ("SENTINEL", "CONFIG")}:
        return _of_settings(words, 3)
    if (name, second) == ("ACL", "SETUSER"):
        return {at for at in range(3, len(words)) if words[at].startswith(_ACL_SECRETS)}
    return set()


def _of_settings(words: Sequence[str], first: int) -> set[int]:
    """The values of settings that are secret; names and values alternate from `first` on."""
    return {at + 1 for at in range(first, len(words), 2) if _SECRET_SETTING.search(words[at])}


def _after_auth(words: Sequence[str]) -> set[int]:
    """What follows AUTH and AUTH2: a password, or a user and a password."""
    found: set[int] = set()
    for at, word in enumerate(map(str.upper, words)):
        if at not in found and word in {"AUTH", "AUTH2"}:
            with_user = word == "AUTH2" or words[0].upper() == "HELLO"
            found |= {at + 1, at + 2} if with_user else {at + 1}
    return found


def size_of(reply: Any) -> int:
    """The bytes that a reply holds, without those of the protocol."""
    if isinstance(reply, bytes):
        return len(reply)
    if isinstance(reply, str):
        return len(reply.encode("utf-8", "surrogateescape"))
    if isinstance(reply, dict):
        return sum(size_of(key) + size_of(value) for key, value in reply.items())
    if isinstance(reply, list | tuple | set | frozenset):
        return sum(map(size_of, reply))
    if reply is None or isinstance(reply, bool):
        return int(reply is not None)
    return len(str(reply))


def _short(word: str) -> str:
    if not word:
        return '""'
    if len(word) <= LONGEST_ARGUMENT:
        return word
    return f"{word[:LONGEST_ARGUMENT]}… ({len(word)})"


def _text(value: Any) -> str:
    if isinstance(value, memoryview | bytearray):
        value = bytes(value)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
