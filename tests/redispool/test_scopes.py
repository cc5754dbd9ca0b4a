from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from typing import Any

import pytest

from redispool import ConnectionPool, Redis, Scope, scope, scopes
from tests.support import eventually, run_threads


@pytest.fixture
def client(pool: ConnectionPool) -> Redis:
    """A client of ours on a pool of two connections."""
    return Redis(connection_pool=pool)


def out(pool: ConnectionPool) -> int:
    """How many connections are held."""
    stats = pool.stats()
    return stats.in_use + stats.pubsub


def test_there_is_a_scope_only_inside_of_one() -> None:
    """`current` gives the scope of the ``with`` block, and none outside."""
    assert scopes.current() is None
    with scope() as outer:
        assert scopes.current() is outer
        with scope() as inner:
            assert scopes.current() is inner
        assert scopes.current() is outer
    assert scopes.current() is None


def test_everything_held_is_given_back(
    client: Redis, pool: ConnectionPool, caplog: pytest.LogCaptureFixture
) -> None:
    """At its end a scope gives back what pins, subscriptions and watching pipelines hold."""
    with scope():
        block = client.pinned()  # and never left
        pinned = block.__enter__()
        pinned.set("a", "A")
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        pipe = client.pipeline()
        pipe.watch("a")
        assert out(pool) == 3

    assert out(pool) == 0
    assert pool.stats().idle == 2
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    for kind in ("Pin", "PubSub", "Pipeline"):
        (line,) = [line for line in said if line.startswith(f"{kind} was not closed")]
        assert f"taken at {__file__}:" in line
        assert "in test_everything_held_is_given_back" in line


def test_what_is_in_order_is_not_mentioned(
    client: Redis, pool: ConnectionPool, caplog: pytest.LogCaptureFixture
) -> None:
    """What was given back, or dropped, before the end of the scope is nobody's business."""
    with scope() as current:
        with client.pinned() as pinned:
            pinned.ping()
        with client.pubsub() as pubsub:
            pubsub.subscribe("news")
        with client.pipeline() as pipe:
            pipe.watch("a")
        client.pipeline().ping().execute()
        dropped = client.pipeline()
        dropped.watch("a")
        del dropped
        assert current._held == {}

    assert caplog.records == []
    assert out(pool) == 0


def test_a_pipeline_on_a_pin_ends_before_the_pin(
    client: Redis, pool: ConnectionPool, caplog: pytest.LogCaptureFixture
) -> None:
    """What was taken last is given back first, so that the connection is clean and is kept."""
    with scope():
        block = client.pinned()
        pinned = block.__enter__()
        before = pinned.client_id()
        pipe = pinned.pipeline()
        pipe.watch("a")

    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert all("was not closed" in record.getMessage() for record in caplog.records)
    assert client.client_id() == before


def test_the_end_of_a_scope_never_raises(
    client: Redis, pool: ConnectionPool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong with one thing, the others are given back, and the log tells."""

    class Stubborn:
        def give_back(self) -> bool:
            raise ZeroDivisionError

    stubborn = Stubborn()
    with scope() as current:
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        current.hold(stubborn)

    assert out(pool) == 0
    assert any("Stubborn" in record.getMessage() and record.exc_info for record in caplog.records)


def test_the_end_of_a_scope_never_raises_for_the_log(client: Redis, pool: ConnectionPool) -> None:
    """Nor does a filter of the log that raises keep anything from being given back."""
    logger = logging.getLogger("redispool")
    logger.addFilter(refuse_to_log)
    try:
        with scope():
            blocks = [client.pinned(), client.pinned()]  # and never left
            for block in blocks:
                block.__enter__()
    finally:
        logger.removeFilter(refuse_to_log)

    assert out(pool) == 0


def refuse_to_log(_: logging.LogRecord) -> bool:
    """Be a filter with a mistake in it."""
    raise ZeroDivisionError


def test_an_error_passes_through(client: Redis, pool: ConnectionPool) -> None:
    """A scope ends in an error of its block as it ends otherwise."""
    with pytest.raises(ZeroDivisionError), scope():
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        raise ZeroDivisionError

    assert out(pool) == 0


def test_closing_twice_is_once(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A second `close` finds nothing and touches no scope that began since."""
    first = Scope()
    first.enter()
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    first.close()
    assert len(caplog.records) == 1

    with scope() as second:
        first.close()
        assert scopes.current() is second
    assert len(caplog.records) == 1


def test_each_belongs_to_the_scope_in_which_it_was_taken(
    client: Redis, pool: ConnectionPool
) -> None:
    """The end of an inner scope leaves alone what the outer one holds."""
    with scope():
        outer = client.pubsub()
        outer.subscribe("outer")
        with scope():
            inner = client.pubsub()
            inner.subscribe("inner")
        assert out(pool) == 1
        assert eventually(lambda: outer.get_message(timeout=1.0))
    assert out(pool) == 0


def test_without_a_scope_nothing_is_taken_away(client: Redis, pool: ConnectionPool) -> None:
    """What was taken outside of a scope may be used inside, and lives on."""
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    with scope():
        assert eventually(lambda: pubsub.get_message(timeout=1.0))
    assert out(pool) == 1
    pubsub.close()


def test_what_was_ended_can_begin_anew(client: Redis, pool: ConnectionPool) -> None:
    """A subscription that one scope has ended belongs to the scope in which it subscribes again."""
    pubsub = client.pubsub()
    for _ in range(2):
        with scope():
            pubsub.subscribe("news")
            assert out(pool) == 1
        assert out(pool) == 0


def test_what_was_given_back_is_free_for_others(client: Redis, pool: ConnectionPool) -> None:
    """A subscription closed in one scope and opened again in another is the other's alone."""
    pubsub = client.pubsub()
    first = Scope()
    first.enter()
    pubsub.subscribe("news")
    pubsub.close()
    first.leave()

    with scope():
        pubsub.subscribe("news")
        first.close()
        assert out(pool) == 1
    assert out(pool) == 0


def test_a_scope_keeps_nothing_alive(client: Redis, pool: ConnectionPool) -> None:
    """What the program drops is back at once, not only at the end of the scope."""
    gc.disable()
    try:
        with scope():
            pubsub = client.pubsub()
            pubsub.subscribe("news")
            del pubsub
            assert out(pool) == 0
    finally:
        gc.enable()


def test_commands_are_counted(client: Redis, pool: ConnectionPool) -> None:
    """A scope knows how many commands it ran, those of pipelines too, and how long they took."""
    with scope() as current:
        client.set("a", "A")
        client.get("a")
        assert current.commands == 2
        client.pipeline().incr("n").incr("n").incr("n").execute()
        assert current.commands == 5
        with client.pinned() as pinned:
            pinned.get("a")
        assert current.commands == 6
        with scope() as inner:
            client.get("a")
        assert (inner.commands, current.commands) == (1, 6)
        before = current.seconds
        client.blpop("nothing", timeout=0.1)
        assert current.seconds - before >= 0.1
    client.get("a")
    assert current.commands == 7


def test_failed_commands_are_counted(client: Redis) -> None:
    """An error took its time too."""
    with scope() as current:
        client.set("a", "A")
        with pytest.raises(Exception, match="WRONGTYPE"):
            client.lpush("a", 1)

    assert current.commands == 2


def test_threads_have_scopes_of_their_own(client: Redis, pool: ConnectionPool) -> None:
    """The end of one thread's scope does not touch what another thread holds."""
    barrier = threading.Barrier(2)

    def work(number: int) -> int:
        with scope() as current:
            pubsub = client.pubsub()
            pubsub.subscribe(f"news{number}")
            barrier.wait(10)
            if number == 1:
                barrier.wait(10)
                assert pubsub.connection is not None
        if number == 0:
            assert out(pool) == 1
            barrier.wait(10)
        return current.commands

    run_threads(2, work)

    assert out(pool) == 0


def test_a_scope_may_end_in_another_context(client: Redis, pool: ConnectionPool) -> None:
    """The end of a streamed response may come in another context or thread than its beginning."""
    current = Scope()

    def begin() -> Any:
        current.enter()
        pubsub = client.pubsub()
        pubsub.subscribe("news")
        return pubsub

    pubsub = contextvars.Context().run(begin)
    assert scopes.current() is None
    run_threads(1, lambda _: current.close())

    assert out(pool) == 0
    assert pubsub.connection is None


def test_adapters_may_tell_where_the_scope_is(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no context variable leads to a scope, the finders are asked, in their order."""
    found = Scope()
    monkeypatch.setattr(scopes, "finders", [lambda: None, lambda: found, lambda: Scope()])
    client.ping()
    assert found.commands == 1

    with scope() as nearer:
        assert scopes.current() is nearer


def test_a_pipeline_that_loads_scripts(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A pipeline that takes its connection early to load a script has given it back at the end."""
    script = client.register_script("return 1")
    with scope():
        pipe = client.pipeline()
        script(client=pipe)
        assert pipe.execute() == [1]

    assert caplog.records == []


def test_the_log_is_redispools(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """What a scope has to say it says as a warning of the logger ``redispool``."""
    with scope():
        pubsub = client.pubsub()
        pubsub.subscribe("news")

    assert caplog.record_tuples[0][:2] == ("redispool", logging.WARNING)


class Kept:
    """Holds something."""

    given_back = 0

    def give_back(self) -> bool:
        """Count it."""
        self.given_back += 1
        return True


@pytest.mark.parametrize("ends", ["its task", "its loop"])
def test_a_task_keeps_what_it_holds_when_another_thread_ends_the_scope(ends: str) -> None:
    """As Django ends requests under ASGI. Where its loop has ended, nobody keeps anything."""
    loop, kept, ending = asyncio.new_event_loop(), Kept(), Scope()
    go = asyncio.Event()

    async def work() -> None:
        ending.hold(kept)
        await go.wait()

    async def close_elsewhere() -> None:
        await asyncio.sleep(0)  # now the task holds it
        await asyncio.to_thread(ending.close)

    task = loop.create_task(work())
    loop.run_until_complete(close_elsewhere())
    assert not kept.given_back
    if ends == "its task":
        go.set()
        loop.run_until_complete(task)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    else:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        ending.close()
        task.get_coro().close()  # type: ignore[union-attr]  # it is a coroutine
    assert kept.given_back == 1
    ending.close()
    assert kept.given_back == 1


def test_the_task_whose_scope_it_is_keeps_nothing() -> None:
    """What it holds goes back at the end of its ``with`` block, though it goes on."""

    async def work() -> int:
        kept = Kept()
        with scope() as current:
            current.hold(kept)
        return kept.given_back

    assert asyncio.run(work()) == 1
