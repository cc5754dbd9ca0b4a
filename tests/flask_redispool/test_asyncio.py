from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis.asyncio
from flask import Flask
from flask.testing import FlaskClient

from flask_redispool import RedisPool, aredis
from redispool import AsyncRedis, scopes

from ..support import Valkey
from ..support.careless import ASYNC_KINDS, CarelessTask
from ..support.loops import Run
from ..support.scale import scale
from .conftest import MakeApp, factory_of, held

CARELESS = [pytest.param(work, id=kind) for work, kind in ASYNC_KINDS.items()]


def made(app: Flask) -> int:
    """How many connections for asyncio the application has made."""
    return factory_of(app).async_stats()["default"].created_total


def test_it_is_a_client_of_redis_py() -> None:
    """Outside of any application it is there, a ``redis.asyncio.Redis``, and says what it is."""
    assert isinstance(aredis, AsyncRedis)
    assert isinstance(aredis, redis.asyncio.Redis)
    assert repr(aredis) == "<aredis of the current Flask app>"


def test_outside_of_an_application_the_error_says_what_to_do() -> None:
    """Without an app context it is not known whose settings hold."""

    async def use() -> None:
        await aredis.ping()

    with pytest.raises(RuntimeError, match=r"with app.app_context\(\)"):
        asyncio.run(use())


def test_views_hooks_and_teardown_share_one_connection(shop: Flask, client: FlaskClient) -> None:
    """Each has an event loop of its own under WSGI, and all of them the pool of the process."""
    loops: list[Any] = []

    async def note(*_: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        await aredis.incr("hits")
        return _[0] if _ else None

    shop.before_request(note)
    shop.after_request(note)
    shop.teardown_request(note)  # type: ignore[arg-type]

    @shop.get("/")
    async def view() -> str:
        await note()
        return str(await aredis.get("hits"))

    for request in range(1, 6):
        assert client.get("/").text == str(str(4 * request - 2).encode())

    assert len({id(loop) for loop in loops}) > 1
    assert made(shop) == 1


def test_many_requests_from_many_threads(shop: Flask) -> None:
    """No request fails, and threads make no more connections than there are of them."""

    @shop.get("/<int:number>")
    async def view(number: int) -> str:
        await aredis.set(f"key {number}", number)
        return (await aredis.get(f"key {number}") or b"").decode()  # type: ignore[no-any-return]

    def ask(number: int) -> str:
        return shop.test_client().get(f"/{number}").text

    numbers = range(scale(1000, 200))
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, numbers)) == [str(number) for number in numbers]
    assert made(shop) <= 8


def test_scripts(shop: Flask, run: Run) -> None:
    """In ``with app.app_context():`` each ``asyncio.run`` finds the same pool, sync code too."""
    from flask_redispool import redis as sync

    with shop.app_context():
        for _ in range(3):
            run(ping_and_count())
        assert sync.get("runs") == b"3"
    assert made(shop) == 1


async def ping_and_count() -> None:
    """What a script does."""
    assert await aredis.ping()
    await aredis.incr("runs")


def test_each_application_has_its_own(make_app: MakeApp, flushed: Valkey) -> None:
    """The client finds the pool of the current application; aliases are other pools of it."""
    place = f"redis://{flushed.host}:{flushed.port}"
    one = make_app("one", REDIS_URL=f"{place}/0")
    settings = {"default": f"{place}/1", "sessions": f"{place}/2"}
    other = make_app("other", REDISPOOL=settings)
    pools = RedisPool()

    with one.app_context():
        asyncio.run(write("name", "one"))
    with other.app_context():
        asyncio.run(write("name", "other"))
        assert pools.async_client("sessions") is factory_of(other).async_client("sessions")
        assert pools.async_pool() is factory_of(other).async_pool()

    assert factory_of(one).client().get("name") == b"one"
    assert factory_of(other).client().get("name") == b"other"


async def write(key: str, value: str) -> None:
    """One command."""
    await aredis.set(key, value)


@pytest.mark.parametrize("error", [False, True], ids=["answers", "raises"])
@pytest.mark.parametrize("work", CARELESS)
def test_what_an_async_view_forgot_goes_back(
    shop: Flask,
    client: FlaskClient,
    caplog: pytest.LogCaptureFixture,
    work: CarelessTask,
    error: bool,
) -> None:
    """The end of a request needs no event loop: the one that took the connection has ended."""
    seen: list[Any] = []

    @shop.get("/")
    async def view() -> str:
        await work(aredis)
        seen.append((held(shop), scopes.current()))
        if error:
            raise LookupError("the view failed")
        return ""

    client.get("/")

    assert seen[0][0] == 1
    assert held(shop) == 0
    (line,) = [each.getMessage() for each in caplog.records if each.name == "redispool"]
    assert line.startswith(f"{ASYNC_KINDS[work]} was not closed by the end of its scope; taken at")
    assert scopes.current() is None


def test_commands_of_async_views_are_counted(shop: Flask, client: FlaskClient) -> None:
    """A scope knows the commands of hooks and view, which ran in loops of their own."""
    seen: list[scopes.Scope | None] = []

    @shop.before_request
    async def before() -> None:
        await aredis.ping()

    @shop.get("/")
    async def view() -> str:
        await aredis.pipeline().incr("hits").incr("hits").execute()
        seen.append(scopes.current())
        return ""

    client.get("/")
    assert [each.commands for each in seen if each] == [3]


def test_a_view_that_is_cancelled(shop: Flask, client: FlaskClient) -> None:
    """A limit of time round a command ends it, and the connection of the command with it."""

    @shop.get("/")
    async def view() -> str:
        try:
            async with asyncio.timeout(0.05):
                await aredis.blpop(["never"], 60)
        except TimeoutError:
            return str(await aredis.incr("late"))
        return "a reply"

    assert [client.get("/").text for _ in range(2)] == ["1", "2"]
    assert held(shop) == 0
    assert made(shop) == 3


def test_shell_has_it(shop: Flask) -> None:
    """``flask shell`` knows both clients."""
    assert shop.make_shell_context()["aredis"] is aredis


def test_a_bound_holds_for_all_loops_together(make_app: MakeApp, flushed: Valkey) -> None:
    """Requests that each have a loop of their own wait for each other where the pool is full."""
    app = make_app(REDISPOOL={"default": {"URL": flushed.url, "MAX_CONNECTIONS": 2}})
    at_once = threading.Barrier(8)

    @app.get("/")
    async def view() -> str:
        async with aredis.pinned() as pin:
            await pin.incr("hits")
        return str(held(app) <= 2)

    def ask(_: int) -> str:
        at_once.wait(10)
        return app.test_client().get("/").text

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == ["True"] * 8
    assert made(app) <= 2
