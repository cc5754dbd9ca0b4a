from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from redispool import commands
from tests.support import Valkey


@pytest.fixture
def flags(server: Valkey) -> dict[str, set[str]]:
    """What the server says of each command that it knows: ``GET`` → ``{"readonly", "fast"}``."""
    with server.outside(decode_responses=True) as client:
        return dict(flags_of(client.execute_command("COMMAND", "INFO")))


def flags_of(reply: Any) -> Iterator[tuple[str, set[str]]]:
    """Names and flags; redis-py has parsed the rows in some releases, not in others."""
    rows = reply.values() if isinstance(reply, dict) else reply
    for row in rows:
        name, found = (row["name"], row["flags"]) if isinstance(row, dict) else (row[0], row[2])
        yield name.upper(), set(found)


def test_what_only_reads_is_no_write_to_the_server(flags: dict[str, set[str]]) -> None:
    """No command that is run again is flagged by the server as writing or blocking."""
    known = commands.ONLY_READS & flags.keys()

    assert len(known) > 80
    assert {name for name in known if flags[name] & {"write", "blocking", "pubsub"}} == set()


def test_every_blocking_command_is_known(flags: dict[str, set[str]]) -> None:
    """What the server calls blocking is allowed to outlast ``socket_timeout``."""
    blocking = {name for name, found in flags.items() if "blocking" in found}
    known = (
        commands.BLOCKS_LAST
        | commands.BLOCKS_FIRST
        | commands.BLOCKS_MILLISECONDS_LAST
        | commands.BLOCKS_AFTER_WORD
    )

    assert blocking
    assert blocking - known == set()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("GET", "a"), ("GET", "A")),
        (("client list",), ("CLIENT", "LIST")),
        ((b"client", b"list"), ("CLIENT", "LIST")),
        (("PING",), ("PING", "")),
        (("", "x"), ("", "X")),
        ((b"\xff\xfe", 1), ("��", "")),
        ((7, 8), ("", "")),
    ],
)
def test_words(args: tuple[Any, ...], expected: tuple[str, str]) -> None:
    """Command and sub-command are read from one word or two, text or bytes, whatever they are."""
    assert commands.words(args) == expected


@pytest.mark.parametrize(
    "line",
    """ASKING;AUTH secret;CLIENT CACHING YES;CLIENT NO-EVICT ON;CLIENT NO-TOUCH ON;CLIENT REPLY OFF
    CLIENT REPLY SKIP;CLIENT SETNAME x;CLIENT TRACKING ON;HELLO 3;MONITOR;PSUBSCRIBE a*;QUIT
    READONLY;READWRITE;RESET;SCRIPT DEBUG YES;SELECT 1;SSUBSCRIBE a;SUBSCRIBE a""".replace(
        "\n", ";"
    ).split(";"),
)
def test_what_leaves_state(line: str) -> None:
    """Whatever changes the session for its next user is known."""
    assert commands.leaves_state(line.split())


@pytest.mark.parametrize(
    "line",
    ["GET a", "CLIENT ID", "CLIENT LIST", "SCRIPT LOAD x", "SCRIPT EXISTS y", "EVAL x 0", "PING"],
)
def test_what_leaves_no_state(line: str) -> None:
    """Ordinary commands do not cost a new connection."""
    assert not commands.leaves_state(line.split())


@pytest.mark.parametrize(
    "line", ["GET a", "get a", "HGETALL h", "CONFIG GET *", "OBJECT IDLETIME a"]
)
def test_what_only_reads(line: str) -> None:
    """These may be run twice."""
    assert commands.only_reads(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "INCR a",
        "SET a 1",
        "EVAL x 0",
        "EVALSHA x 0",
        "GETDEL a",
        "CONFIG SET a b",
        "BLPOP a 1",
        "EXEC",
    ],
)
def test_what_does_more_than_read(line: str) -> None:
    """These may not."""
    assert not commands.only_reads(line.split())


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("GET a", None),
        ("BLPOP a b 10", 10),
        ("BLPOP a 0", 0),
        ("brpop a 0.5", 0.5),
        ("BLMOVE a b LEFT RIGHT 3", 3),
        ("BRPOPLPUSH a b 4", 4),
        ("BZPOPMIN z 2", 2),
        ("BLMPOP 7 2 a b LEFT", 7),
        ("BZMPOP 6 1 z MIN", 6),
        ("WAIT 1 1500", 1.5),
        ("WAITAOF 1 0 250", 0.25),
        ("XREAD COUNT 5 BLOCK 2000 STREAMS s $", 2),
        ("XREAD BLOCK 0 STREAMS s $", 0),
        ("XREAD STREAMS s $", None),
        ("XREAD STREAMS BLOCK 100 0 0", None),
        ("XREADGROUP GROUP g c BLOCK 100 STREAMS s >", 0.1),
        ("BLPOP a soon", None),
        ("BLMPOP", None),
    ],
)
def test_how_long_a_command_may_block(line: str, seconds: float | None) -> None:
    """The time-out that the server will observe, wherever the command keeps it; 0 is for ever."""
    assert commands.blocks_for(line.split()) == seconds


def test_the_time_out_may_be_a_number_or_bytes() -> None:
    """redis-py hands over numbers, other programs bytes."""
    assert commands.blocks_for(("BLPOP", "a", 1.5)) == 1.5
    assert commands.blocks_for((b"BLPOP", b"a", b"2")) == 2


@pytest.mark.parametrize("word", ["BLPOP", "WAIT", "XREAD", "XREADGROUP"])
def test_a_command_that_is_too_short_is_left_to_the_server(word: str) -> None:
    """Missing arguments are the server's to complain of."""
    assert commands.blocks_for((word,)) is None


@pytest.mark.parametrize("group", ["block", "streams", "jobs"])
def test_a_group_may_be_named_like_a_word(group: str) -> None:
    """Names of groups and consumers are not taken for the words of XREADGROUP."""
    args = ["XREADGROUP", "GROUP", group, group, "BLOCK", 1500, "STREAMS", "s", ">"]
    assert commands.blocks_for(args) == 1.5
