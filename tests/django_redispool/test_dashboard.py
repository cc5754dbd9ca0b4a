from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import Valkey

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seen(server: Valkey) -> dict[str, Any]:
    """What a site with users shows to whom."""
    command = [sys.executable, "-m", "tests.django_redispool.staff_site", server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_who_is_not_logged_in_is_sent_to_the_login(seen: dict[str, Any]) -> None:
    """Of the page, its files and its figures; after the login he is where he wanted to be."""
    for name, answer in seen["nobody"].items():
        assert answer == [302, f"/admin/login/?next=/redispool/{name}"]


def test_who_is_no_staff_sees_nothing(seen: dict[str, Any]) -> None:
    """A user of the site is refused."""
    assert {tuple(answer) for answer in seen["guest"].values()} == {(403, "")}


def test_staff_sees_the_page(seen: dict[str, Any]) -> None:
    """The page, its files and figures, under a strict policy; it changes nothing."""
    statuses = {name: answer[0] for name, answer in seen["boss"].items()}

    assert statuses.pop("nothing") == 404
    assert set(statuses.values()) == {200}
    assert seen["posted"] == 405
    assert "default-src 'none'" in seen["policy"]
    assert [pool["stats"]["alias"] for pool in seen["pools"]] == ["default"]


def test_the_admin_leads_to_it(seen: dict[str, Any]) -> None:
    """Its index has a link more, and what it had."""
    assert '<a href="/redispool/">Redis pools of all processes</a>' in seen["index"]
    assert "Recent actions" in seen["index"]
