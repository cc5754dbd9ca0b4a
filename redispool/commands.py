"""What the pool must know of single commands: which leave state behind, only read, or block."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

# Leave state in the server's session that the next user of the connection would meet.
LEAVES_STATE = frozenset(
    """ASKING AUTH HELLO MONITOR PSUBSCRIBE PSYNC PUNSUBSCRIBE QUIT READONLY READWRITE REPLCONF
    RESET SELECT SHUTDOWN SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SYNC UNSUBSCRIBE""".split()
)
# Words with sub-commands of which only these leave nothing behind.
LEAVES_NOTHING = {
    "CLIENT": frozenset(
        "GETNAME GETREDIR HELP ID INFO KILL LIST PAUSE TRACKINGINFO UNBLOCK UNPAUSE".split()
    ),
    "SCRIPT": frozenset("EXISTS FLUSH HELP KILL LOAD SHOW".split()),
}

# Commands that only read: running one of them twice changes nothing.
ONLY_READS = frozenset(
    """BITCOUNT BITFIELD_RO BITPOS DBSIZE DUMP ECHO EVALSHA_RO EVAL_RO EXISTS EXPIRETIME
    FCALL_RO GEODIST GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT
    GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS INFO KEYS LCS
    LINDEX LLEN LOLWUT LPOS LRANGE MGET PEXPIRETIME PFCOUNT PING PTTL RANDOMKEY SCAN SCARD SDIFF
    SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR
    SUNION TIME TOUCH TTL TYPE XLEN XPENDING XRANGE XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER
    ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE
    ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION""".split()
)
ONLY_READ_WITH = {
    "CLIENT": frozenset("GETNAME ID INFO LIST".split()),
    "CONFIG": frozenset({"GET"}),
    "MEMORY": frozenset({"USAGE"}),
    "OBJECT": frozenset("ENCODING FREQ IDLETIME REFCOUNT".split()),
    "SCRIPT": frozenset({"EXISTS"}),
    "XINFO": frozenset("CONSUMERS GROUPS STREAM".split()),
}

# Where a blocking command keeps its time-out, in seconds: the index among its arguments.
BLOCKS_LAST = frozenset("BLPOP BRPOP BRPOPLPUSH BLMOVE BZPOPMAX BZPOPMIN".split())
BLOCKS_FIRST = frozenset("BLMPOP BZMPOP".split())
BLOCKS_MILLISECONDS_LAST = frozenset("WAIT WAITAOF".split())
BLOCKS_AFTER_WORD = frozenset("XREAD XREADGROUP".split())

NEVER_PLAIN = frozenset(
    # What redis-py 8.1 does before HIMPORT depends on the connection.
    {"HIMPORT", *LEAVES_NOTHING}
    | BLOCKS_LAST
    | BLOCKS_FIRST
    | BLOCKS_MILLISECONDS_LAST
    | BLOCKS_AFTER_WORD
)


def words(args: Sequence[Any]) -> tuple[str, str]:
    """The command and its first argument in capitals: ``("CLIENT LIST",)`` → ``CLIENT, LIST``."""
    first = _text(args[0]).upper().split()
    second = first[1] if len(first) > 1 else _text(args[1]).upper() if len(args) > 1 else ""
    return first[0] if first else "", second


def leaves_state(args: Sequence[Any]) -> bool:
    """Whether the command changes what the next user of the connection would see.

    MULTI and WATCH do so only until EXEC; see `redispool.ledger`.
    """
    first, second = words(args)
    if first in LEAVES_NOTHING:
        return second not in LEAVES_NOTHING[first]
    return first in LEAVES_STATE


def only_reads(args: Sequence[Any]) -> bool:
    """Whether running the command twice is the same as running it once."""
    first, second = words(args)
    return first in ONLY_READS or second in ONLY_READ_WITH.get(first, ())


def blocks_for(args: Sequence[Any]) -> float | None:
    """How long the server may let the caller wait, in seconds: 0 is for ever, None not at all."""
    first, _ = words(args)
    if first in BLOCKS_LAST:
        return _number(args[-1])
    if first in BLOCKS_FIRST:
        return _number(args[1]) if len(args) > 1 else None
    if first in BLOCKS_MILLISECONDS_LAST:
        return _milliseconds(args[-1])
    if first in BLOCKS_AFTER_WORD:
        return _after_word(args, "BLOCK")
    return None


def _after_word(args: Sequence[Any], word: str) -> float | None:
    names = 4 if len(args) > 1 and _text(args[1]).upper() == "GROUP" else 1
    for index, value in enumerate(args[:-1]):
        if index < names:  # the command, and after GROUP the names of a group and a consumer
            continue
        upper = _text(value).upper()
        if upper == word:
            return _milliseconds(args[index + 1])
        if upper == "STREAMS":  # what follows are keys, one of which may be named like the word
            return None
    return None


def _milliseconds(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else number / 1000


def _number(value: Any) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    if _text(value).lower().startswith("0x"):  # the server reads them so, too
        with contextlib.suppress(ValueError):
            return float.fromhex(_text(value))
    return None  # the server will say what is wrong with it


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("ascii", "replace")
    return ""
