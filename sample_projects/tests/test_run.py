"""run.py, as people start it: what it prints, and that nothing is left when it has ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from run import HERE, SAMPLES, Sample, listen
from waiting import until

PORT = 19000
DEADLINE = 120.0
ADDRESS = re.compile(r"^  (\w+) +(http://127\.0\.0\.1:\d+)/$", re.MULTILINE)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


class Run:
    """run.py in a process group of its own, as in a terminal."""

    def __init__(self, data: Path, output: Path, **environment: str) -> None:
        self.data = data
        self.output = output
        command = [sys.executable, str(HERE / "run.py"), "--port", str(PORT), "--data", str(data)]
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    def wait_for(self, words: str) -> None:
        """Wait until it has printed these words."""
        until(lambda: words in self.text or self.process.poll() is not None, DEADLINE)
        assert words in self.text, self.text

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of its process group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(DEADLINE)

    def processes(self) -> dict[int, str]:
        """The processes that it started and that still run, with their command lines.

        The path of the data stands in the environment of the samples and in the command line of the
        embedded server, and nowhere else.
        """
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            command, environment = read(directory / "cmdline"), read(directory / "environ")
            if str(self.data) in command + environment and int(directory.name) != self.process.pid:
                found[int(directory.name)] = command
        return found

    def has_left_nothing(self) -> bool:
        """Whether all those processes end, in a moment."""
        return until(lambda: not self.processes())


@pytest.fixture
def start(data: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start run.py on the private server; whatever the test does, it is ended afterwards."""
    runs: list[Run] = []

    def start(**environment: str) -> Run:
        runs.append(Run(data, tmp_path / f"output-{len(runs)}", **environment))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
            run.wait()


def test_whole_way(start: Callable[..., Run]) -> None:
    """It shows answers, addresses and connections, serves, and ends with 0 and nothing left."""
    run = start()
    run.wait_for("Serving")
    assert run.text.count("1 counted, 7 turned away") == 3
    assert run.text.count("200 right values") == 3
    assert "redispool:default:" in run.text or "default" in run.text
    for name, address in ADDRESS.findall(run.text):
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert f"{name} on redispool" in answer.read().decode()
    assert [name for name, _ in ADDRESS.findall(run.text)] == ["Flask", "Django", "FastAPI"]
    run.send(signal.SIGINT)
    assert run.wait() == 0
    assert "Traceback" not in run.text
    assert run.has_left_nothing(), run.processes()


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("Starting", signal.SIGINT),
        ("Starting", signal.SIGTERM),
        ("\nFlask", signal.SIGINT),
        ("1 counted", signal.SIGTERM),
    ],
)
def test_early_end(start: Callable[..., Run], words: str, number: signal.Signals) -> None:
    """Ended in the middle of its start or of its requests, it ends with 0 and nothing left."""
    run = start()
    run.wait_for(words)
    run.send(number)
    assert run.wait() == 0
    assert "Traceback" not in run.text
    assert run.has_left_nothing(), run.processes()


def test_open_feed_does_not_hold_up_the_end(start: Callable[..., Run]) -> None:
    """Browsers that stay, one on each sample, are no reason to go on."""
    run = start()
    run.wait_for("Serving")
    with ExitStack() as feeds:
        for _, address in ADDRESS.findall(run.text):
            feed = urllib.request.urlopen(f"{address}/feed", timeout=10)
            feeds.enter_context(feed).readline()
        run.send(signal.SIGINT)
        assert run.wait() == 0
    assert run.has_left_nothing(), run.processes()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_end_of_one_ends_the_others(start: Callable[..., Run], sample: Sample) -> None:
    """When one of the servers is killed, it says which, ends the others and exits with 1."""
    run = start()
    run.wait_for("Serving")
    processes = [pid for pid, cmd in run.processes().items() if sample.application in cmd]
    os.kill(next(pid for pid in processes if os.getsid(pid) == pid), signal.SIGKILL)
    assert run.wait() == 1
    assert f"The {sample.name} sample ended with code -9" in run.text
    assert run.has_left_nothing(), run.processes()


def test_failing_start(start: Callable[..., Run]) -> None:
    """When a sample does not start, it shows why, from the log, and exits with 1."""
    run = start(FLASK_REDISPOOL_MAX_CONECTIONS="3")
    assert run.wait() == 1
    assert "The Flask sample ended with code" in run.text
    assert "did you mean REDISPOOL_MAX_CONNECTIONS?" in run.text
    assert run.has_left_nothing(), run.processes()


def test_taken_ports(start: Callable[..., Run]) -> None:
    """Where a port is taken it uses the next free one."""
    with listen(PORT) as taken:
        run = start()
        run.wait_for("Open in a browser")
        run.wait_for("Serving")
        ports = [int(address.rpartition(":")[2]) for _, address in ADDRESS.findall(run.text)]
        assert taken.getsockname()[1] not in ports
        assert len(set(ports)) == 3


def read(path: Path) -> str:
    """What the file of a process says; nothing where the process has ended."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
