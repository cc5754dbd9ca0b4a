from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import socket
import ssl
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import trustme

from redispool import AsyncRedis
from redispool.aio.line import Line, TLSLine
from redispool.aio.watch import READ, EpollWatch, LoopWatch, Watches, watches
from tests.conftest import MakeAsyncPool
from tests.support.forks import in_child
from tests.support.loops import Run, until

KINDS = [EpollWatch, LoopWatch]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """Both ways to watch, the one for systems without epoll among them."""
    monkeypatch.setattr(Watches, "kind", request.param)
    monkeypatch.setattr(watches, "_by_loop", {})
    kind: type[Any] = request.param
    return kind


@pytest.fixture
def pair() -> Iterator[tuple[Line, socket.socket]]:
    """A line, and its other end."""
    near, far = socket.socketpair()
    near.setblocking(False)
    line = Line(near)
    yield line, far
    line.close()
    far.close()


@pytest.mark.usefixtures("kind")
def test_it_serves_loops_one_after_the_other(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Where there is no epoll, too, a connection serves the loops as they come."""
    client = AsyncRedis(connection_pool=make_async_pool(max_connections=2))

    async def work() -> None:
        assert await asyncio.gather(*[client.echo("x") for _ in range(20)]) == [b"x"] * 20
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client.blpop(["nothing"], 60)

    for _ in range(3):
        run(work())

    assert client.connection_pool.stats().in_use == 0


@pytest.mark.usefixtures("kind")
def test_it_keeps_nothing_of_a_request(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """What is in the context of a request goes with it, of the first one of a long loop too."""
    client = AsyncRedis(connection_pool=make_async_pool())
    request: contextvars.ContextVar[set[str]] = contextvars.ContextVar("request")

    async def view() -> weakref.ref[set[str]]:
        found = set[str]()
        request.set(found)
        await client.echo("x")
        await client.blpop(["nothing"], 0.01)
        return weakref.ref(found)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        seen = [await loop.create_task(view()) for _ in range(3)]
        await asyncio.sleep(0)  # the turn that ended the last one
        gc.collect()
        assert [reference() for reference in seen] == [None] * 3

    run(serve())


@pytest.mark.usefixtures("kind")
def test_waits_end_in_time(pair: tuple[Line, socket.socket], run: Run) -> None:
    """Whoever waits is told what came, or that nothing came in time; each has his own time."""
    line, far = pair

    async def work() -> None:
        assert await line.until(READ, 0.01) is False
        waiting = asyncio.ensure_future(line.until(READ, 60))
        far.send(b"x")
        assert await waiting is True
        line.sock.recv(1)
        assert await line.until(READ, 0.01) is False

    run(work())


@pytest.mark.usefixtures("kind")
def test_one_task_at_a_time_reads(pair: tuple[Line, socket.socket], run: Run) -> None:
    """A second task that would read the same line is refused; one after a cancelled one is not."""
    line, far = pair

    async def work() -> None:
        first = line.until(READ, 60)
        with pytest.raises(RuntimeError, match="another task waits"):
            line.until(READ, 60)
        first.cancel()
        far.send(b"x")
        assert await line.until(READ, 60) is True

    run(work())


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_closing_wakes_who_waits(
    pair: tuple[Line, socket.socket], elsewhere: bool, run: Run
) -> None:
    """A line that is closed, be it by another thread, ends the wait of its reader."""
    line, _ = pair

    async def work() -> None:
        waiting = asyncio.ensure_future(line.until(READ, 60))
        await asyncio.sleep(0)  # the wait has begun
        if elsewhere:
            thread = threading.Thread(target=line.close)
            thread.start()
            thread.join()
        else:
            line.close()
        await until(waiting.done)

    run(work())


@pytest.mark.usefixtures("kind")
def test_the_number_of_a_line_that_another_thread_closed(
    pair: tuple[Line, socket.socket], run: Run
) -> None:
    """Who has it next can wait for it at once, before the loop has had a turn."""
    line, _ = pair

    async def work() -> None:
        line.until(READ, 60)
        thread = threading.Thread(target=line.close)
        thread.start()
        thread.join()
        ends = socket.socketpair()
        assert line.fd in [end.fileno() for end in ends]
        lines = [Line(end) for end in ends]
        waits = [each.until(READ, 5) for each in lines]
        for end in ends:
            end.send(b"x")
        assert await asyncio.gather(*waits) == [True, True]
        for each in lines:
            each.close()

    run(work())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_line_that_is_closed_while_its_wait_begins(
    kind: type[Any],
    pair: tuple[Line, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    run: Run,
) -> None:
    """Its reader is told, and whoever has the number of the socket next can wait for his own."""
    line, _ = pair
    watch_for = kind._watch_for

    def while_another_closes(self: Any, known: Line, event: int, loop: Any) -> None:
        closing = threading.Thread(target=line.close)
        for step in (closing.start, closing.join) if moment == "before" else ():
            step()
        watch_for(self, known, event, loop)
        for step in (closing.start, closing.join) if moment == "after" else ():
            step()

    async def work() -> None:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(kind, "_watch_for", while_another_closes)
            with pytest.raises((redis.ConnectionError, OSError, ValueError)):
                line.until(READ, 60)
        near, far = socket.socketpair()
        numbers = [near.fileno(), far.fileno()]
        assert line.fd in numbers
        near.setblocking(False)
        far.setblocking(False)
        lines = Line(near), Line(far)
        for own, other in (lines, lines[::-1]):
            other.sock.send(b"x")
            assert await own.until(READ, 5) is True
        for each in lines:
            each.close()

    run(work())


@pytest.mark.usefixtures("kind")
def test_what_a_forked_child_closes_goes_on_for_its_parent(
    pair: tuple[Line, socket.socket], run: Run
) -> None:
    """A child shares the sets of its parent: it closes its copy of a line, and takes none out."""
    line, far = pair

    async def work() -> bool:
        waiting = line.until(READ, 10)
        in_child(line.close)
        far.send(b"x")
        return await waiting

    assert run(work()) is True


def test_tls_tells_what_has_gone() -> None:
    """Of what does not fit the other side can read no more than was said to have gone.

    What was not said to have gone is sent again elsewhere: that must not run twice.
    """
    authority = trustme.CA()
    contexts = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(contexts[0])
    authority.issue_cert("localhost").configure_cert(contexts[1])
    ends = socket.socketpair()
    with ThreadPoolExecutor() as threads:
        far = threads.submit(contexts[1].wrap_socket, ends[1], server_side=True)
        near = contexts[0].wrap_socket(ends[0], server_hostname="localhost")
        with far.result() as other:
            near.setblocking(False)
            line, data, sent = TLSLine(near), b"x" * 10_000_000, 0
            while gone := line.send_at_once(data[sent:]):
                sent += gone
            line.close()
            read = 0
            with contextlib.suppress(OSError):  # it was cut off, which OpenSSL or the system tells
                while piece := other.recv(100_000):
                    read += len(piece)
    assert 0 < read == sent < len(data)


def test_a_loop_that_cannot_watch_is_refused() -> None:
    """A loop without ``add_reader``, such as Windows' own, is told of, with what to do."""

    class Proactor(asyncio.AbstractEventLoop):
        pass

    with pytest.raises(NotImplementedError, match="SelectorEventLoop"):
        Watches().of(Proactor())
