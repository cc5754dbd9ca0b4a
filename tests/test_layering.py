from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADAPTERS = {"flask_redispool", "django_redispool"}
FLASK = {"flask", "werkzeug", "jinja2", "click"}
DJANGO = {"django", "asgiref"}
METRICS = {"prometheus_client": "prometheus.py", "opentelemetry": "otel.py"}
ASGI = {"fastapi", "starlette", "pydantic", "anyio", "quart", "litestar"}

# Runs in a fresh interpreter: imports the named module, says what came along with it
# and what the import asked of the system.
PROBE = """
import importlib, json, sys, threading

asked = []
watched = ("socket.", "subprocess.", "os.fork", "os.posix_spawn")
sys.addaudithook(lambda event, _: event.startswith(watched) and asked.append(event))
importlib.import_module(sys.argv[1])
tops = sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
settings = sys.modules.get("django.conf")
print(json.dumps({
    "modules": tops,
    "asked": asked,
    "threads": threading.active_count(),
    "settings read": bool(settings and settings.settings.configured),
}))
"""


def in_a_fresh_interpreter(module: str) -> dict[str, object]:
    """Import a module where nothing is loaded and no framework is configured."""
    hidden = {"DJANGO_SETTINGS_MODULE", "FLASK_APP", "REDIS_URL"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE, module],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout)
    return seen


def loaded_with(module: str) -> set[str]:
    """Name the top-level packages outside of the standard library that a module brings along."""
    modules = in_a_fresh_interpreter(module)["modules"]
    assert isinstance(modules, list)
    return set(modules)


def test_the_core_brings_nothing_but_redis_py() -> None:
    """`import redispool` loads what `import redis` loads, and itself: no framework, no rich."""
    with_redis_py = loaded_with("redis") | loaded_with("redis.asyncio")

    assert loaded_with("redispool") - with_redis_py == {"redispool"}


@pytest.mark.parametrize(
    ("adapter", "brought", "foreign"),
    [
        ("flask_redispool", {"redispool", "flask"}, {"django_redispool", *DJANGO}),
        ("django_redispool", {"redispool"}, {"flask_redispool", *FLASK}),
    ],
    ids=["flask_redispool", "django_redispool"],
)
def test_an_adapter_brings_its_own_framework_only(
    adapter: str, brought: set[str], foreign: set[str]
) -> None:
    """An adapter loads the core and its framework, never the other adapter or its framework."""
    loaded = loaded_with(adapter)

    assert brought <= loaded
    assert not foreign & loaded


@pytest.mark.parametrize("package", ["redispool", *sorted(ADAPTERS)])
def test_importing_does_nothing(package: str) -> None:
    """An import opens no socket, starts no thread or process, and reads no Django settings."""
    seen = in_a_fresh_interpreter(package)

    assert seen["asked"] == []
    assert seen["threads"] == 1
    assert seen["settings read"] is False


@pytest.mark.parametrize(
    ("package", "foreign"),
    [
        ("redispool", {*ADAPTERS, *FLASK, *DJANGO, *ASGI}),
        ("flask_redispool", {"django_redispool", *DJANGO, *ASGI}),
        ("django_redispool", {"flask_redispool", *FLASK, *ASGI}),
    ],
    ids=["redispool", "flask_redispool", "django_redispool"],
)
def test_arrows_point_one_way(package: str, foreign: set[str]) -> None:
    """No module of a package imports what lies beyond its arrow, not even inside a function."""
    crossing = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in imports_of(path)
        if name in foreign
    ]

    assert crossing == []


def test_what_measures_stands_by_itself() -> None:
    """Of all modules one alone knows prometheus-client, one OpenTelemetry; none imports the two."""
    knowing = {
        (name, path.name)
        for package in ("redispool", *ADAPTERS)
        for path in (ROOT / package).rglob("*.py")
        for _, name in imports_of(path)
        if name in METRICS
    }
    importing = {
        (path.name, node.module)
        for package in ("redispool", *ADAPTERS)
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").rpartition(".")[2] in {"prometheus", "otel"}
    }

    assert knowing == set(METRICS.items())
    assert importing == set()


def test_what_is_for_asyncio_stands_by_itself() -> None:
    """Of the core only these know it: factory, front door, what serves ASGI, and what records."""
    knowing = {
        path.name
        for path in (ROOT / "redispool").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "aio"
    }

    assert knowing == {"__init__.py", "asgi.py", "factory.py", "swapping.py"}


def imports_of(path: Path) -> list[tuple[int, str]]:
    """List the line and the top-level package of each import statement of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node.lineno, (node.module or "").partition(".")[0]))
    return found
