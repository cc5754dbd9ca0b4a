from __future__ import annotations

from typing import Any

import pytest

from redispool import ledger as module
from redispool.ledger import Ledger


def session(*commands: str, answered: bool = True) -> Ledger:
    """The books after `commands`, each sent by itself."""
    ledger = Ledger()
    for command in commands:
        ledger.sent([command.split()])
        if answered:
            ledger.replied()
    return ledger


@pytest.mark.parametrize(
    "commands",
    [
        [],
        ["GET a"],
        ["SET a 1", "GET a"],
        ["MULTI", "SET a 1", "EXEC"],
        ["MULTI", "DISCARD"],
        ["WATCH a", "MULTI", "SET a 1", "EXEC"],
        ["WATCH a", "MULTI", "DISCARD"],
        ["WATCH a", "UNWATCH"],
        ["EVALSHA sha 0", "SCRIPT LOAD x"],
        ["CLIENT LIST", "CLIENT ID", "CLIENT INFO"],
    ],
)
def test_these_sessions_are_fresh(commands: list[str]) -> None:
    """Ordinary commands and finished transactions leave nothing behind."""
    assert session(*commands).clean


@pytest.mark.parametrize(
    "commands",
    [
        ["MULTI"],
        ["MULTI", "SET a 1"],
        ["WATCH a"],
        ["WATCH a", "GET a"],
        ["WATCH a", "EXEC"],
        ["WATCH a", "DISCARD"],
        ["UNWATCH", "WATCH a"],
        ["MULTI", "EXEC", "MULTI"],
        ["WATCH a", "UNWATCH a"],
        ["MULTI", "DISCARD a"],
        ["WATCH a", "MULTI a", "EXEC"],
        ["SELECT 1"],
        ["SUBSCRIBE a", "UNSUBSCRIBE a"],
        ["CLIENT REPLY OFF"],
        ["select 1"],
        ["multi"],
    ],
)
def test_these_sessions_are_not_fresh(commands: list[str]) -> None:
    """An open transaction, a watched key or a change of the session's state is seen."""
    assert not session(*commands).clean


def test_every_reply_is_waited_for() -> None:
    """Books balance only after as many replies as commands, sent one by one or together."""
    ledger = Ledger()
    ledger.sent([("MULTI",), ("SET", "a", 1), ("EXEC",)])

    for owed in (3, 2, 1):
        assert (ledger.owed, ledger.clean) == (owed, False)
        ledger.replied()

    assert (ledger.owed, ledger.clean) == (0, True)


def test_more_replies_than_commands_are_no_balance() -> None:
    """A reply that nobody asked for is as wrong as one that is missing."""
    ledger = Ledger()
    ledger.replied()

    assert not ledger.clean


def test_a_new_session_begins_with_clean_books() -> None:
    """`reset` forgets what the old session owed and was left in."""
    ledger = session("WATCH a", "MULTI", "SELECT 1", answered=False)
    ledger.reset()

    assert ledger.clean


@pytest.mark.parametrize(
    "name", ["SELECT", "select", "Select", memoryview(b"SELECT"), b"SELECT", b"select"]
)
def test_the_spelling_does_not_matter(name: Any) -> None:
    """Text, bytes or a view of them, capitals or not: the command is the same."""
    ledger = Ledger()
    ledger.sent([(name, 1)])
    ledger.replied()

    assert not ledger.clean


@pytest.mark.parametrize("words", [("CLIENT REPLY", "OFF"), ("CLIENT", "REPLY", "OFF")])
def test_a_word_with_harmless_subcommands_is_looked_at_each_time(words: tuple[str, ...]) -> None:
    """After many `CLIENT LIST` a `CLIENT REPLY` is still noticed, in one word or two."""
    ledger = session("CLIENT LIST", "CLIENT LIST")
    ledger.sent([("CLIENT LIST",)])
    ledger.replied()
    assert ledger.clean

    ledger.sent([words])
    ledger.replied()

    assert not ledger.clean


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that sends ever new words fills no memory."""
    monkeypatch.setattr(module, "PLAIN", set())
    session(*(f"WORD{number}" for number in range(3000)))

    assert len(module.PLAIN) == module.PLAIN_LIMIT
