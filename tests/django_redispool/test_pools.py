from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import redispool
from django_redispool import pools, redis
from django_redispool.pools import Pools, project_folder
from redispool import ConnectionPool, PoolClosed

from ..support import Valkey, eventually, in_child, run_threads

ROOT = Path(__file__).parents[2]

BEFORE_SETTINGS = """
from django.conf import settings
from django_redispool import pools, redis

assert not settings.configured
print(repr(redis))
settings.configure(REDIS_URL={url!r})
assert redis.set("name", "later")
assert pools.client().get("name") == b"later"
"""


def test_it_can_be_imported_before_the_settings(flushed: Valkey) -> None:
    """``redis`` and ``pools`` are imported, and looked at, before settings are configured."""
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEFORE_SETTINGS.format(url=flushed.url)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "<redis of the Django project>\n"


def test_redis_is_a_client_like_any_other(site: Pools) -> None:
    """``redis`` is an instance of redis-py's class, and uses the pool of ``default``."""
    assert isinstance(redis, redis_py.Redis)
    assert isinstance(redis, redispool.Redis)
    assert redis.set("name", "ada")
    assert redis.get("name") == b"ada"
    assert site.stats()["default"].created_total == 1


def test_aliases_are_clients_and_pools_of_their_own(
    site: Pools, flushed: Valkey, settings: Any
) -> None:
    """``pools.client("sessions")`` and ``pools.pool("sessions")`` are those of that alias."""
    place = f"redis://{flushed.host}:{flushed.port}"
    settings.REDISPOOL = {"default": f"{place}/0", "sessions": f"{place}/1"}

    pools.client("sessions").set("name", "session")

    assert redis.get("name") is None
    assert pools.client("sessions").get("name") == b"session"
    assert pools.client() is pools.client("default")
    assert isinstance(pools.pool("sessions"), ConnectionPool)
    assert list(pools.stats()) == ["default", "sessions"]


@pytest.mark.parametrize("ask", [pools.client, pools.pool])
def test_an_unknown_alias_is_improperly_configured(site: Pools, ask: Any) -> None:
    """The error of an alias that nobody defined names it, and those that are defined."""
    with pytest.raises(
        ImproperlyConfigured, match=r'REDISPOOL\["sesions"\]: is not defined.*: default'
    ):
        ask("sesions")


def test_fifty_threads_make_one_pool(site: Pools) -> None:
    """Threads that ask at the same moment, before there is a pool, get the same one."""
    pools.rebuild()

    found = run_threads(50, lambda _: pools.pool())

    assert len({id(pool) for pool in found}) == 1


def test_a_forked_child_has_connections_of_its_own(site: Pools) -> None:
    """A child uses the same pools, and no socket of its parent's."""
    redis.set("name", "parent")
    ours = redis.client_id()

    def work() -> tuple[bytes | None, bool]:
        return redis.get("name"), redis.client_id() == ours

    assert in_child(work) == (b"parent", False)
    assert redis.client_id() == ours


# Settings that change


def test_override_settings_reaches_another_server(
    site: Pools, flushed: Valkey, own_server: Valkey
) -> None:
    """In ``override_settings`` commands go where the new settings point, afterwards back again."""
    redis.set("name", "first")
    with override_settings(REDISPOOL={"default": own_server.url}):
        assert redis.get("name") is None
        redis.set("name", "second")
    assert redis.get("name") == b"first"

    with own_server.outside() as client:
        assert client.get("name") == b"second"
    eventually(lambda: not own_server.clients())


def test_a_client_that_is_kept_follows_the_settings(site: Pools, own_server: Valkey) -> None:
    """``sessions = pools.client("sessions")`` at the top of a module outlives every change."""
    kept = pools.client()
    kept.set("name", "first")
    with override_settings(REDISPOOL={"default": own_server.url}):
        assert kept.get("name") is None
    assert kept.get("name") == b"first"
    assert pools.client() is kept


def test_old_pools_are_closed(site: Pools, flushed: Valkey) -> None:
    """Pools of settings that do not hold any more are closed, and their connections with them."""
    before = pools.pool()
    redis.ping()

    with override_settings(REDISPOOL={"default": {"URL": flushed.url, "MAX_CONNECTIONS": 3}}):
        assert before.closed
        within = pools.pool()
        assert within.max_connections == 3
        redis.ping()
        assert len(flushed.clients()) == 1

    assert within.closed
    assert pools.pool() not in (before, within)
    assert pools.pool().options == before.options
    with pytest.raises(PoolClosed):
        before.acquire()


@pytest.mark.parametrize("name", ["REDISPOOL", "REDIS_URL", "BASE_DIR"])
def test_what_the_pools_are_made_from_rebuilds_them(
    site: Pools, flushed: Valkey, name: str, tmp_path: Path
) -> None:
    """A change of each setting that the pools are made from makes new ones."""
    before = pools.pool()
    value = {"REDISPOOL": {"default": flushed.url}, "BASE_DIR": tmp_path}

    with override_settings(**{name: value.get(name, flushed.url)}):
        assert pools.pool() is not before


def test_other_settings_leave_the_pools_alone(site: Pools) -> None:
    """A setting that is none of ours costs no connection."""
    before = pools.pool()

    with override_settings(DEBUG=True, TIME_ZONE="UTC"):
        assert pools.pool() is before


def test_nothing_is_made_by_a_change(site: Pools) -> None:
    """A change to settings that cannot be used is noticed at the next use, and can be undone."""
    with (
        override_settings(REDISPOOL={"default": {"MAX_CONECTIONS": 2}}),
        pytest.raises(ImproperlyConfigured),
    ):
        redis.ping()

    assert redis.ping()


# Where embedded:// lives


@pytest.mark.parametrize("kind", [str, Path])
def test_embedded_data_lies_in_the_project(settings: Any, tmp_path: Path, kind: type) -> None:
    """``embedded://`` keeps its data in ``BASE_DIR``, which may be a path or a text."""
    settings.BASE_DIR = kind(tmp_path)
    settings.REDIS_URL = "embedded://"

    connection: Any = pools.pool().make_connection()

    assert connection.directory == tmp_path / ".redispool"
    assert list(tmp_path.iterdir()) == []


def test_without_base_dir_it_is_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project without ``BASE_DIR`` has its data where it was started."""
    monkeypatch.chdir(tmp_path)

    assert project_folder() == tmp_path
