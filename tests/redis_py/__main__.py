"""Run redis-py's own tests with our classes in place of redis-py's.

They come with the source archive of the installed redis-py, which pip fetches, and are unpacked
away from the checkout. A server is started for them. What has to differ stands in
``differences.toml``. Further arguments go to pytest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from redispool.testing import Server

HERE = Path(__file__).parent
PROTOCOLS = ("2", "3")

NEED_MORE = "redismod or onlycluster or cp_integration or ssl or replica"
"""Marks of tests for modules, a cluster, an identity provider, a TLS proxy, a replica."""

PLUGINS = ("-p", "standing_in", "-p", "no:redispool", "-p", "no:cacheprovider")


def main() -> int:
    """Run the suite once with each protocol; 0 where all went as listed."""
    options, words = arguments()
    suite = fetched(Path(options.folder or tempfile.gettempdir()))
    protocols = options.protocol or PROTOCOLS
    return max(run(suite, protocol, [*options.more, *words]) for protocol in protocols)


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """What was asked for, and what is meant for pytest."""
    parser = argparse.ArgumentParser(prog="python -m tests.redis_py", description=__doc__)
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, help="one alone")
    parser.add_argument("--folder", help="where the suite is kept; the temporary folder otherwise")
    parser.add_argument(
        "--plain",
        dest="more",
        action="store_const",
        const=["--plain"],
        default=[],
        help="with redis-py's own classes, to compare",
    )
    return parser.parse_known_args()


def fetched(folder: Path) -> Path:
    """The unpacked tests of the installed redis-py, fetched where `folder` lacks them."""
    name = f"redis-{version('redis')}"
    place = folder / f"redispool-suite-{name}"
    if not (place / "tests").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        unpack(download(name, place), name, place)
    return place


def download(name: str, folder: Path) -> Path:
    """The source archive, from wherever pip takes packages."""
    options = ("--no-deps", "--no-binary", "redis", "--quiet", "--dest", str(folder))
    asked = name.replace("-", "==")
    subprocess.run([sys.executable, "-m", "pip", "download", *options, asked], check=True)
    return folder / f"{name}.tar.gz"


def unpack(archive: Path, name: str, place: Path) -> None:
    """The tests and their configuration; not redis-py, for the installed one is tested."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.name.startswith((f"{name}/tests/", f"{name}/pyproject.toml")):
                member.name = member.name.removeprefix(f"{name}/")
                tar.extract(member, place, filter="data")


def run(suite: Path, protocol: str, words: list[str]) -> int:
    """Run pytest on the suite, against a server of its own; the exit status."""
    print(f"redis-py {version('redis')}, RESP{protocol}", flush=True)  # noqa: T201  # a program
    with Server(enable_debug_command="yes") as server:
        urls = ("--redis-url", server.url, "--redis-mod-url", server.url)
        return subprocess.run(
            [
                *(sys.executable, "-m", "pytest", *PLUGINS, "-m", f"not ({NEED_MORE})"),
                *(*urls, "--protocol", protocol, "-q", "--disable-warnings", *words),
            ],
            cwd=suite,
            # redis-py's tests are a package `tests` too, so the plugin is found by its folder.
            env={**os.environ, "PYTHONPATH": str(HERE)},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
