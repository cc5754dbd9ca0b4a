"""The strict URL parser: a Redis URL in, options out; nothing is guessed or dropped.

redis-py's parser takes ``?decode_responses=False`` for True, ``/1/2`` for database 12 and ``/abc``
for database 0, and lets unknown names pass; each of these is refused or read as it was meant.

A password that is not percent-encoded tears the URL, and its pieces turn up anywhere. So messages
quote only names that are options or look like one, and never a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from .errors import InvalidOption
from .kinds import Kind

SCHEMES = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "unix": "unix",
    "embedded": "embedded",
}
NOT_YET = {"redis+sentinel": "Sentinel", "redis+cluster": "Cluster"}
EXAMPLE = "redis://localhost:6379/0"
ADDRESS = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]:]*)(?::(?P<port>[0-9]*))?")
KindOf = Callable[[str, Callable[[str], str]], Kind]
ENCODE = (
    "special characters in a username or password must be percent-encoded "
    "(urllib.parse.quote(password, safe='')), or given as PASSWORD beside a URL without them"
)


def parse(url: str, kind_of: KindOf) -> dict[str, Any]:
    """The options that `url` holds, by name.

    Args:
        url: such as ``rediss://user:secret@cache.example:6380/1?timeout=2``.
        kind_of: tells what an option may be; raises `InvalidOption` for an unknown one.

    Raises:
        InvalidOption: the URL cannot be understood whole. The message holds no secret.
    """
    parts = split(url)
    transport = SCHEMES[parts.scheme]
    found = dict([*_authority(parts, transport, kind_of), *_path(parts, transport)])
    for name, value in _query(parts, kind_of):
        if found.setdefault(name, value) != value:
            hint = "; rediss:// is TLS, redis:// is not" if name == "ssl" else ""
            raise _bad(f"{name} after the ? contradicts what stands before it{hint}")
    return found


def mask(url: str, kind_of: KindOf) -> str:
    """The URL as it may be shown: secrets replaced by ``***``, and all of what `parse` refuses."""
    try:
        parse(url, kind_of)
    except InvalidOption:
        return "***"
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}:***" if colon else name
    query = "&".join(_masked(piece) for piece in parts.query.split("&"))
    mark = "?" if query else ""
    return f"{parts.scheme}://{user}{at}{place}{parts.path}{mark}{query}"


def split(url: str) -> SplitResult:
    """The parts of a URL with a known scheme.

    Raises:
        InvalidOption: it is none.
    """
    if " " in url or not url.isprintable():
        raise _bad("the URL has spaces, line breaks or invisible characters in or around it")
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    if not colon:
        raise _bad(f"the URL has no scheme; write it like {EXAMPLE}")
    if scheme in NOT_YET:
        raise _bad(f"{scheme}:// is not available: {NOT_YET[scheme]} is not supported yet")
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        # Where the scheme was forgotten, this is the start of a username or password.
        shown = f" {scheme}://" if re.fullmatch("[a-z+]{1,20}", scheme) and "@" not in rest else ""
        raise _bad(f"unknown scheme{shown}; known are {known}")
    if "#" in rest:
        raise _bad(f"the URL has a # in it; {ENCODE}")
    if re.search("%(?![0-9A-Fa-f]{2})", rest):
        raise _bad(f"the URL has a % that no two hexadecimal digits follow; {ENCODE}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _bad_address() from None
    _refuse_stray_at(parts)
    return parts


def _refuse_stray_at(parts: SplitResult) -> None:
    if parts.netloc.count("@") > 1:
        raise _bad(f"the URL has more than one @ in its address; {ENCODE}")
    if "@" in parts.query:
        raise _bad(f"the URL has an @ after its ?; in a value write %40; {ENCODE}")
    if "@" in parts.path and SCHEMES[parts.scheme] in {"tcp", "tls"}:
        raise _bad(f"the URL has a / before its @; {ENCODE}")


def _authority(parts: SplitResult, transport: str, kind_of: KindOf) -> list[tuple[str, Any]]:
    credentials, _, place = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    found = [("username", _decoded(username)), ("password", _decoded(password))]
    if transport in {"unix", "embedded"}:
        if place or (credentials and transport == "embedded"):
            raise _bad(
                f"a path must follow {parts.scheme}:// with a third slash, "
                f"as in {parts.scheme}:///absolute/path"
            )
        return [(name, text) for name, text in found if text]
    address = ADDRESS.fullmatch(place)
    if not address:
        raise _bad_address()
    found += [("host", _decoded(parts.hostname or "")), ("port", address["port"] or "")]
    read = [(name, _value(name, kind_of(name, str.lower), text)) for name, text in found if text]
    return [*read, ("ssl", transport == "tls")]


def _path(parts: SplitResult, transport: str) -> list[tuple[str, Any]]:
    path = _decoded(parts.path)
    if transport == "embedded":
        return [("path", path)] if path.strip("/") else []
    if transport == "unix":
        if not path.strip("/"):
            raise _bad("unix:// needs the path of a socket, as in unix:///run/redis.sock")
        return [("path", path)]
    database = path.removeprefix("/")
    if not database:
        return []
    if not re.fullmatch("[0-9]{1,9}", database):
        raise _bad(f"the path of the URL must be one database number, as in {EXAMPLE}")
    return [("db", int(database))]


def _query(parts: SplitResult, kind_of: KindOf) -> list[tuple[str, Any]]:
    if "+" in parts.query:
        raise _bad("the URL has a + after its ?; write %2B for a plus, %20 for a space")
    found: dict[str, Any] = {}
    for piece in filter(None, parts.query.split("&")):
        raw, _, text = map(_decoded, piece.partition("="))
        name = raw.lower()
        if name in found:
            raise _bad(f"{raw} stands more than once in the URL")
        try:
            kind = kind_of(name, str.upper if raw.isupper() else str.lower)
        except InvalidOption as error:
            raise _unknown(raw, error, text, found) from None
        if name == "url":
            raise _bad("url cannot stand in a URL")
        if not text:
            raise _bad(f"{raw} has no value in the URL")
        found[name] = _value(raw, kind, text)
    return list(found.items())


def _unknown(raw: str, error: InvalidOption, text: str, before: dict[str, Any]) -> InvalidOption:
    """What to say of the unknown name `raw`, which may be the end of a password with a & in it."""
    torn = any("password" in name for name in before)
    if text and not torn and re.fullmatch("[A-Za-z_-]{1,40}", raw):
        return _bad(f"{raw} in the URL: {error.complaint}")
    return _bad("what stands after a ? or & of the URL is no option; in a value write %26 for a &")


def _value(name: str, kind: Kind, text: str) -> Any:
    try:
        value = kind.parse(text)
    except ValueError as error:
        raise _bad(f"{name} in the URL {error}") from None
    complaint = kind.complaint(value)
    if complaint:
        raise _bad(f"{name} in the URL {complaint}")
    return value


def _masked(piece: str) -> str:
    """A name and value of the query as they may be shown."""
    name, equals, _ = piece.partition("=")
    secret = re.search("password|provider", unquote(name).lower())
    return f"{name}{equals}***" if secret else piece


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _bad("the URL has percent-encoded bytes that are not UTF-8") from None


def _bad_address() -> InvalidOption:
    return _bad(
        "the address in the URL must be host:port, an IPv6 host in brackets "
        f"as in redis://[::1]:6379/0; {ENCODE}"
    )


def _bad(complaint: str) -> InvalidOption:
    return InvalidOption("url", complaint)
