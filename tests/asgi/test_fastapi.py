"""FastAPI and Starlette, through their test client."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from redispool import AsyncRedis, PoolFactory, Redis, Scope, asgi, scopes

from ..support import Valkey, careless, eventually
from ..support.careless import ASYNC_KINDS, CarelessTask, keep_a_pin, keep_an_async_pin

CARELESS = [pytest.param(work, id=kind) for work, kind in ASYNC_KINDS.items()]


@pytest.fixture(autouse=True)
def _drop_what_was_kept() -> Any:
    """What tests kept, they drop."""
    yield
    careless.kept.clear()


# Not "app": pytest-flask takes what is called so for one of Flask.
@pytest.fixture
def shop(factory: PoolFactory) -> FastAPI:
    """An application with pools and scopes."""
    app = FastAPI(lifespan=asgi.lifespan(factory))
    app.add_middleware(asgi.ScopeMiddleware)
    return app


def held(factory: PoolFactory) -> int:
    """How many connections somebody holds."""
    pools = [*factory.stats().values(), *factory.async_stats().values()]
    return sum(each.in_use + each.pubsub for each in pools)


def test_dependencies_in_views_of_all_kinds(
    shop: FastAPI, factory: PoolFactory, flushed: Valkey
) -> None:
    """An async view, a view in a thread and a WebSocket get the client that they ask for."""
    asynchronous, threaded = Depends(asgi.async_client(factory)), Depends(asgi.client(factory))

    # As defaults: annotations are read where FastAPI finds no names of this function.
    @shop.get("/async")
    async def view(redis: Any = asynchronous) -> int:
        assert isinstance(redis, AsyncRedis)
        return int(await redis.incr("hits"))

    @shop.get("/sync")
    def view_in_a_thread(redis: Any = threaded) -> Any:
        assert isinstance(redis, Redis)
        return redis.incr("hits")

    @shop.websocket("/socket")
    async def socket(websocket: WebSocket, redis: Any = asynchronous) -> None:
        await websocket.accept()
        await websocket.send_json(await redis.incr("hits"))
        await websocket.close()

    with TestClient(shop) as client:
        assert (client.get("/async").json(), client.get("/sync").json()) == (1, 2)
        with client.websocket_connect("/socket") as connection:
            assert connection.receive_json() == 3
        # No argument of ours has become one of the address.
        assert all(not each.get("parameters") for each in operations(client))
    eventually(lambda: not flushed.clients())


def operations(client: TestClient) -> list[dict[str, Any]]:
    """What the application tells of its addresses."""
    paths = client.get("/openapi.json").json()["paths"]
    return [each for path in paths.values() for each in path.values()]


def test_each_start_has_new_pools(shop: FastAPI, factory: PoolFactory) -> None:
    """With one test client after the other the same application and clients work on."""
    aredis = factory.async_client()

    @shop.get("/")
    async def view() -> int:
        return int(await aredis.incr("hits"))

    for hits in (1, 2, 3):
        with TestClient(shop) as client:
            assert client.get("/").json() == hits


def test_without_its_lifespan_the_application_says_so(shop: FastAPI, factory: PoolFactory) -> None:
    """The error of the dependency reaches whoever forgot the ``with`` of the test client."""

    @shop.get("/")
    async def view(redis: Any = Depends(asgi.async_client(factory))) -> None:
        raise AssertionError("it does not come to this")

    with pytest.raises(RuntimeError, match=r"with TestClient\(app\) as client:"):
        TestClient(shop).get("/")


def test_in_a_mounted_application(factory: PoolFactory) -> None:
    """Starlette runs the outer lifespan alone, and the dependencies of a mounted one find it."""
    inner = FastAPI()

    @inner.get("/")
    async def view(redis: Any = Depends(asgi.async_client(factory))) -> bool:
        return bool(await redis.ping())

    outer = Starlette(routes=[Mount("/inner", inner)], lifespan=asgi.lifespan(factory))
    with TestClient(outer) as client:
        assert client.get("/inner/").json() is True


def test_the_state_of_the_applications_own_lifespan(factory: PoolFactory) -> None:
    """What the inner lifespan gives is in the state of each request."""

    @contextlib.asynccontextmanager
    async def own(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"first": await factory.async_client().incr("starts")}

    async def view(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.state.first))

    app = Starlette(routes=[Route("/", view)], lifespan=asgi.lifespan(factory, own))
    with TestClient(app) as client:
        assert client.get("/").text == "1"


def test_a_test_gives_other_clients(shop: FastAPI, factory: PoolFactory) -> None:
    """A dependency is replaced as FastAPI's users do it, with ``dependency_overrides``."""
    get_redis = asgi.async_client(factory)

    @shop.get("/")
    async def view(redis: Any = Depends(get_redis)) -> str:
        return str(redis)

    shop.dependency_overrides[get_redis] = lambda: "another"
    assert TestClient(shop).get("/").json() == "another"


@pytest.mark.parametrize("error", [False, True], ids=["answers", "raises"])
@pytest.mark.parametrize("work", CARELESS)
def test_what_a_view_forgot_goes_back(
    shop: FastAPI,
    factory: PoolFactory,
    caplog: pytest.LogCaptureFixture,
    work: CarelessTask,
    error: bool,
) -> None:
    """At the end of a request, however it ended, with one line that says what and where."""
    seen: list[int] = []

    @shop.get("/")
    async def view() -> str:
        await work(factory.async_client())
        seen.append(held(factory))
        if error:
            raise LookupError("the view failed")
        return ""

    with TestClient(shop, raise_server_exceptions=False) as client:
        assert client.get("/").status_code == (500 if error else 200)
        assert (seen, held(factory)) == ([1], 0)
    (line,) = [each for each in caplog.records if each.name == "redispool"]
    assert line.levelno == logging.WARNING
    assert line.getMessage().startswith(f"{ASYNC_KINDS[work]} was not closed by the end of its")


def test_what_a_view_in_a_thread_forgot_goes_back(shop: FastAPI, factory: PoolFactory) -> None:
    """The scope is there in the threads of ``def`` views, too."""
    seen: list[int] = []

    @shop.get("/")
    def view() -> None:
        keep_a_pin(factory.client())
        seen.append(held(factory))

    with TestClient(shop) as client:
        client.get("/")
        assert (seen, held(factory)) == ([1], 0)


def test_a_stream_keeps_what_its_view_took(shop: FastAPI, factory: PoolFactory) -> None:
    """The scope lasts until the last piece of an answer, and ends with it."""
    aredis = factory.async_client()

    @shop.get("/")
    async def view() -> StreamingResponse:
        pubsub = aredis.pubsub()
        await pubsub.subscribe("news")
        careless.kept.append(pubsub)

        async def pieces() -> AsyncIterator[str]:
            for _ in range(3):
                yield str(held(factory))

        return StreamingResponse(pieces())

    with TestClient(shop) as client:
        assert client.get("/").text == "111"
        assert held(factory) == 0


def test_background_tasks_belong_to_the_request(shop: FastAPI, factory: PoolFactory) -> None:
    """What runs after the answer, as a part of the request, is counted and looked after."""
    seen: list[Scope | None] = []

    async def later() -> None:
        await keep_an_async_pin(factory.async_client())
        await factory.async_client().ping()
        seen.append(scopes.current())

    @shop.get("/")
    async def view(tasks: BackgroundTasks) -> None:
        await factory.async_client().ping()
        tasks.add_task(later)

    with TestClient(shop) as client:
        client.get("/")
        assert held(factory) == 0
    assert [each.commands for each in seen if each] == [2]
