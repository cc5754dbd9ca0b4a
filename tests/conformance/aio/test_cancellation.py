"""Cancellation: always delivered, never a wrong reply, never a lost place."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redispool import AsyncConnectionPool, AsyncRedis
from redispool.aio.conversation import AsyncConversation
from tests.conftest import MakeAsyncPool
from tests.support import HANG, ScriptedServer
from tests.support.loops import Run, cancel_at, outcome_of, until
from tests.support.scale import scale

KEYS = 20
CANCELLED = scale(1_000_000, 1000)
"""How many commands are cancelled; somewhat more are run to their end."""
AT_ONCE = 60


class Fuzz:
    """Tasks that read keys whose values name them, and are cancelled at random moments."""

    def __init__(self, client: AsyncRedis, seed: int = 1) -> None:
        self.client = client
        self.random = random.Random(seed)
        self.wrong = self.swallowed = self.cancelled = self.right = 0

    async def run(self, cancelled: int) -> None:
        """Run commands until so many were cancelled, some of these twice; about as many succeed."""
        await self.client.mset({f"key{key}": f"value{key}" for key in range(KEYS)})
        while self.cancelled < cancelled and not self.swallowed:
            await asyncio.gather(*[self._one() for _ in range(AT_ONCE)])

    async def _one(self) -> None:
        key = self.random.randrange(KEYS)
        task = asyncio.ensure_future(self.client.get(f"key{key}"))
        cancelled = False
        if self.random.random() < 0.5:
            for _ in range(self.random.randrange(8)):
                await asyncio.sleep(0)
            for _ in range(1 + (self.random.random() < 0.3)):
                cancelled = task.cancel() or cancelled
        found = await outcome_of(task)
        if isinstance(found, asyncio.CancelledError):
            self.cancelled += 1
        elif cancelled:
            self.swallowed += 1
        elif found == f"value{key}".encode():
            self.right += 1
        else:
            self.wrong += 1


def test_no_wrong_reply_no_lost_place_no_swallowed_cancellation(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """Of commands that are cancelled at any moment none is answered to somebody else."""
    pool = make_async_pool(max_connections=10)
    fuzz = Fuzz(AsyncRedis(connection_pool=pool))

    run(fuzz.run(CANCELLED))

    stats = pool.stats()
    assert (fuzz.wrong, fuzz.swallowed, stats.in_use, stats.waiting) == (0, 0, 0, 0)
    assert fuzz.cancelled >= CANCELLED
    assert fuzz.right > 100
    assert stats.idle + stats.permits == 10
    assert stats.created_total <= fuzz.cancelled + 10


def test_the_fuzz_finds_connections_that_are_kept(
    make_async_pool: MakeAsyncPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps the connection of a cancelled command is found out: wrong replies come."""

    async def read(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await self._line.read()
        finally:
            self.ledger.reset()

    async def ask(self: Any, args: Any, options: Any) -> Any:
        await self.send_command(*args)
        return await read(self)

    monkeypatch.setattr(AsyncConversation, "ask", ask)
    pool = make_async_pool(max_connections=10)
    fuzz = Fuzz(AsyncRedis(connection_pool=pool))

    asyncio.run(fuzz.run(1000))

    assert fuzz.wrong > 0


WORK: dict[str, Callable[[AsyncRedis], Any]] = {}


def work(function: Callable[[AsyncRedis], Any]) -> Callable[[AsyncRedis], Any]:
    """Note something that programs do; it gives what it read, each value naming its key."""
    WORK[function.__name__] = function
    return function


@work
async def get(client: AsyncRedis) -> Any:
    """Get."""
    return [await client.get("key1")]


@work
async def pipeline(client: AsyncRedis) -> Any:
    """Pipeline."""
    return await client.pipeline(transaction=False).get("key1").get("key2").execute()


@work
async def transaction(client: AsyncRedis) -> Any:
    """Transaction."""
    return await client.pipeline().get("key1").get("key2").execute()


@work
async def watch(client: AsyncRedis) -> Any:
    """Watch."""
    async with client.pipeline() as pipe:
        await pipe.watch("key1")
        first = await pipe.get("key1")
        pipe.multi()
        return [first, *await pipe.get("key2").execute()]


@work
async def pinned(client: AsyncRedis) -> Any:
    """Pinned."""
    async with client.pinned() as pin:
        await pin.execute_command("SELECT", 0)
        return [await pin.get("key1"), await pin.get("key2")]


@work
async def script(client: AsyncRedis) -> Any:
    """Script."""
    run_script = client.register_script("return redis.call('GET', KEYS[1])")
    return [await run_script(keys=["key1"])]


@work
async def blocking(client: AsyncRedis) -> Any:
    """Blocking."""
    return [(await client.blpop(["list"], timeout=5))[1]]


@work
async def lock(client: AsyncRedis) -> Any:
    """Lock."""
    async with client.lock("lock", timeout=1, blocking_timeout=0.01):
        return [await client.get("key1")]


@work
async def subscription(client: AsyncRedis) -> Any:
    """Subscription."""
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        message = await pubsub.get_message(timeout=1.0)
        assert message
        return [await client.get("key1")]


@work
async def dropped_subscription(client: AsyncRedis) -> Any:
    """Dropped subscription."""
    pubsub = client.pubsub()
    await pubsub.subscribe("news")
    return [await client.get("key1")]


@pytest.mark.filterwarnings("ignore:.*was never given back")
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
@pytest.mark.parametrize("how", ["early", "late", "twice"])
@pytest.mark.parametrize("name", sorted(WORK))
def test_cancelled_at_every_suspension(
    make_async_pool: MakeAsyncPool, run: Run, name: str, how: str, cold: bool
) -> None:
    """Wherever a task waits when it is cancelled, it is told, and it leaves nothing behind."""
    pool = make_async_pool(max_connections=2, max_pubsub=1, timeout=2.0)
    client = AsyncRedis(connection_pool=pool)

    async def at_every_suspension() -> int:
        await client.mset({"key1": "value1", "key2": "value2"})
        suspension = 1
        while True:
            if cold:
                pool.recycle()
            await client.delete("lock", "list")
            await client.rpush("list", "value1")
            ended = await cancel_at(
                suspension, WORK[name](client), late=how == "late", times=1 + (how == "twice")
            )
            assert await client.get("key2") == b"value2"
            assert (pool.stats().in_use, pool.stats().pubsub) == (0, 0)
            if not ended.struck:
                assert ended.outcome[0] == b"value1"
                return suspension
            assert isinstance(ended.outcome, asyncio.CancelledError)
            suspension += 1

    assert run(at_every_suspension()) > 1


def test_a_timeout_of_the_caller_ends_a_blocking_command(
    make_async_pool: MakeAsyncPool, run: Run
) -> None:
    """``asyncio.timeout`` ends a BLPOP in time, and the next command gets its own reply."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=1))

    async def block() -> Any:
        await client.set("key", "value")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.blpop(["nothing"], timeout=60)
        return await client.get("key")

    assert run(block()) == b"value"


@pytest.mark.parametrize("handed_over", [False, True], ids=["before", "after"])
def test_cancelled_while_waiting_for_a_place(
    make_async_pool: MakeAsyncPool, run: Run, handed_over: bool
) -> None:
    """A waiter that is cancelled, before or after it got a place, leaves it to the next one."""
    pool = make_async_pool(max_connections=1, timeout=60.0)

    async def wait() -> None:
        held = await pool.acquire()
        first, second = (asyncio.ensure_future(pool.acquire()) for _ in range(2))
        await until(lambda: pool.stats().waiting == 2)
        if handed_over:
            pool.release(held)
        first.cancel()
        if not handed_over:
            await asyncio.sleep(0)
            pool.release(held)
        assert isinstance(await outcome_of(first), asyncio.CancelledError)
        pool.release(await second)

    run(wait())

    assert (pool.stats().in_use, pool.stats().waiting, pool.stats().cancelled_total) == (0, 0, 1)


def test_cancelled_in_the_handshake(scripted: ScriptedServer, run: Run) -> None:
    """A dial that is cancelled while the server is silent gives its place back, and hangs up."""
    pool = AsyncConnectionPool(host=scripted.host, port=scripted.port, max_connections=1)
    client = AsyncRedis(connection_pool=pool)

    async def dial() -> None:
        scripted.answer("CLIENT", HANG, HANG, HANG)
        task = asyncio.ensure_future(client.get("key"))
        await until(lambda: scripted.received["CLIENT"])
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)
        assert (pool.stats().in_use, pool.stats().permits) == (0, 1)
        assert await client.get("key") == b"value"

    run(dial())
    pool.close()


def test_cancelled_while_connecting(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """A dial that is cancelled before the server accepts gives its place back at once."""
    pool = make_async_pool(host="192.0.2.1", max_connections=1)  # no such host answers

    async def dial() -> None:
        task = asyncio.ensure_future(pool.acquire())
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError | Exception)

    run(dial())

    assert (pool.stats().in_use, pool.stats().connecting, pool.stats().permits) == (0, 0, 1)


def test_a_write_is_not_repeated(scripted: ScriptedServer, run: Run) -> None:
    """An INCR whose reply is lost, because the server is silent, is never sent twice."""
    client = AsyncRedis(host=scripted.host, port=scripted.port, socket_timeout=0.1)

    async def increment() -> None:
        scripted.answer("INCR", HANG)
        with pytest.raises(redis.TimeoutError, match="may have executed INCR"):
            await client.execute_command("INCR", "hits")
        await client.aclose()

    run(increment())

    assert scripted.received["INCR"] == 1
