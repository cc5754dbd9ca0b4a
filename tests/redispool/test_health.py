from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from redispool import InvalidOption, PoolFactory, PoolTimeout, health, verdicts
from redispool.health import AliasHealth, Health, async_check, check
from redispool.testing import FaultProxy, ScriptedServer, assert_all_returned
from redispool.verdicts import RECENTLY, Shortage
from tests.conftest import MakeFactory
from tests.support import Clock, Valkey, eventually
from tests.support.callers import Waiting, in_background
from tests.support.forks import in_child
from tests.support.moments import at_line
from tests.support.patience import in_time

Look: TypeAlias = Callable[..., Health]


def check_in_a_loop(factory: PoolFactory, *aliases: Any, **options: Any) -> Health:
    """The check for asyncio, in a loop of its own."""
    return asyncio.run(async_check(factory, *aliases, **options))


@pytest.fixture(params=[check, check_in_a_loop], ids=["threads", "asyncio"])
def look(request: pytest.FixtureRequest) -> Look:
    """Each of the two checks."""
    found: Look = request.param
    return found


def stats(factory: PoolFactory) -> Any:
    """The figures of the one pool that was used."""
    (pool,) = factory.pools()
    return pool.stats()


def reasons(found: Health) -> list[tuple[str, str]]:
    """What was found of each alias."""
    return [(each.status, each.reason) for each in found.aliases]


def test_a_server_that_answers_is_healthy(factory: PoolFactory, look: Look) -> None:
    """It is told so, with the time that it took, and the pool's one connection does for all."""
    first, second = look(factory), look(factory)

    assert (first.status, first.http_status) == ("healthy", 200)
    assert second.aliases[0].seconds is not None
    assert 0.0 < second.aliases[0].seconds < 1.0
    assert (stats(factory).created_total, stats(factory).acquired_total) == (1, 2)


def test_what_is_told_are_plain_values(factory: PoolFactory, look: Look) -> None:
    """JSON with the status of all, and of each alias with a reason and the milliseconds."""
    told = json.loads(json.dumps(look(factory).as_dict()))

    milliseconds = told["aliases"]["default"].pop("milliseconds")
    assert milliseconds > 0
    assert told == {
        "status": "healthy",
        "aliases": {"default": {"status": "healthy", "reason": ""}},
    }


def test_the_worst_alias_counts() -> None:
    """Unhealthy goes before degraded, degraded before healthy; degraded is 200 all the same."""
    well, short, away = (
        AliasHealth("a", status) for status in ("healthy", "degraded", "unhealthy")
    )

    assert [Health(each).status for each in ((), (well,), (well, short), (short, away, well))] == [
        *("healthy", "healthy", "degraded", "unhealthy")
    ]
    assert Health((well, short)).http_status == 200
    assert Health((short, away)).http_status == 503


def test_an_outage_is_seen_and_its_end_too(own_server: Valkey, look: Look) -> None:
    """A server that stops is told within two seconds, and so is that it is back."""
    with PoolFactory(own_server.url) as factory:
        assert look(factory).status == "healthy"
        own_server.stop()
        assert reasons(look(factory)) == [("unhealthy", verdicts.AWAY)]
        assert look(factory).http_status == 503
        own_server.start()
        eventually(lambda: look(factory).status == "healthy", 2.0)
        assert reasons(look(factory)) == [("healthy", "")]


@pytest.mark.parametrize("open_before", [True, False], ids=["open", "new"])
def test_a_black_hole_is_told_in_time(flushed: Valkey, look: Look, open_before: bool) -> None:
    """Nothing comes back, on lines that are open or to be opened: the check ends in its time.

    All aliases together have it, however many there are.
    """
    with FaultProxy(flushed.url) as proxy, PoolFactory(dict.fromkeys("abc", proxy.url)) as factory:
        if open_before:
            look(factory)
        proxy.black_hole(accept=False)
        found: list[Health] = []
        assert in_time(lambda: found.append(look(factory, within=0.3)), 0.6)
        assert {each[0] for each in reasons(found[-1])} == {"unhealthy"}
        assert reasons(found[0]) == [("unhealthy", verdicts.LATE)] * 3
        assert_all_returned(*factory.pools(), within=2.0)
        proxy.heal()
        eventually(lambda: look(factory).status == "healthy", 2.0)


@pytest.mark.parametrize("for_threads", [True, False], ids=["threads", "asyncio"])
def test_a_name_that_is_not_found_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, flushed: Valkey, for_threads: bool
) -> None:
    """The system looks a name up for as long as it likes; the check ends in its time."""
    found_at_last, real = threading.Event(), socket.getaddrinfo

    def look_up(*where: Any, **options: Any) -> Any:
        if options.get("flags") != socket.AI_NUMERICHOST:
            assert found_at_last.wait(60)
        return real(*where, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = flushed.url.replace(flushed.host, "localhost")

    async def in_a_loop(factory: PoolFactory) -> Health:
        try:
            return await async_check(factory, within=0.2)
        finally:
            found_at_last.set()  # its thread is waited for by the end of the loop

    with PoolFactory(url) as factory:
        if for_threads:
            found = check(factory, within=0.2)
            found_at_last.set()
        else:
            found = asyncio.run(in_a_loop(factory))
        assert reasons(found) == [("unhealthy", verdicts.LATE)]
        assert_all_returned(*factory.pools(), within=5.0)


def test_those_who_ask_meanwhile_share_the_answer(flushed: Valkey) -> None:
    """However many ask, there is one probe an alias, and one thread; none waits beyond his time.

    A forked child, where that thread does not exist, asks itself; and so does who comes later.
    """
    with FaultProxy(flushed.url) as proxy, PoolFactory(dict.fromkeys("ab", proxy.url)) as factory:
        proxy.hold()
        found = in_background(lambda: check(factory, within=30.0))
        eventually(lambda: proxy.held == 2)
        others = [in_background(lambda: check(factory, within=30.0)) for _ in range(5)]
        assert reasons(check(factory, ["a"], within=0.1)) == [("unhealthy", verdicts.LATE)]
        in_the_child = in_child(lambda: reasons(check(factory, ["a"], within=0.1)))
        proxy.let_go()
        eventually(lambda: found and all(others))

        assert in_the_child == [("unhealthy", verdicts.LATE)]
        assert {each.status for each in [found[0], *(other[0] for other in others)]} == {"healthy"}
        assert sum(pool.stats().acquired_total for pool in factory.pools()) <= 3
        assert check(factory).status == "healthy"


def test_one_that_hangs_does_not_stand_for_the_next(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time another asks; where that one hangs as well, no third one begins."""
    clock, let_go, asked = Clock(monkeypatch), threading.Event(), list[Any]()
    real = health._ask

    def hang(*args: Any) -> None:
        asked.append(args)
        let_go.wait(30)

    monkeypatch.setattr(health, "_ask", hang)
    for _ in range(3):
        assert reasons(check(factory, ["default"], within=0.05)) == [("unhealthy", verdicts.LATE)]
        clock.advance(0.1)
    eventually(lambda: len(asked) == 2)
    monkeypatch.setattr(health, "_ask", real)
    let_go.set()
    eventually(lambda: check(factory, ["default"]).status == "healthy")
    assert len(asked) == 2


def test_a_check_that_is_interrupted_stands_in_nobodys_way(factory: PoolFactory) -> None:
    """At whatever line: one of the next checks asks, and finds a server that is well."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    line, came_to_that = 0, [True]
    while came_to_that:
        with (
            contextlib.suppress(KeyboardInterrupt),
            at_line(line, interrupt) as came_to_that,
        ):
            check(factory, ["default"], within=1.0)
        found = (check(factory, ["default"], within=1.0).status for _ in range(3))
        assert "healthy" in found, line
        line += 1
    assert line > 20


def test_the_loop_goes_on_meanwhile(flushed: Valkey, factory: PoolFactory) -> None:
    """While a check waits for a server that is silent, others of the loop are served."""

    async def both(silent: PoolFactory) -> list[str]:
        order = []

        async def slow() -> None:
            await async_check(silent, within=5.0)
            order.append("check")

        task = asyncio.create_task(slow())
        while not stats(silent).connecting if silent.pools() else True:
            await asyncio.sleep(0)
        await factory.async_client().ping()
        order.append("ping")
        proxy.heal()
        await task
        return order

    with FaultProxy(flushed.url) as proxy:
        proxy.black_hole(accept=False)
        with PoolFactory(proxy.url) as silent:
            assert asyncio.run(both(silent)) == ["ping", "check"]


def test_where_no_connection_comes_back_it_is_unhealthy(
    make_factory: MakeFactory, flushed: Valkey, look: Look
) -> None:
    """All are held, and nobody is served: others would fare no better than the check."""
    factory = make_factory({"default": {"URL": flushed.url, "MAX_CONNECTIONS": 1}})
    pool = factory.pool() if look is check else factory.async_pool()
    connection = asyncio.run(pool.acquire()) if look is not check else pool.acquire()  # type: ignore[arg-type]
    try:
        assert reasons(look(factory, within=0.1)) == [("unhealthy", verdicts.STUCK)]
    finally:
        pool.release(connection)


def test_where_others_are_served_meanwhile_it_is_degraded(
    make_factory: MakeFactory, flushed: Valkey
) -> None:
    """The pool is short of connections, and the server well."""
    factory = make_factory({"default": {"URL": flushed.url, "MAX_CONNECTIONS": 1}})
    pool = factory.pool()
    connection = pool.acquire()
    first = Waiting(pool)
    found = in_background(lambda: check(factory, within=1.0))
    eventually(lambda: pool.stats().waiting == 2)
    pool.release(connection)
    eventually(lambda: found)
    first.give_back()

    assert reasons(found[0]) == [("degraded", verdicts.BUSY)]
    assert found[0].http_status == 200


def test_in_a_loop_too_it_is_degraded(make_factory: MakeFactory, flushed: Valkey) -> None:
    """The same for asyncio."""
    factory = make_factory({"default": {"URL": flushed.url, "MAX_CONNECTIONS": 1}})
    pool = factory.async_pool()

    async def compete() -> Health:
        connection = await pool.acquire()
        first = asyncio.create_task(pool.acquire(60))
        while pool.stats().waiting < 1:
            await asyncio.sleep(0)
        checking = asyncio.create_task(async_check(factory, within=1.0))
        while pool.stats().waiting < 2:
            await asyncio.sleep(0)
        pool.release(connection)
        found = await checking
        pool.release(await first)
        return found

    assert reasons(asyncio.run(compete())) == [("degraded", verdicts.BUSY)]


def test_who_is_turned_away_looks_whether_others_are_served(
    make_factory: MakeFactory, flushed: Valkey
) -> None:
    """A full queue alone says nothing of the server."""
    options = {"URL": flushed.url, "MAX_CONNECTIONS": 1, "MAX_WAITING": 1}
    factory = make_factory({"default": options})
    pool = factory.pool()
    connection = pool.acquire()
    first = Waiting(pool)
    assert reasons(check(factory, within=0.1)) == [("unhealthy", verdicts.STUCK)]

    found = in_background(lambda: check(factory, within=1.0))
    eventually(lambda: pool.stats().rejected_total == 2)
    pool.release(connection)
    eventually(lambda: found)
    first.give_back()

    assert reasons(found[0]) == [("degraded", verdicts.BUSY)]


def test_callers_who_found_no_connection_degrade_it_for_a_while(
    make_factory: MakeFactory, flushed: Valkey, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of either pool of the alias; after half a minute without any it is healthy again."""
    clock = Clock(monkeypatch)
    factory = make_factory({"default": {"URL": flushed.url, "MAX_CONNECTIONS": 1}})
    pool = factory.pool()
    assert look(factory).status == "healthy"

    with pool.connection(), pytest.raises(PoolTimeout):
        pool.acquire(timeout=0)
    found = look(factory)
    assert reasons(found) == [("degraded", verdicts.SHORT)]
    assert found.http_status == 200

    clock.advance(RECENTLY - 1)
    assert look(factory).status == "degraded"
    clock.advance(RECENTLY + 1)
    assert look(factory).status == "healthy"


def test_a_shortage_is_seen_from_one_look_to_the_next(factory: PoolFactory) -> None:
    """However seldom one looks; what was before the first look is old, and so is a parent's."""
    pool = factory.pool()
    shortage = Shortage()

    def look(now: float, timeouts: int) -> bool:
        while pool.counts["timeouts"] < timeouts:
            pool.counts.add("timeouts")
        return shortage.look(now, [pool.stats()])

    assert not look(0.0, 5)
    assert not look(1000.0, 5)
    assert look(2000.0, 6)
    assert not look(3000.0, 6)
    pool.after_fork_in_child()
    assert not look(3001.0, 1)
    assert look(3002.0, 2)


def test_a_thousand_looks_a_second_are_one(factory: PoolFactory) -> None:
    """What is remembered does not grow with the number of probes."""
    shortage, figures = Shortage(), [factory.pool().stats()]
    for number in range(100_000):
        shortage.look(number / 1000, figures)

    assert len(shortage._looks) <= RECENTLY + 2


def test_refused_credentials_are_told_without_secrets(look: Look) -> None:
    """The reason says that, and no more: no password, user, host or port is in the answer."""
    with Valkey(requirepass="right") as server:
        options = {"URL": server.url.replace("right", "secret"), "USERNAME": "default"}
        with PoolFactory({"default": options}) as factory:
            found = look(factory)

    text = json.dumps(found.as_dict())
    assert reasons(found) == [("unhealthy", verdicts.REFUSED)]
    for secret in ("secret", "right", server.host, str(server.port)):
        assert secret not in text


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"-LOADING Redis is loading\r\n", ("unhealthy", verdicts.LOADING)),
        (b"-MISCONF Errors writing to the AOF file\r\n", ("unhealthy", verdicts.REFUSED)),
        (b"-NOPERM this user has no permissions\r\n", ("healthy", "")),
    ],
    ids=["loading", "refused", "no permission"],
)
def test_errors_of_the_server_are_judged(
    scripted: ScriptedServer, look: Look, reply: bytes, expected: tuple[str, str]
) -> None:
    """A server that does not serve is unhealthy; one that forbids PING serves."""
    scripted.answer("PING", reply, reply)
    with PoolFactory(scripted.url) as factory:
        assert reasons(look(factory)) == [expected]


def test_a_connection_that_broke_just_now_is_no_outage(
    factory: PoolFactory, flushed: Valkey, look: Look
) -> None:
    """One that was used a moment ago is not looked at before it is lent: the next one answers."""
    assert look(factory).status == "healthy"
    flushed.kill_clients()

    assert reasons(look(factory)) == [("healthy", "")]
    assert stats(factory).closed_total["dead_in_use"] == 1


def test_a_closed_factory_is_unhealthy(flushed: Valkey, look: Look) -> None:
    """An application that shuts down wants no more requests."""
    factory = PoolFactory(flushed.url)
    factory.close()

    assert reasons(look(factory)) == [("unhealthy", verdicts.CLOSED)]


def test_only_the_aliases_that_count_are_asked(
    make_factory: MakeFactory, flushed: Valkey, look: Look
) -> None:
    """Others may be away; and who asks for one that is not defined is told so."""
    factory = make_factory({"default": flushed.url, "other": "redis://127.0.0.1:1"})

    assert [each.alias for each in look(factory, ["default"]).aliases] == ["default"]
    assert look(factory, ["default"]).status == "healthy"
    assert look(factory).status == "unhealthy"
    with pytest.raises(InvalidOption, match="nonsense"):
        look(factory, ["nonsense"])


def test_what_nobody_foresaw_is_in_the_log(
    look: Look, caplog: pytest.LogCaptureFixture, flushed: Valkey
) -> None:
    """An error of the application's own code makes it unhealthy, and only the log names it."""

    def credentials() -> Any:
        raise LookupError("the vault is sealed")

    options = {"URL": flushed.url, "CREDENTIAL_PROVIDER": credentials}
    with PoolFactory({"default": options}) as factory, caplog.at_level(logging.WARNING):
        found = look(factory)

    assert reasons(found) == [("unhealthy", verdicts.FAILED)]
    assert "the vault is sealed" in caplog.text
