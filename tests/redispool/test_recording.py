from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from redis.exceptions import ResponseError

from redispool import AsyncRedis, Redis
from redispool.aio.pipelines import AsyncPipeline
from redispool.pipelines import Pipeline
from redispool.recording import Recorder, record, report
from redispool.recording.masking import shown, size_of
from redispool.recording.recorder import MOST
from redispool.recording.swapping import RUNS, SWAPS
from tests.conftest import MakeAsyncPool, MakePool
from tests.support import Valkey
from tests.support.forks import in_child
from tests.support.loops import Run


@pytest.fixture
def client(make_pool: MakePool) -> Redis:
    """A client with a pool of two connections."""
    return Redis(connection_pool=make_pool(alias="shop", max_connections=2))


def test_a_command_is_recorded_with_all_that_is_known(client: Redis) -> None:
    """Each has its text, time, place, alias and the size of its reply."""
    client.set("key", "x" * 500)
    with record() as recorder:
        client.get("key")

    (found,) = recorder.round_trips
    assert found.commands == ("GET key",)
    assert (found.alias, found.size, found.error) == ("shop", 500, "")
    assert found.place.startswith(f"{__file__}:")
    assert found.place.endswith("in test_a_command_is_recorded_with_all_that_is_known")
    assert 0 < found.seconds <= recorder.seconds


def test_all_that_sends_is_recorded(client: Redis) -> None:
    """Pipelines are one round trip; pins, WATCH, scripts and subscriptions are recorded, too."""
    with record() as recorder:
        client.pipeline().set("a", 1).get("a").execute()
        client.pipeline(transaction=False).get("a").get("b").execute()
        with client.pinned() as pin:
            pin.get("a")
        with client.pipeline() as pipe:
            pipe.watch("a")
            pipe.get("a")
            pipe.multi()
            pipe.incr("a").execute()
        client.register_script("return 1")()
        with client.pubsub() as pubsub:
            pubsub.subscribe("news")

    texts = [each.commands for each in recorder.round_trips]
    assert texts[:6] == [
        ("SET a 1", "GET a"),
        ("GET a", "GET b"),
        ("GET a",),
        ("WATCH a",),
        ("GET a",),
        ("INCRBY a 1",),
    ]
    assert [text[0].split()[0] for text in texts[6:]] == [
        "EVALSHA",
        "SCRIPT",
        "EVALSHA",
        "SUBSCRIBE",
    ]
    assert recorder.commands == sum(map(len, texts))


def test_asyncio_is_recorded_the_same(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """Commands, pipelines and pins of a task, and of those that it begins, with their places."""
    client = AsyncRedis(connection_pool=make_async_pool(alias="loop"))

    async def ask() -> None:
        await client.get("task")

    async def work() -> Recorder:
        with record() as recorder:
            await client.get("a")
            await client.pipeline().set("a", 1).get("a").execute()
            async with client.pinned() as pin:
                await pin.get("b")
            await asyncio.create_task(ask())
        await client.get("after")
        return recorder

    recorder = run(work())
    assert [each.commands for each in recorder.round_trips] == [
        ("GET a",),
        ("SET a 1", "GET a"),
        ("GET b",),
        ("GET task",),
    ]
    assert {each.place.split()[-1] for each in recorder.round_trips} == {"work", "ask"}
    assert [lease.seconds is not None for lease in recorder.leases] == [True]


def test_shared_connections_are_recorded(make_async_pool: MakeAsyncPool, run: Run) -> None:
    """With ``multiplex`` each command is recorded where it was asked."""
    client = AsyncRedis(connection_pool=make_async_pool(multiplex=True))

    async def work() -> Recorder:
        with record() as recorder:
            await asyncio.gather(*(client.get(f"key{number}") for number in range(5)))
        return recorder

    assert len(run(work()).round_trips) == 5


def test_errors_are_recorded_and_raised(client: Redis) -> None:
    """An error goes to the caller as ever, and its class to the record."""
    client.set("text", "x")
    with record() as recorder, pytest.raises(ResponseError, match="integer"):
        client.incr("text")

    assert [each.error for each in recorder.round_trips] == ["ResponseError"]


def test_others_are_not_recorded(client: Redis) -> None:
    """What another thread asks meanwhile, or this one before and after, is not the recorder's."""
    client.ping()
    with record() as recorder:
        thread = threading.Thread(target=client.ping)
        thread.start()
        thread.join()
        with record() as inner:
            client.get("inner")
        client.get("outer")
    client.ping()

    assert [each.commands for each in recorder.round_trips] == [("GET outer",)]
    assert [each.commands for each in inner.round_trips] == [("GET inner",)]


def methods() -> list[Any]:
    """What runs commands now."""
    return [vars(kind)[name] for kind, name, _ in RUNS]


def test_nothing_is_paid_where_nobody_records(client: Redis) -> None:
    """Commands run through the very methods of the classes, before and after; not in between."""
    before, express = methods(), client.connection_pool.express
    with record(), record():
        assert not set(before) & set(methods())
    assert methods() == before
    assert client.connection_pool.express is express
    assert not any(hasattr(method, "__wrapped__") for method in before)


def test_a_process_that_does_not_record_loads_nothing(server: Valkey) -> None:
    """Neither the core nor an adapter in use loads what records, nor a toolbar."""
    script = (
        "import sys, redispool, flask, flask_redispool\n"
        "app = flask.Flask('shop')\n"
        f"app.config['REDIS_URL'] = {server.url!r}\n"
        "flask_redispool.RedisPool(app)\n"
        "with app.app_context(): flask_redispool.redis.ping()\n"
        "import django.conf, django\n"
        "settings = dict(INSTALLED_APPS=['django_redispool'])\n"
        f"django.conf.settings.configure(**settings, REDIS_URL={server.url!r})\n"
        "django.setup()\n"
        "import django_redispool; django_redispool.redis.ping()\n"
        "words = ('recording', 'debug_toolbar', 'debugtoolbar', 'server_timing', 'middleware')\n"
        "print([name for name in sys.modules if 'redispool' in name and name.endswith(words)\n"
        "    or name.partition('.')[0] in ('debug_toolbar', 'flask_debugtoolbar')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_stopping_twice_is_once(client: Redis) -> None:
    """A recorder that was stopped in two places does not end what another one records."""
    first, second = Recorder(), Recorder()
    first.start()
    second.start()
    second.stop()
    second.stop()
    client.get("a")
    first.stop()

    assert len(first.round_trips) == 1
    assert SWAPS._recording == 0


def test_a_forked_child_may_record(client: Redis) -> None:
    """The lock of the swaps may have been held by a thread that the child does not have."""

    def work() -> int:
        with record() as recorder:
            client.get("child")
        return len(recorder.round_trips)

    with SWAPS._lock:
        assert in_child(work) == 1


def test_leases_are_recorded(client: Redis) -> None:
    """What is held for longer than a command is listed with its place, and how long it was held."""
    with record() as recorder, client.pinned():
        with client.connection_pool.connection():
            pass
        shown_within = report(recorder)["leases"]

    assert [lease["held"] == "not given back" for lease in shown_within] == [True, False]
    assert all(lease.seconds is not None for lease in recorder.leases)
    assert all(f"{__file__}:" in lease.place for lease in recorder.leases)


def test_duplicates_and_n_plus_one_are_marked(client: Redis) -> None:
    """A read that was asked before, and many of a kind from one line, are named as such."""
    with record() as recorder:
        client.get("same")
        client.get("same")
        for number in range(4):
            client.get(f"user:{number}")
        for _ in range(3):
            client.incr("hits")  # once more is not the same again
    found = report(recorder)

    assert (found["duplicates"], found["n_plus_one"]) == (1, 1)
    notes = [row["notes"] for row in found["rows"]]
    assert notes[:2] == [["duplicate: asked 2 times"]] * 2
    assert notes[2:6] == [["N+1: 4 different GET from this line; use a pipeline"]] * 4
    assert notes[6:] == [[]] * 3


def test_what_is_kept_has_a_bound(client: Redis) -> None:
    """Beyond a thousand round trips they are only counted."""
    with record() as recorder:
        for _ in range(MOST + 3):
            client.ping()

    assert (len(recorder.round_trips), recorder.asked) == (MOST, MOST + 3)
    assert report(recorder)["left_out"] == 3


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("AUTH", "user", "pw"), "AUTH *** ***"),
        (("auth", b"pw"), "auth ***"),
        (("HELLO", 3, "AUTH", "user", "pw", "SETNAME", "x"), "HELLO 3 AUTH *** *** SETNAME x"),
        (("CONFIG SET", "requirepass", "pw"), "CONFIG SET requirepass ***"),
        (("CONFIG", "SET", "maxmemory", "1mb", "masterauth", "pw"),
         "CONFIG SET maxmemory 1mb masterauth ***"),
        (("CONFIG SET", "tls-key-file-pass", "pw"), "CONFIG SET tls-key-file-pass ***"),
        (("ACL SETUSER", "bob", "on", ">pw", "<old", "~*", "#ab", "!cd"),
         "ACL SETUSER bob on *** *** ~* *** ***"),
        (("MIGRATE", "h", 1, "", 0, 10, "AUTH", "pw", "KEYS", "a"),
         'MIGRATE h 1 "" 0 10 AUTH *** KEYS a'),
        (("MIGRATE", "h", 1, "k", 0, 10, "AUTH2", "u", "pw"), "MIGRATE h 1 k 0 10 AUTH2 *** ***"),
        (("SENTINEL SET", "m", "auth-pass", "pw"), "SENTINEL SET m auth-pass ***"),
        (("SENTINEL CONFIG SET", "sentinel-pass", "pw"), "SENTINEL CONFIG SET sentinel-pass ***"),
        (("SENTINEL", "CONFIG", "GET", "*"), "SENTINEL CONFIG GET *"),
        (("SET", "key", "x" * 70), f"SET key {'x' * 60}… (70)"),
        (("MGET", *range(22)), "MGET " + " ".join(map(str, range(20))) + " … (2 more)"),
        (("SET", b"\xff", memoryview(b"m")), r"SET \xff m"),
    ],
)  # fmt: skip
def test_what_is_shown_is_short_and_holds_no_secret(args: tuple[Any, ...], text: str) -> None:
    """Passwords are masked wherever a command takes one; long arguments and lists are cut."""
    assert shown(args) == text


def test_the_size_of_a_reply() -> None:
    """Bytes of texts and numbers count, in whatever they are."""
    assert size_of([b"abc", "ä", {"k": 12}, {1.5}, None, True]) == 3 + 2 + 1 + 2 + 3 + 1


def test_the_classes_are_those_that_send() -> None:
    """Every client and pipeline of the package is among what is recorded."""
    assert {Redis, AsyncRedis, Pipeline, AsyncPipeline} <= {kind for kind, _, _ in RUNS}
