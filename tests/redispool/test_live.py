from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from redispool import AsyncRedis, PoolFactory, PoolTimeout, board, live, whereabouts
from redispool.figures import CREATED, Record
from redispool.live import LivePool, Unreadable
from tests.conftest import MakePool
from tests.support import Valkey, eventually
from tests.support.forks import in_child
from tests.support.loops import Run
from tests.support.moments import at_line

PROGRAM = """
import sys, json
from redispool import PoolFactory
factory = PoolFactory(sys.argv[1], base_path=sys.argv[2])
redis = factory.client()
for number in range(int(sys.argv[3])):
    redis.get(f"key{number}")
with redis.pinned() as pin:
    pin.ping()
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def factory(flushed: Valkey, tmp_path: Path) -> Iterator[PoolFactory]:
    """Pools of an application that has `tmp_path` to itself."""
    with PoolFactory(flushed.url, base_path=tmp_path) as made:
        yield made


def other_process(server: Valkey, application: Path, commands: int) -> subprocess.Popen[str]:
    """Another process of the application, which holds one connection until it is told to end."""
    arguments = [server.url, str(application), str(commands)]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Let another process come to its end."""
    process.communicate("\n", timeout=20)


def of_process(factory: PoolFactory, process: int) -> list[LivePool]:
    """The pools of one process."""
    return [pool for pool in factory.live() if pool.process == process]


def test_the_pools_of_every_process_are_seen(
    factory: PoolFactory, flushed: Valkey, tmp_path: Path
) -> None:
    """A row for each process: what it did, who holds a connection, since when and taken where."""
    factory.client().ping()
    other = other_process(flushed, tmp_path, commands=7)

    mine, its = sorted(factory.live(), key=lambda pool: pool.process != os.getpid())
    end(other)

    assert (mine.process, mine.stats.acquired_total, mine.stats.idle) == (os.getpid(), 1, 1)
    assert (its.process, its.program, its.face) == (other.pid, "-c", "threads")
    assert (its.stats.acquired_total, its.stats.in_use, its.stats.permits) == (8, 1, 49)
    [holder] = its.holders
    assert holder.name == "thread MainThread"
    assert holder.place == "<string>:8 in <module>"
    assert 0.0 < holder.seconds <= its.stats.oldest_lease_seconds


def test_the_figures_are_those_of_the_pool(factory: PoolFactory) -> None:
    """Read from outside, a pool has the figures that it gives itself: all of them."""
    client = factory.client()
    for _ in range(5):
        client.get("key")
    with client.pipeline() as pipe:
        pipe.set("key", 1).get("key").execute()
    with pytest.raises(redis.ResponseError):
        client.hget("key", "field")

    [seen] = factory.live()

    own = factory.stats()["default"]
    assert seen.stats == own
    assert own.acquired_total == 7
    assert own.requests_total == sum(own.use_buckets)


def test_an_idle_process_is_shown_as_it_is(
    factory: PoolFactory, flushed: Valkey, tmp_path: Path
) -> None:
    """The last command counts at once, though its process does nothing after it."""
    other = other_process(flushed, tmp_path, commands=3)
    assert of_process(factory, other.pid)[0].stats.in_use == 1

    os.kill(other.pid, signal.SIGSTOP)  # it cannot even tell
    stopped = of_process(factory, other.pid)
    os.kill(other.pid, signal.SIGCONT)
    end(other)

    assert [pool.stats.acquired_total for pool in stopped] == [4]


def test_a_killed_process_leaves_no_row(
    factory: PoolFactory, flushed: Valkey, tmp_path: Path
) -> None:
    """What it left is removed by whoever looks next, be its number in use again."""
    other = other_process(flushed, tmp_path, commands=1)
    [left] = factory.directory.glob(f"{other.pid}-*") if factory.directory else []

    other.kill()
    other.communicate()

    assert left.exists()
    assert factory.live() == []
    assert not left.exists()


def test_a_process_that_ends_removes_its_files(
    factory: PoolFactory, flushed: Valkey, tmp_path: Path
) -> None:
    """At the end of the interpreter nothing is left, though nobody closed the pools."""
    assert factory.directory is not None
    end(other_process(flushed, tmp_path, commands=1))

    assert list(factory.directory.iterdir()) == []


def test_a_number_that_is_used_again_is_not_mistaken(factory: PoolFactory) -> None:
    """Not the process number says whether a file is alive, but who has it locked."""
    client = factory.client()
    client.ping()
    assert factory.directory is not None
    own = factory.pool()._boards["own"]
    assert own is not None
    # As if a process of this one's number had been killed before.
    dead = own.path.with_name(f"{os.getpid()}-00000000{board.SUFFIX}")
    dead.write_bytes(own.image())

    def alive() -> list[int]:
        return [pool.process for pool in factory.live()]

    assert in_child(alive) == [os.getpid()]
    assert not dead.exists()
    assert own.path.exists()


def test_a_forked_child_gets_a_row_of_its_own(factory: PoolFactory) -> None:
    """The child counts from 0; its row goes with it, and the parent's stays."""
    client = factory.client()
    for _ in range(3):
        client.ping()

    def figures() -> dict[int, int]:
        return {pool.process: pool.stats.acquired_total for pool in factory.live()}

    def child() -> tuple[int, dict[int, int], dict[int, int]]:
        before = figures()
        client.ping()
        return os.getpid(), before, figures()

    number, before, after = in_child(child)

    assert before == {os.getpid(): 3}
    assert after == {os.getpid(): 3, number: 1}
    assert figures() == {os.getpid(): 3}


def test_an_outage_is_seen(own_server: Valkey, tmp_path: Path) -> None:
    """Since when the server is away and why, from a process that only looks; and its end."""
    with PoolFactory({"default": {"url": own_server.url, "retries": 0}}, base_path=tmp_path) as f:
        f.client().ping()
        own_server.stop()
        for _ in range(2):  # the first finds the line broken, the second nobody to dial
            with pytest.raises(redis.ConnectionError):
                f.client().ping()
        [away] = in_child(f.live)
        own_server.start()
        eventually(lambda: answers(f))
        [back] = in_child(f.live)

    assert away.stats.away_seconds > 0.0
    assert "refused" in away.stats.away_reason
    assert (back.stats.away_seconds, back.stats.away_reason) == (0.0, "")


def test_an_idle_pool_is_told_of_the_end_by_others(own_server: Valkey, tmp_path: Path) -> None:
    """An outage is over when another one has reached the server later; not by an older success."""
    settings = {"default": {"url": own_server.url, "retries": 0}}
    with (
        PoolFactory(settings, base_path=tmp_path) as idle,
        PoolFactory(settings, base_path=tmp_path) as busy,
    ):
        idle.client().ping()
        busy.client().ping()
        own_server.stop()
        eventually(lambda: finds_away(idle))
        at_first = [pool.stats.away_reason for pool in idle.live() if pool.stats.away_seconds]
        own_server.start()
        eventually(lambda: answers(busy))
        back = eventually(lambda: not any(away_seconds(idle)) and away_seconds(idle))
        own_opinion = idle.stats()["default"].away_seconds
        own_server.stop()
        # Not with its first command, perhaps: in the pause between two dials it does not dial.
        again = eventually(
            lambda: finds_away(idle) and [p for p in idle.live() if p.stats.away_seconds]
        )

    assert len(at_first) == 1  # busy has not noticed
    assert back == [0.0, 0.0]
    assert own_opinion > 0.0
    assert len(again) == 1


def test_who_waits_for_a_server_sees_for_itself(factory: PoolFactory) -> None:
    """Where callers wait, the outage stays, though another process has reached the server."""
    factory.client().ping()
    [well] = factory.live()
    away = replace(well, stats=replace(well.stats, away_seconds=3.0))
    waits = replace(well, stats=replace(away.stats, waiting=1))
    pools = {"well": well, "away": away, "waits": waits, "refuses": away, "failed first": away}
    dials = {
        "well": live.Dials(12.0, 12.0),
        "away": live.Dials(1.0, 0.5),
        "waits": live.Dials(1.0, 0.5),
        "refuses": live.Dials(12.5, 0.5),  # at once, whoever calls between two dials
        "failed first": live.Dials(12.1, 0.0),
    }

    told = live._without_old_outages(pools, dials, now=13.0)

    assert [pool.stats.away_seconds for pool in told] == [0.0, 0.0, 3.0, 3.0, 3.0]


def away_seconds(factory: PoolFactory) -> list[float]:
    """What all processes are shown with."""
    return [pool.stats.away_seconds for pool in factory.live()]


def finds_away(factory: PoolFactory) -> bool:
    """Whether a command finds nobody to dial; the first one finds the line broken."""
    with pytest.raises(redis.ConnectionError):
        factory.client().ping()
    return factory.stats()["default"].away_seconds > 0


def answers(factory: PoolFactory) -> bool:
    """Whether the server is there again."""
    try:
        return factory.client().ping()
    except redis.RedisError:
        return False


def test_who_waits_is_seen(flushed: Valkey, tmp_path: Path) -> None:
    """How many wait, for how long the first of them, and who ran out of time."""
    options = {"url": flushed.url, "max_connections": 1, "timeout": 30.0}
    with PoolFactory({"default": options}, base_path=tmp_path) as factory:
        client, pool = factory.client(), factory.pool()
        with pool.connection():
            threads = [threading.Thread(target=client.ping) for _ in range(3)]
            for thread in threads:
                thread.start()
            eventually(lambda: pool.stats().waiting == 3)
            [crowded] = in_child(factory.live)
            with pytest.raises(PoolTimeout):
                pool.acquire(timeout=0.01)
        for thread in threads:
            thread.join()
        [quiet] = in_child(factory.live)

    assert (crowded.stats.waiting, crowded.stats.in_use) == (3, 1)
    assert crowded.stats.oldest_wait_seconds > 0.0
    assert (quiet.stats.waiting, quiet.stats.oldest_wait_seconds) == (0, 0.0)
    assert (quiet.stats.timeouts_total, quiet.stats.acquired_waited_total) == (1, 3)
    assert sum(quiet.stats.wait_buckets) == 3


def test_subscriptions_are_figures_of_their_pool(factory: PoolFactory) -> None:
    """They have no row to themselves, and are seen where nothing but a subscription was made."""
    with factory.client().pubsub() as subscription:
        subscription.subscribe("news")
        [seen] = in_child(factory.live)

    assert (seen.stats.pubsub, seen.stats.in_use, seen.stats.max_connections) == (1, 0, 50)


def test_both_faces_have_a_row(factory: PoolFactory, run: Run) -> None:
    """The pool for threads and that for asyncio are two pools."""

    async def ask(client: AsyncRedis) -> None:
        await client.ping()

    factory.client().ping()
    run(ask(factory.async_client()))

    assert [pool.face for pool in factory.live()] == ["asyncio", "threads"]


def test_a_bigger_pool_shows_all_its_places(flushed: Valkey, tmp_path: Path) -> None:
    """The file grows with the pool; a smaller one keeps what was counted."""
    options = {"url": flushed.url, "max_connections": 1}
    with PoolFactory({"default": options}, base_path=tmp_path) as factory:
        pool = factory.pool()
        pool.resize(board.RECORDS + 10)
        pool.warm_up(board.RECORDS + 5)
        [big] = in_child(factory.live)
        pool.resize(2)
        [small] = in_child(factory.live)

    assert (big.stats.idle, big.stats.permits) == (board.RECORDS + 5, 5)
    assert (small.stats.max_connections, small.stats.acquired_total) == (2, board.RECORDS + 5)
    assert small.stats.idle + small.stats.permits == 2


def test_no_place_is_written_over(tmp_path: Path) -> None:
    """Whoever asks for a place while another does, at whatever line: both keep what they note."""
    line, came_to_that = 0, [True]
    while came_to_that:
        shown = board.Board(tmp_path, {"alias": str(line)})
        records: list[Record] = []

        def ask(shown: board.Board = shown, records: list[Record] = records) -> None:
            record = shown.record()
            record.note_created(1.0)
            records.append(record)

        with at_line(line, ask) as came_to_that:
            ask()
        ask()
        assert [record.cells[CREATED] for record in records] == [1.0] * len(records), line
        places = [Record(place) for place in live._places(shown.image())]
        assert sum(place.cells[CREATED] for place in places) == len(records), line
        line += 1
    assert line > 5


def test_a_closed_pool_has_no_row(factory: PoolFactory) -> None:
    """It has ended, though the process has not."""
    factory.client().ping()
    factory.close()

    assert factory.live() == []


def test_applications_do_not_mix(flushed: Valkey, tmp_path: Path) -> None:
    """Two folders of the same name are two applications."""
    folders = [tmp_path / "a" / "site", tmp_path / "b" / "site"]
    with (
        PoolFactory(flushed.url, base_path=folders[0]) as one,
        PoolFactory(flushed.url, base_path=folders[1]) as other,
    ):
        one.client().ping()
        other.client().ping()

        assert len(one.live()) == len(other.live()) == 1
        assert one.directory != other.directory


def test_without_a_directory_the_pool_works(
    flushed: Valkey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it cannot be made the log says so once, and who looks is told why he sees nothing."""
    (tmp_path / "file").touch()
    caplog.set_level("INFO", logger="redispool")
    with PoolFactory(flushed.url, live_directory=tmp_path / "file") as factory:
        assert factory.client().ping()
        factory.pool().recycle()
        assert factory.client().ping()
        with pytest.raises(Unreadable, match="file"):
            factory.live()

    assert sum("not shown" in record.getMessage() for record in caplog.records) == 1


def test_a_full_disk_harms_nobody(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is an error when the file is made, not a signal when it is written."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    pool = make_pool()
    pool.directory = tmp_path / "live"
    monkeypatch.setattr(os, "pwrite", full)
    pool.release(pool.acquire())

    assert pool.stats().acquired_total == 1
    assert list((tmp_path / "live").iterdir()) == []


@pytest.mark.parametrize("written", [None, 100])
def test_a_disk_that_was_full_makes_no_larger_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: int | None
) -> None:
    """What could not be written, or not all of it, is an error, and is tried in the same place."""

    def full(*_: object) -> int:
        if written is None:
            raise OSError(28, "No space left on device")
        return written

    shown = board.Board(tmp_path, {"alias": "a"})
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        for _ in range(20):
            with pytest.raises(OSError, match="No space left"):
                shown.record()

    shown.record().note_created(1.0)
    assert shown.path.stat().st_size == board.HEAD_BYTES * (1 + 8)
    assert sum(Record(place).cells[CREATED] for place in live._places(shown.image())) == 1.0


def test_a_full_disk_is_told_once(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once that figures are not shown, however many connections are opened."""

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(board.Board, "record", full)
    pool = factory.pool()
    with caplog.at_level("INFO", "redispool"), pool.connection(), pool.connection():
        pass

    told = [getattr(record, "event", "") for record in caplog.records]
    assert told.count("figures_not_shown") == 1


def test_nothing_is_shown_where_that_is_switched_off(flushed: Valkey, tmp_path: Path) -> None:
    """An empty directory is none."""
    with PoolFactory(flushed.url, base_path=tmp_path, live_directory="") as factory:
        factory.client().ping()
        with pytest.raises(Unreadable, match="switched off"):
            factory.live()


def test_before_anything_was_used_there_is_nothing_to_see(factory: PoolFactory) -> None:
    """Looking makes no directory, and says where it looked."""
    with pytest.raises(Unreadable, match="no process") as caught:
        factory.live()

    assert str(factory.directory) in str(caught.value)
    assert factory.directory is not None
    assert not factory.directory.exists()


def test_what_is_no_board_is_left_alone(factory: PoolFactory) -> None:
    """Of other files in the directory none is read or removed; of another layout none is read."""
    factory.client().ping()
    assert factory.directory is not None
    stranger = factory.directory / "notes.txt"
    stranger.write_text("mine")
    [seen] = factory.live()

    assert stranger.read_text() == "mine"
    assert seen.process == os.getpid()
    assert list(live._parsed([b"another layout" * 1000, b""])) == []


def test_a_look_does_not_disturb_a_file_that_is_being_made(
    factory: PoolFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may look at any moment: the file stays, and locked, so others see it."""
    assert factory.directory is not None
    directory, program, rename = factory.directory, board._program, Path.rename
    looks = []

    def look() -> None:
        looks.append([path.suffix for path in directory.iterdir()])
        live.read(directory)

    def program_after_a_look() -> dict[str, object]:
        look()
        return program()

    def rename_before_a_look(path: Path, target: Path) -> Path:
        renamed = rename(path, target)
        look()
        return renamed

    monkeypatch.setattr(board, "_program", program_after_a_look)
    monkeypatch.setattr(Path, "rename", rename_before_a_look)
    factory.client().ping()

    assert looks == [[".new"], [".pool"]]
    seen = in_child(lambda: [pool.process for pool in factory.live()])
    assert seen == [os.getpid()]


def test_a_file_that_is_not_locked_yet_is_not_taken_for_a_dead_ones(factory: PoolFactory) -> None:
    """Between making a file and locking it, another process may look; later it is removed."""
    factory.client().ping()
    assert factory.directory is not None
    unfinished = factory.directory / "1-0.pool.new"
    unfinished.touch()
    factory.live()
    assert unfinished.exists()

    os.utime(unfinished, (0, 0))
    factory.live()
    assert not unfinished.exists()


def test_a_name_that_is_too_long_hides_no_other_pool(flushed: Valkey, tmp_path: Path) -> None:
    """That pool works and is not shown; those of all others are read as ever."""
    aliases = {"default": flushed.url, "a" * 3000: flushed.url}
    with PoolFactory(aliases, base_path=tmp_path) as factory:
        assert all(factory.client(alias).ping() for alias in aliases)
        assert [pool.stats.alias for pool in factory.live()] == ["default"]


def test_no_secret_is_written(flushed: Valkey, tmp_path: Path) -> None:
    """Neither the password nor the arguments of the program stand in the file."""
    url = flushed.url.replace("redis://", "redis://default:hunter2@")
    with PoolFactory(url, base_path=tmp_path) as factory:
        factory.client().ping()
        assert factory.directory is not None
        [file] = factory.directory.iterdir()
        own = factory.pool()._boards["own"]
        assert own is not None
        content = own.image()

    assert json.loads(content[board.ABOUT : board.OUTAGE].rstrip(b"\0"))["alias"] == "default"
    assert file.name.startswith(f"{os.getpid()}-")
    assert b"hunter2" not in content


def test_the_directory_is_the_users_alone(tmp_path: Path) -> None:
    """It is made for nobody else, and refused where somebody else could read it."""
    directory = whereabouts.directory_of(tmp_path, tmp_path / "root")
    assert directory is not None
    made = whereabouts.make_private(directory)
    modes = [path.stat().st_mode & 0o777 for path in (made, made.parent)]
    made.chmod(0o750)

    assert modes == [0o700, 0o700]
    with pytest.raises(OSError, match="open to others; run  chmod 700"):
        whereabouts.make_private(directory)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever made it first may lead elsewhere what is written."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    directory = whereabouts.directory_of(tmp_path, tmp_path / "root")
    assert directory is not None

    with pytest.raises(OSError, match="no directory of this user's own"):
        whereabouts.make_private(directory)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_another_users_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who got there first could read the figures, or let them be written to files of others."""
    directory = whereabouts.directory_of(tmp_path, tmp_path / "root")
    assert directory is not None
    whereabouts.make_private(directory)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)

    with pytest.raises(OSError, match=f"belongs to user {user}"):
        whereabouts.check_private(directory)


def test_the_usual_directory_is_the_same_for_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It depends on the application and the user, and what the environment says comes first."""
    monkeypatch.delenv(whereabouts.VARIABLE)
    usual = whereabouts.directory_of(tmp_path)
    monkeypatch.setenv(whereabouts.VARIABLE, str(tmp_path))
    chosen = whereabouts.directory_of(tmp_path)

    assert usual is not None
    assert chosen is not None
    assert usual.parent.name == f"redispool-{os.geteuid()}"
    assert usual.name == chosen.name
    assert chosen.parent == tmp_path
