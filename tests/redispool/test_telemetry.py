from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from redispool import AsyncRedis, ConnectionPool, Redis, telemetry
from tests.conftest import MakeAsyncPool, MakePool
from tests.support.loops import Run
from tests.support.scripted import DROP, ScriptedServer


@pytest.fixture
def spans() -> Iterator[Callable[[], list[str]]]:
    """OpenTelemetry's tracer, switched on; gives the names of the spans since the last look."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    RedisInstrumentor().instrument(tracer_provider=provider)

    def names() -> list[str]:
        found = [span.name for span in exporter.get_finished_spans()]
        exporter.clear()
        return found

    yield names
    RedisInstrumentor().uninstrument()


def test_opentelemetry_sees_commands_and_pipelines(
    pool: ConnectionPool, spans: Callable[[], list[str]]
) -> None:
    """Each has its span, once, whatever way it would go otherwise."""
    client = Redis(connection_pool=pool)
    client.get("a")
    client.get("a")
    client.config_get("maxmemory")
    assert spans() == ["GET", "GET", "CONFIG GET"]

    client.pipeline().set("a", 1).get("a").execute()
    assert spans() == ["SET GET"]

    with client.pipeline() as pipeline:
        pipeline.watch("a")
        pipeline.get("a")
        pipeline.multi()
        pipeline.incr("a")
        assert pipeline.execute() == [2]
    assert spans() == ["WATCH", "GET", "INCRBY"]

    with client.pinned() as pinned:
        pinned.get("a")
    assert spans() == ["GET"]


def test_opentelemetry_sees_them_with_asyncio(
    make_async_pool: MakeAsyncPool, run: Run, spans: Callable[[], list[str]]
) -> None:
    """The same of the client for asyncio."""
    client = AsyncRedis(connection_pool=make_async_pool())

    async def ask() -> None:
        await client.get("a")
        await client.get("a")
        async with client.pipeline() as pipeline:
            await pipeline.set("a", 1).get("a").execute()

    run(ask())
    assert spans() == ["GET", "GET", "SET GET"]


def test_a_tracer_may_come_and_go(pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What wraps redis-py's method, as Sentry does, sees commands from then on until it goes."""
    client, seen = Redis(connection_pool=pool), list[Any]()
    original = redis.Redis.execute_command
    client.set("a", "A")

    def traced(self: Any, name: Any, *args: Any, **options: Any) -> Any:
        seen.append(name)
        return original(self, name, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(redis.Redis, "execute_command", traced)
        assert client.get("a") == b"A"
        assert client.get("a") == b"A"
    assert client.get("a") == b"A"
    assert seen == ["GET", "GET"]


def test_who_is_traced_is_retried_as_safely(
    make_pool: MakePool, scripted: ScriptedServer, spans: Callable[[], list[str]]
) -> None:
    """A tracer changes nothing of it: what reads is sent again, what writes is not."""
    scripted.answer("GET", DROP)
    scripted.answer("INCRBY", DROP)
    client = Redis(connection_pool=make_pool(host=scripted.host, port=scripted.port))

    assert client.get("a") == b"value"
    with pytest.raises(redis.ConnectionError, match="may have executed INCR"):
        client.incr("n")
    assert (scripted.received["GET"], scripted.received["INCRBY"]) == (2, 1)
    assert spans() == ["GET", "INCRBY"]


def test_shared_commands_are_not_traced(
    make_async_pool: MakeAsyncPool, run: Run, spans: Callable[[], list[str]]
) -> None:
    """With MULTIPLEX they go on sharing; docs/asyncio.md says so."""
    pool = make_async_pool(multiplex=True)
    client = AsyncRedis(connection_pool=pool)

    async def ask() -> None:
        await client.get("a")

    run(ask())
    assert spans() == []
    assert pool.stats().shared_commands_total == 1


@pytest.mark.usefixtures("spans")
@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_that_is_traced_is_retried_as_safely(
    make_pool: MakePool,
    make_async_pool: MakeAsyncPool,
    scripted: ScriptedServer,
    run: Run,
    transaction: bool,
) -> None:
    """One that reads is sent again, whole; one that writes is not. So it is with asyncio."""
    where: Any = {"host": scripted.host, "port": scripted.port}
    client = Redis(connection_pool=make_pool(**where))
    aclient = AsyncRedis(connection_pool=make_async_pool(**where))
    scripted.always("EXEC", b"*1\r\n$5\r\nvalue\r\n")

    async def read() -> Any:
        return await aclient.pipeline(transaction=transaction).get("a").execute()

    async def write() -> Any:
        return await aclient.pipeline(transaction=transaction).incr("n").execute()

    for reading, writing in [
        (
            lambda: client.pipeline(transaction=transaction).get("a").execute(),
            lambda: client.pipeline(transaction=transaction).incr("n").execute(),
        ),
        (lambda: run(read()), lambda: run(write())),
    ]:
        scripted.received.clear()
        scripted.answer("GET", DROP)
        scripted.answer("INCRBY", DROP)
        assert reading() == [b"value"]
        with pytest.raises(redis.ConnectionError, match="may have executed the pipeline"):
            writing()
        assert (scripted.received["GET"], scripted.received["INCRBY"]) == (2, 1)


def test_a_tracer_of_one_client_does_not_follow_it_to_a_pin(pool: ConnectionPool) -> None:
    """Its methods are bound to the client: on a pin they would run on other connections."""
    client, other = Redis(connection_pool=pool), Redis(connection_pool=pool)
    RedisInstrumentor.instrument_client(client)

    with client.pinned() as pinned:
        pinned.watch("a")
        other.set("a", "changed")
        pipeline = pinned.pipeline()
        with pytest.raises(redis.WatchError):
            pipeline.incr("a").execute()


BEFORE = """
import functools, sys
import redis, redis.asyncio

def wrap(kind, name):
    original = getattr(kind, name)

    @functools.wraps(original)
    def traced(self, *args, **options):
        seen.append(f"{kind.__module__}.{name}")
        return original(self, *args, **options)

    setattr(kind, name, traced)

seen = []
for module in redis.client, redis.asyncio.client:
    wrap(module.Redis, "execute_command")
    wrap(module.Pipeline, "execute")

import asyncio
from redispool import AsyncRedis, Redis

client = Redis(url=sys.argv[1])
client.get("a"), client.get("a"), client.pipeline().get("a").execute()

async def ask():
    client = AsyncRedis(url=sys.argv[1])
    await client.get("a"), await client.get("a")
    await client.pipeline().get("a").execute()
    await client.aclose()

asyncio.run(ask())
client.close()
print(*seen)
"""


def test_a_tracer_may_have_been_first(flushed: Any) -> None:
    """As Datadog's is, which wraps redis-py's methods when that is imported."""
    ways = ["execute_command", "execute_command", "execute"]
    script = [sys.executable, "-c", BEFORE, flushed.url]
    done = subprocess.run(script, capture_output=True, text=True, check=True)

    assert done.stdout.split() == [
        f"{module}.{name}" for module in ("redis.client", "redis.asyncio.client") for name in ways
    ]


def test_only_redis_pys_own_is_unwrapped() -> None:
    """Nothing that says it is the same passes for it."""
    assert telemetry.unwrapped(redis.Redis, "execute_command") is redis.Redis.execute_command

    class Client(redis.Redis):
        @functools.wraps(redis.Redis.execute_command)
        def execute_command(self, *args: Any, **options: Any) -> Any:
            return super().execute_command(*args, **options)

    Client.__module__ = redis.Redis.__module__
    assert telemetry.unwrapped(Client, "execute_command") is None


@pytest.mark.usefixtures("spans")
def test_a_proxy_is_not_taken_for_what_it_wraps() -> None:
    """OpenTelemetry's has all attributes of the method, those of a function among them."""
    assert telemetry.unwrapped(redis.Redis, "execute_command") is None
