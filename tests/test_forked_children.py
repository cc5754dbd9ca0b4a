"""What the measures and the soak say of a forked child."""

from __future__ import annotations

import os
import threading

import pytest

from benchmarks.reliability import keyed
from benchmarks.reliability.children import tries_of_child
from redispool import Redis, fork
from redispool.testing import FaultProxy
from tests.conftest import MakePool
from tests.support import Valkey

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    # Python 3.12 and later warn of forks in processes with threads.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


class Hanging:
    """What waits in the child for a lock that a thread of its parent held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def after_fork_in_child(self) -> None:
        """Hang before anything of the child's own runs."""
        self.wait_for_ever()

    def wait_for_ever(self) -> None:
        """The line that is looked for."""
        self._lock.acquire()


class HangingClient(Redis):
    """A client whose commands hang."""

    def execute_command(self, *args: object, **options: object) -> None:
        """Be every command."""
        Hanging().wait_for_ever()


def test_a_child_that_is_answered(make_pool: MakePool) -> None:
    """There is nothing to say of it; a key that is missing is an answer, too."""
    client = Redis(connection_pool=make_pool())

    assert tries_of_child(client, 10.0) == [""]
    client.set(keyed.key(1), keyed.value(1))
    assert tries_of_child(client, 10.0) == [""]


def test_a_child_with_a_wrong_reply(make_pool: MakePool) -> None:
    """It says what it was given, and does not ask for a better one."""
    client = Redis(connection_pool=make_pool())
    client.set(keyed.key(1), "of somebody else")

    assert tries_of_child(client, 10.0, 60.0) == ["wrong reply: b'of somebody else'"]


def test_a_child_that_hangs_in_a_command(make_pool: MakePool) -> None:
    """It is ended, and its stack is told."""
    [found] = tries_of_child(HangingClient(connection_pool=make_pool()), 0.2)

    assert found.startswith("hangs; ")
    assert "in wait_for_ever; " in found


def test_a_child_that_hangs_in_a_hook(make_pool: MakePool) -> None:
    """It is found, too, before it runs a line of its own."""
    hanging = Hanging()
    fork.register(hanging)

    [found] = tries_of_child(Redis(connection_pool=make_pool()), 0.2)

    assert found.startswith("hangs; ")
    assert "in wait_for_ever; " in found


def test_a_child_that_gets_an_error(make_pool: MakePool, own_server: Valkey) -> None:
    """It says its type and its text."""
    client = Redis(connection_pool=make_pool(url=own_server.url, retry="never"))
    own_server.stop()

    [found] = tries_of_child(client, 10.0)
    assert found.startswith("ConnectionError: ")
    assert "refused" in found
    # Also where it tries again: in the end it says what it met last.
    *before, last = tries_of_child(client, 10.0, 0.2)
    assert before
    assert last


def test_a_child_tries_again_after_an_error_of_the_network(
    make_pool: MakePool, server: Valkey
) -> None:
    """What one fault takes from it is none of the pool's faults."""
    with FaultProxy(server.url) as proxy:
        client = Redis(connection_pool=make_pool(url=proxy.url, retry="never"))

        proxy.cut_reply(1)
        assert tries_of_child(client, 10.0) != [""]
        proxy.cut_reply(1)
        error, *_, last = tries_of_child(client, 10.0, 60.0)
        assert error
        assert last == ""


def test_a_child_does_not_try_again_after_an_error_of_the_pools(make_pool: MakePool) -> None:
    """The network is not to blame for it, so it is told at once."""
    pool = make_pool()
    pool.close()

    [found] = tries_of_child(Redis(connection_pool=pool), 10.0, 60.0)

    assert found.startswith("PoolClosed: ")
