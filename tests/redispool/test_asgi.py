from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from redispool import AsyncRedis, InvalidOption, PoolClosed, PoolFactory, Redis, asgi, scopes
from redispool.asgi import Message, Receive, ScopeMiddleware, Send, lifespan

from ..conftest import MakeFactory
from ..support import Valkey, eventually
from ..support.loops import Run, until

HTTP = {"type": "http"}


async def nothing() -> Message:
    """A client that says nothing."""
    raise AssertionError("the middleware asks for nothing")


async def ignored(message: Message) -> None:
    """A server that sends nothing on."""


# The lifespan


def test_the_pools_last_as_long_as_the_application(factory: PoolFactory, run: Run) -> None:
    """Before its end the pools serve; after it they are closed, those for threads too."""

    async def serve() -> None:
        async with lifespan(factory)(None):
            await factory.async_client().ping()
            await asyncio.to_thread(factory.client().ping)
        assert factory.async_pool().closed
        assert factory.pool().closed

    run(serve())


def test_the_applications_own_lifespan_runs_inside(factory: PoolFactory) -> None:
    """Pools are open while it begins and while it ends, and what it gives reaches the server."""
    seen: list[Any] = []

    @contextlib.asynccontextmanager
    async def own(app: str) -> AsyncIterator[dict[str, int]]:
        seen.append((app, await factory.async_client().incr("starts")))
        yield {"answer": 42}
        seen.append(await factory.async_client().incr("ends"))

    async def serve() -> None:
        async with lifespan(factory, own)("the app") as state:
            assert state == {"answer": 42}

    asyncio.run(serve())
    assert seen == [("the app", 1), 1]


class FastAPI:
    """An application."""


def test_a_lifespan_that_was_not_made_is_refused() -> None:
    """``FastAPI(lifespan=asgi.lifespan)`` calls it with the application."""
    with pytest.raises(TypeError, match=r"not a FastAPI: write lifespan=.*lifespan\(factory\)"):
        lifespan(FastAPI())  # type: ignore[call-overload]


def test_an_error_of_the_own_lifespan_closes_the_pools(factory: PoolFactory) -> None:
    """An application that cannot start leaves no connection behind, and says why itself."""

    @contextlib.asynccontextmanager
    async def own(app: object) -> AsyncIterator[None]:
        await factory.async_client().ping()
        raise LookupError("no table")
        yield

    async def serve() -> None:
        async with lifespan(factory, own)(None):
            raise AssertionError("it does not come to this")

    with pytest.raises(LookupError, match="no table"):
        asyncio.run(serve())
    assert factory.async_pool().closed


def test_nothing_is_opened_unless_asked_for(factory: PoolFactory) -> None:
    """An application starts without its server; the first command opens the first connection."""

    async def serve() -> None:
        async with lifespan(factory)(None):
            assert factory.async_stats() == {}

    asyncio.run(serve())


@pytest.mark.parametrize(("min_idle", "opened"), [(0, 1), (3, 3)])
def test_warming_up(make_factory: MakeFactory, flushed: Valkey, min_idle: int, opened: int) -> None:
    """When asked to it opens ``min_idle`` connections of each alias, and one at least."""
    settings = {"url": flushed.url, "min_idle": min_idle}
    factory = make_factory({"default": settings, "other": settings})

    async def serve() -> None:
        async with lifespan(factory, warm_up=True)(None):
            idle = {alias: each.idle for alias, each in factory.async_stats().items()}
            assert idle == {"default": opened, "other": opened}

    asyncio.run(serve())


def test_warming_up_fails_loudly(own_server: Valkey) -> None:
    """Where a server is away, an application that warms up does not start."""
    factory = PoolFactory({"default": {"url": own_server.url, "timeout": 0.2, "retries": 0}})
    own_server.stop()

    async def serve() -> None:
        async with lifespan(factory, warm_up=True)(None):
            raise AssertionError("it does not come to this")

    with pytest.raises(redis.ConnectionError):
        asyncio.run(serve())
    assert factory.async_pool().closed


def test_draining_waits_for_those_who_hold_a_connection(
    factory: PoolFactory, flushed: Valkey, run: Run
) -> None:
    """At the end work in progress is finished, in the loop that goes on meanwhile."""

    async def push_when_closing() -> None:
        await until(lambda: factory.async_pool().closed)
        with flushed.outside() as client:
            client.rpush("jobs", "last")

    async def serve() -> Any:
        async with lifespan(factory)(None):
            waiting = asyncio.ensure_future(factory.async_client().blpop(["jobs"], 5))
            await until(lambda: factory.async_pool().stats().in_use)
            pushing = asyncio.ensure_future(push_when_closing())
        assert pushing.done()
        return await waiting

    assert run(serve()) == (b"jobs", b"last")


def test_draining_has_a_deadline(
    factory: PoolFactory, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    """Who holds a connection for longer than that is cut off, and the log says how many were."""

    async def serve() -> None:
        async with lifespan(factory, close_within=0.05)(None):
            taken = await factory.async_pool().acquire()
        factory.async_pool().take_back(taken)

    run(serve())
    assert "0.05 s after the shutdown began were cut: 1" in caplog.text


def test_a_shutdown_in_a_hurry(factory: PoolFactory, run: Run) -> None:
    """A server that cancels the shutdown gets it: what is still held is cut at once."""

    async def serve() -> None:
        here = asyncio.current_task()
        assert here is not None
        with pytest.raises(asyncio.CancelledError):
            async with lifespan(factory, close_within=60)(None):
                taken = await factory.async_pool().acquire()
                asyncio.get_running_loop().call_later(0.01, here.cancel)
        try:
            with pytest.raises(redis.ConnectionError):
                await taken.ask(("PING",), {})
        finally:
            factory.async_pool().take_back(taken)

    run(serve())


def test_an_application_may_start_again(factory: PoolFactory, flushed: Valkey) -> None:
    """As tests have it: with each start pools begin anew, and clients from before go on."""
    threads, aredis = factory.client(), factory.async_client()

    async def serve() -> tuple[int, int]:
        async with lifespan(factory)(None):
            return await aredis.incr("starts"), await asyncio.to_thread(threads.incr, "threads")

    assert [asyncio.run(serve()) for _ in range(3)] == [(1, 1), (2, 2), (3, 3)]
    eventually(lambda: not flushed.clients())
    with pytest.raises(PoolClosed):
        asyncio.run(one(aredis))


def test_two_applications_of_one_factory(factory: PoolFactory) -> None:
    """The pools are closed with the last application that uses them, not with the first."""

    async def serve() -> None:
        async with lifespan(factory)("outer"):
            async with lifespan(factory)("inner"):
                pass
            assert await factory.async_client().ping()
        assert factory.async_pool().closed

    asyncio.run(serve())


def test_an_application_that_starts_while_another_ends(factory: PoolFactory, run: Run) -> None:
    """Whoever begins while the pools of an older one are drained has new ones, which stay open."""

    async def serve() -> None:
        old = factory.async_pool()
        ending = contextlib.AsyncExitStack()
        await ending.enter_async_context(lifespan(factory)("old"))
        taken, threads = await old.acquire(), factory.pool()
        draining = asyncio.ensure_future(ending.aclose())
        await until(lambda: old.closed)
        async with lifespan(factory)("new"):
            assert await factory.async_client().ping()
            assert await asyncio.to_thread(factory.client().ping)
            assert not draining.done()
            old.take_back(taken)
            await draining
            assert threads.closed
            assert await factory.async_client().ping()
            assert await asyncio.to_thread(factory.client().ping)
            assert await asgi.async_client(factory)() is factory.async_client()

    run(serve())


def test_an_application_that_starts_at_the_very_end_of_another(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one to end closes its pools in the same step: none that begins is given them."""
    first, second = lifespan(factory)("first"), lifespan(factory)("second")
    aclose = factory.aclose

    def begin_before_it_is_awaited(within: float) -> Any:
        draining = aclose(within)

        async def drain() -> int:
            await second.__aenter__()
            return await draining

        return drain()

    async def serve() -> None:
        await first.__aenter__()
        await factory.async_client().ping()
        monkeypatch.setattr(factory, "aclose", begin_before_it_is_awaited)
        await first.__aexit__(None, None, None)
        monkeypatch.undo()
        assert await factory.async_client().ping()
        await second.__aexit__(None, None, None)

    asyncio.run(serve())


# Dependencies


def test_dependencies_give_the_clients_of_the_factory(
    make_factory: MakeFactory, flushed: Valkey
) -> None:
    """In the lifespan a dependency gives the client of its alias, the same each time."""
    factory = make_factory({"default": flushed.url, "other": flushed.url})

    async def serve() -> None:
        async with lifespan(factory)(None):
            assert await asgi.async_client(factory)() is factory.async_client()
            assert await asgi.async_client(factory, "other")() is factory.async_client("other")
            assert await asgi.client(factory)() is factory.client()
            assert await asgi.client(factory, "other")() is factory.client("other")

    asyncio.run(serve())


@pytest.mark.parametrize("make", [asgi.async_client, asgi.client])
def test_without_the_lifespan_a_dependency_says_so(factory: PoolFactory, make: Any) -> None:
    """Before the lifespan began, and after its end, the error says what to write and where."""
    dependency = make(factory)

    async def serve() -> None:
        async with lifespan(factory)(None):
            assert isinstance(await dependency(), AsyncRedis | Redis)

    for _ in range(2):
        with pytest.raises(
            RuntimeError, match=r"lifespan=redispool.asgi.lifespan\(factory\)"
        ) as it:
            asyncio.run(one_of(dependency))
        assert "with TestClient(app) as client:" in str(it.value)
        asyncio.run(serve())


@pytest.mark.parametrize("make", [asgi.async_client, asgi.client])
def test_an_alias_that_is_not_defined_is_refused_at_once(factory: PoolFactory, make: Any) -> None:
    """Not the first request says so, but the line that makes the dependency."""
    with pytest.raises(InvalidOption, match="sesions"):
        make(factory, "sesions")


async def one(client: AsyncRedis) -> Any:
    """One command."""
    return await client.ping()


async def one_of(dependency: Any) -> Any:
    """What a dependency gives."""
    return await dependency()


# The scope


def test_what_a_request_forgot_goes_back(
    factory: PoolFactory, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    """At the end of a request its pins, subscriptions and watches are given back, with a line."""
    kept: list[Any] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        client = factory.async_client()
        kept.append(client.pinned())
        await kept[0].__aenter__()
        kept.append(client.pubsub())
        await kept[1].subscribe("news")
        kept.append(client.pipeline())
        await kept[2].watch("key")
        assert factory.async_pool().stats().in_use == 2
        assert factory.async_pool().stats().pubsub == 1

    async def serve() -> tuple[int, int]:
        await ScopeMiddleware(app)(HTTP, nothing, ignored)
        found = factory.async_pool().stats()
        await kept[0].__aexit__(None, None, None)
        return found.in_use, found.pubsub

    assert run(serve()) == (0, 0)
    assert [line.partition(" was not closed")[0] for line in caplog.messages] == [
        "AsyncPipeline",
        "AsyncPubSub",
        "AsyncPin",
    ]
    assert all(f"{__file__}:" in line for line in caplog.messages)


def test_requests_at_the_same_time_have_scopes_of_their_own(factory: PoolFactory) -> None:
    """The commands of each are counted to it, and what one takes, the end of another leaves."""
    seen: dict[str, scopes.Scope | None] = {}

    async def serve() -> int:
        go = asyncio.Event()

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            async with factory.async_client().pinned() as pin:
                await pin.ping()
                await pin.ping()
                seen[scope["path"]] = scopes.current()
                if scope["path"] == "/slow":
                    await go.wait()

        served = ScopeMiddleware(app)
        slow = asyncio.ensure_future(served({**HTTP, "path": "/slow"}, nothing, ignored))
        await until(lambda: "/slow" in seen)
        await served({**HTTP, "path": "/quick"}, nothing, ignored)
        left = factory.async_pool().stats().in_use
        go.set()
        await slow
        return left

    assert asyncio.run(serve()) == 1
    assert seen["/slow"] is not seen["/quick"]
    assert [each.commands for each in seen.values() if each] == [2, 2]


async def blocked(client: AsyncRedis) -> None:
    """Wait until somebody waits for something in the server."""
    while not (await client.info("clients"))["blocked_clients"]:
        await asyncio.sleep(0)


def test_a_task_that_outlives_its_request_keeps_what_it_holds(
    factory: PoolFactory, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    """A pin and a subscription that it took before the end of the request go on working."""
    client, later = factory.async_client(), []

    async def work() -> Any:
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub, client.pinned() as pin:
            await pubsub.subscribe("news")
            job = await pin.blpop(["queue"], 60)
            message = None
            while message is None:
                message = await pubsub.get_message(timeout=10)
            return job, message["data"]

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        later.append(asyncio.create_task(work()))
        await blocked(client)

    async def serve() -> Any:
        await ScopeMiddleware(app)(HTTP, nothing, ignored)
        await client.rpush("queue", "a job")
        await client.publish("news", "a message")
        return await later[0]

    assert run(serve()) == ((b"queue", b"a job"), b"a message")
    assert caplog.messages == []


def test_what_a_task_that_outlives_its_request_forgot_goes_back_at_its_end(
    factory: PoolFactory, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    """Not before, and with a line."""
    pool, later, kept = factory.async_pool(), [], []

    async def serve() -> list[int]:
        taken, go = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            kept.append(factory.async_client().pubsub())
            await kept[0].subscribe("news")
            taken.set()
            await go.wait()

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            later.append(asyncio.create_task(work()))
            await taken.wait()

        await ScopeMiddleware(app)(HTTP, nothing, ignored)
        found = [pool.stats().pubsub]
        go.set()
        await later[0]
        await until(lambda: not pool.stats().pubsub)
        return found

    assert run(serve()) == [1]
    (line,) = caplog.messages
    assert line.startswith("AsyncPubSub was not closed by the end of its scope")


def test_what_a_task_takes_after_its_request_is_its_own(factory: PoolFactory, run: Run) -> None:
    """A subscription outlives the task that subscribed, be it one that ``gather`` has made."""
    client, later = factory.async_client(), []

    async def serve() -> int:
        ended = asyncio.Event()

        async def work() -> int:
            await ended.wait()
            async with client.pubsub() as pubsub:
                await asyncio.gather(pubsub.subscribe("news"))
                return await client.publish("news", "a message")

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            later.append(asyncio.create_task(work()))

        await ScopeMiddleware(app)(HTTP, nothing, ignored)
        ended.set()
        return await later[0]

    assert run(serve()) == 1


def test_a_request_that_is_cancelled_loses_nothing(factory: PoolFactory, run: Run) -> None:
    """A client that leaves in the middle of a command costs its connection, and no place."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        pubsub = factory.async_client().pubsub()
        await pubsub.subscribe("news")
        await factory.async_client().blpop(["never"], 60)

    async def serve() -> None:
        pool = factory.async_pool()
        request = asyncio.ensure_future(ScopeMiddleware(app)(HTTP, nothing, ignored))
        await until(lambda: pool.stats().in_use and pool.stats().pubsub)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert (pool.stats().in_use, pool.stats().pubsub) == (0, 0)
        assert await factory.async_client().ping()

    run(serve())


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_messages_pass_through_as_they_are(kind: str) -> None:
    """The middleware hands on the very channels of the server: nothing is held up or copied."""
    seen: list[Any] = []

    async def app(*channels: Any) -> None:
        seen.extend(channels)
        assert scopes.current() is not None

    asyncio.run(ScopeMiddleware(app)({"type": kind}, nothing, ignored))
    assert seen == [{"type": kind}, nothing, ignored]
    assert scopes.current() is None


def test_a_lifespan_is_no_request() -> None:
    """The lifespan of the application, which lasts as long as the process, has no scope."""
    seen: list[Any] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.append(scopes.current())

    asyncio.run(ScopeMiddleware(app)({"type": "lifespan"}, nothing, ignored))
    assert seen == [None]
