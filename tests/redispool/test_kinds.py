from __future__ import annotations

import math
import ssl
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from redispool import kinds
from redispool.kinds import Kind

WHOLE = kinds.Whole(minimum=1, maximum=9)
SECONDS = kinds.Seconds()
LIMIT = kinds.Seconds(optional=True, positive=True)
CHOICE = kinds.Choice("safe", 2)


class Retry(StrEnum):
    SAFE = "safe"


class Provides:
    def get_credentials(self) -> tuple[str]:
        """Give a password."""
        return ("password",)


ALLOWED: list[tuple[str, Kind, Any]] = [
    ("the least", WHOLE, 1),
    ("the most", WHOLE, 9),
    ("no maximum", kinds.Whole(minimum=0), 10**9),
    ("zero seconds", SECONDS, 0),
    ("a part of a second", LIMIT, 0.001),
    ("whole seconds", LIMIT, 5),
    ("the longest time", LIMIT, kinds.LONGEST),
    ("no limit", LIMIT, None),
    ("false", kinds.Flag(), False),
    ("text", kinds.Text(), "words"),
    ("no text", kinds.Text(optional=True), None),
    ("a file", kinds.ExistingPath(), __file__),
    ("a directory", kinds.ExistingPath(directory=True), Path(__file__).parent),
    ("a name", kinds.Host(), "cache-1.example"),
    ("IPv4", kinds.Host(), "10.0.0.1"),
    ("IPv6", kinds.Host(), "2001:db8::1"),
    ("a client name", kinds.ClientName(), "web:1!~"),
    ("no client name", kinds.ClientName(), None),
    ("a choice", CHOICE, 2),
    ("an enumeration", CHOICE, Retry.SAFE),
    ("certificates by word", kinds.Certificates(), "optional"),
    ("certificates as ssl has them", kinds.Certificates(), ssl.CERT_NONE),
    ("no certificates", kinds.Certificates(), None),
    ("no provider", kinds.Provider(), None),
    ("a function", kinds.Provider(), lambda: "password"),
    ("an object", kinds.Provider(), Provides()),
    ("a dotted path", kinds.Provider(), "vault.redis.password"),
    ("anything", kinds.Anything(), object()),
]

REFUSED: list[tuple[str, Kind, Any, str]] = [
    ("too little", WHOLE, 0, "must be a whole number from 1 to 9"),
    ("too much", WHOLE, 10, "must be a whole number from 1 to 9"),
    ("a fraction", WHOLE, 2.0, "must be a whole number from 1 to 9"),
    ("True for 1", WHOLE, True, "must be a whole number from 1 to 9"),
    ("digits", kinds.Whole(minimum=0), "1", "must be a whole number of at least 0"),
    ("negative seconds", SECONDS, -0.1, "must be seconds, 0 or more and at most 2147483"),
    ("None for seconds", SECONDS, None, "must be seconds, 0 or more and at most 2147483"),
    (
        "zero for a limit",
        LIMIT,
        0,
        "must be seconds, more than 0 and at most 2147483, or None for no limit",
    ),
    ("longer than poll() waits", LIMIT, kinds.LONGEST + 1, "must be seconds"),
    ("a number that is no float", LIMIT, 10**400, "must be seconds"),
    ("infinity", LIMIT, math.inf, "must be seconds"),
    ("not a number", LIMIT, math.nan, "must be seconds"),
    ("True for a second", LIMIT, True, "must be seconds"),
    ("seconds in a text", LIMIT, "5", "must be seconds"),
    ("a word for a flag", kinds.Flag(), "False", "must be True or False"),
    ("1 for a flag", kinds.Flag(), 1, "must be True or False"),
    ("empty text", kinds.Text(optional=True), "", "must be a text that is not empty"),
    ("bytes", kinds.Text(), b"words", "must be a text that is not empty"),
    ("None for a text", kinds.Text(), None, "must be a text that is not empty"),
    ("a file that is not there", kinds.ExistingPath(), "no-such.pem", "must be the path of a file"),
    ("a directory for a file", kinds.ExistingPath(), "/", "must be the path of a file"),
    ("a file for a directory", kinds.ExistingPath(directory=True), __file__, "of a directory"),
    ("a URL for a host", kinds.Host(), "redis://cache", "a URL goes in URL"),
    ("a port at the host", kinds.Host(), "cache:6379", "a port in PORT"),
    ("brackets", kinds.Host(), "[::1]", "must be a host name or an address alone"),
    ("a space around a host", kinds.Host(), " cache", "must be a host name or an address alone"),
    ("a space in a client name", kinds.ClientName(), "web 1", "without spaces"),
    ("a letter beyond ASCII", kinds.ClientName(), "wéb", "printable ASCII"),
    ("an empty client name", kinds.ClientName(), "", "must be a text that is not empty"),
    ("no choice", CHOICE, "Safe", "must be 'safe' or 2"),
    ("a choice as fraction", CHOICE, 2.0, "must be 'safe' or 2"),
    ("what cannot be hashed", CHOICE, [], "must be 'safe' or 2"),
    ("Celery's word", kinds.Certificates(), "CERT_NONE", "must be 'none' or 'optional' or"),
    ("a path without dots", kinds.Provider(), "password", "must be an object with get_credentials"),
    ("a relative path", kinds.Provider(), ".password", "must be an object with get_credentials"),
    ("a number that provides", kinds.Provider(), 5, "must be an object with get_credentials"),
]

PARSED: list[tuple[Kind, str, Any]] = [
    (WHOLE, "7", 7),
    (SECONDS, "2.5", 2.5),
    (SECONDS, ".5", 0.5),
    (LIMIT, "3", 3.0),
    (LIMIT, "None", None),
    *[(kinds.Flag(), text, True) for text in ("true", "True", "YES", "on", "1")],
    *[(kinds.Flag(), text, False) for text in ("false", "False", "NO", "off", "0")],
    (kinds.Text(), "words", "words"),
    (CHOICE, "safe", "safe"),
    (CHOICE, "2", 2),
    (kinds.Certificates(), "none", "none"),
]

UNREADABLE: list[tuple[Kind, str]] = [
    *[(WHOLE, text) for text in ("", " 1", "+1", "1_0", "1.0", "٣", "9" * 5000)],
    *[(SECONDS, text) for text in ("", " 1", "1_0", "1e3", "nan", "inf", "٣", "-1", "None", "5s")],
    *[(kinds.Flag(), text) for text in ("", "maybe", "t", "2")],
    *[(CHOICE, text) for text in ("", "SAFE", "3")],
    (kinds.Anything(), "value"),
]


def case(kind: Kind, text: str) -> str:
    """Name a case."""
    return f"{type(kind).__name__} {text[:10]!r}"


@pytest.mark.parametrize(("_", "kind", "value"), ALLOWED, ids=[name for name, *_ in ALLOWED])
def test_what_may_stand(_: str, kind: Kind, value: Any) -> None:
    """A kind complains of no value within its bounds, the bounds included."""
    assert kind.complaint(value) == ""


@pytest.mark.parametrize(
    ("_", "kind", "value", "complaint"), REFUSED, ids=[name for name, *_ in REFUSED]
)
def test_what_may_not_stand(_: str, kind: Kind, value: Any, complaint: str) -> None:
    """A complaint says what the value must be, with the bounds."""
    assert complaint in kind.complaint(value)


@pytest.mark.parametrize(("kind", "text", "value"), PARSED, ids=[case(k, t) for k, t, _ in PARSED])
def test_what_a_text_means(kind: Kind, text: str, value: Any) -> None:
    """The text of a URL becomes a value of the kind's own type."""
    parsed = kind.parse(text)

    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("kind", "text"), UNREADABLE, ids=[case(k, t) for k, t in UNREADABLE])
def test_what_means_nothing(kind: Kind, text: str) -> None:
    """A text that only Python's constructors would take is refused, with what it must be."""
    with pytest.raises(ValueError, match=r"^(must be|cannot be given in a URL)"):
        kind.parse(text)
