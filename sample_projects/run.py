"""Start the samples on one embedded server, try them out, and serve until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from tour import Browser, WrongAnswer, tour

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / ".redispool"
HOST = "127.0.0.1"
PASSWORD = os.environ.get("DASHBOARD_PASSWORD") or secrets.token_urlsafe(12)
"""Of the dashboard of the Flask sample."""
START_DEADLINE = 60.0
STOP_DEADLINE = 5.0
EMBEDDED_DEADLINE = 10.0


class Failure(Exception):
    """It cannot go on; the message tells people why."""


class Stopped(Exception):
    """Somebody wants the end: Ctrl-C or a signal."""


@dataclass(frozen=True)
class Sample:
    """One of the sample projects, and the server that it runs under."""

    name: str
    directory: Path
    application: str
    server: str

    def command(self, listener: int) -> list[str]:
        """The program and arguments that serve it in two processes, on a socket that listens."""
        return [
            sys.executable,
            "-m",
            self.server,
            self.application,
            *SERVERS[self.server](listener),
        ]


def gunicorn(listener: int) -> list[str]:
    """The arguments for two processes of eight threads."""
    words = ["--bind", f"fd://{listener}", "--no-control-socket"]
    words += ["--workers", "2", "--worker-class", "gthread", "--threads", "8"]
    return [*words, "--graceful-timeout", "1"]  # else an open feed would hold up the end


def uvicorn(listener: int) -> list[str]:
    """The arguments for two processes, each with one event loop."""
    words = ["--fd", str(listener), "--workers", "2", "--no-access-log"]
    return [*words, "--timeout-graceful-shutdown", "1"]  # likewise


SERVERS = {"gunicorn": gunicorn, "uvicorn": uvicorn}
FLASK = Sample("Flask", HERE / "flask_app", "app:create_app()", "gunicorn")
DJANGO = Sample("Django", HERE / "django_site", "mysite.wsgi", "gunicorn")
FASTAPI = Sample("FastAPI", HERE / "fastapi_app", "app:app", "uvicorn")
SAMPLES = (FLASK, DJANGO, FASTAPI)


class Server:
    """A sample under its server, on a port of its own.

    The listening socket is made before and handed down, so that nobody takes the port in between.
    """

    def __init__(
        self, sample: Sample, listener: socket.socket, redis_url: str, log: Path, *options: str
    ) -> None:
        self.sample = sample
        self.url = f"http://{HOST}:{listener.getsockname()[1]}"
        self.log = log
        with listener, log.open("wb") as output:
            self.process = subprocess.Popen(
                [*sample.command(listener.fileno()), *options],
                cwd=sample.directory,
                env=environment(redis_url),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # a Ctrl-C in the terminal is for this script alone
            )

    def answers(self) -> bool:
        """Whether the application answers, and right."""
        try:
            return Browser(self.url).get("/keyed/0") == "value-of-0"
        except OSError:
            return False

    def check(self) -> None:
        """Fail, with the end of the log, if the server has ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise self.failure(f"ended with code {code}")

    def failure(self, what: str) -> Failure:
        """The exception that says what happened, with the end of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-60:]
        log = "\n".join(f"  | {line}" for line in lines)
        return Failure(f"The {self.sample.name} sample {what}. The end of its log:\n{log}")

    def stop(self, deadline: float) -> None:
        """Wait for the server, told to end before, and kill what is left of it and its workers."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the embedded server is not among them
        self.process.wait()


def environment(redis_url: str) -> dict[str, str]:
    """The environment of the samples and their commands."""
    return os.environ | {
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "DASHBOARD_PASSWORD": PASSWORD,
    }


def listen(port: int) -> socket.socket:
    """A socket that listens on *port*, or on the next one that is free."""
    for candidate in range(port, min(port + 100, 65536)):
        with contextlib.suppress(OSError):
            return socket.create_server((HOST, candidate))
    raise Failure(f"None of the hundred ports from {port} on is free; try --port.")


def wait_until_ready(servers: list[Server], stop: threading.Event) -> None:
    """Wait until each server answers."""
    deadline = time.monotonic() + START_DEADLINE
    for server in servers:
        while not server.answers():
            server.check()
            if time.monotonic() > deadline:
                raise server.failure(f"did not answer within {START_DEADLINE:.0f} s")
            pause(stop, 0.1)


def pause(stop: threading.Event, seconds: float) -> None:
    """Wait, and raise `Stopped` as soon as somebody wants the end."""
    if stop.wait(seconds):
        raise Stopped


def try_out(server: Server, stop: threading.Event) -> None:
    """Send requests to a sample, and print what came back."""
    say(f"\n{server.sample.name}")
    try:
        for title, outcome in tour(server.url):
            say(f"  {title:<34} {outcome}")
            pause(stop, 0)
    except (OSError, WrongAnswer) as error:
        raise server.failure(f"failed: {error}") from None


def show_connections(redis_url: str) -> None:
    """Print who is connected to Redis, as the ``clients`` command shows it."""
    say("\n$ python manage.py redispool clients")
    result = subprocess.run(
        [sys.executable, "manage.py", "redispool", "clients"],
        cwd=DJANGO.directory,
        env=environment(redis_url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        timeout=START_DEADLINE,
    )
    if result.returncode:
        raise Failure(f"The command failed:\n{result.stdout}")
    say(result.stdout.rstrip())


def serve(servers: list[Server], stop: threading.Event) -> None:
    """Wait for the end: somebody's wish, or that of a server."""
    while True:
        pause(stop, 0.2)
        for server in servers:
            server.check()


def shut_down(servers: list[Server]) -> None:
    """End the servers, together."""
    for server in servers:
        if server.process.poll() is None:
            server.process.terminate()
    deadline = time.monotonic() + STOP_DEADLINE
    for server in servers:
        server.stop(deadline)


def wait_for_embedded(data: Path) -> None:
    """Wait for the end of the embedded server, which comes soon after that of its last user.

    Not forever: another program of this project may use it, too.
    """
    deadline = time.monotonic() + EMBEDDED_DEADLINE
    while (data / "redis.sock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def run(port: int, data: Path, stop: threading.Event) -> None:
    """Everything from the start to the end; raises `Stopped` or `Failure`."""
    redis_url = f"embedded://{urllib.parse.quote(str(data))}"
    servers: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="redispool-samples-") as logs:
        try:
            say("Starting the samples under gunicorn and uvicorn, on one embedded server …")
            for sample in SAMPLES:
                log = Path(logs, f"{sample.name}.log")
                servers.append(Server(sample, listen(port), redis_url, log))
            wait_until_ready(servers, stop)
            for server in servers:
                try_out(server, stop)
            say("\nOpen in a browser")
            for server in servers:
                say(f"  {server.sample.name:<8} {server.url}/")
            known = "that of DASHBOARD_PASSWORD" if "DASHBOARD_PASSWORD" in os.environ else PASSWORD
            say(f"  pools    {servers[0].url}/redispool/ (any name; password: {known})")
            show_connections(redis_url)
            say("\nServing. Ctrl-C ends it.")
            serve(servers, stop)
        finally:
            shut_down(servers)
            wait_for_embedded(data)


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


def listen_to_signals() -> threading.Event:
    """An event that is set when somebody wants the end; no signal interrupts anything."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


def main() -> int:
    """Run, and give the exit code."""
    stop = listen_to_signals()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="the first port to try (8000)")
    parser.add_argument("--data", type=Path, default=DATA, help="the embedded server's directory")
    options = parser.parse_args()
    try:
        run(options.port, options.data.absolute(), stop)
    except Stopped:
        pass
    except Failure as failure:
        if not stop.is_set():  # what goes wrong after Ctrl-C is the end of somebody else's part
            print(f"\n{failure}", file=sys.stderr)
            return 1
    say("\nEnded.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
