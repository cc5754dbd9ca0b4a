from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask, Response, redirect, request
from flask.testing import FlaskClient
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from flask_redispool import RedisPool
from flask_redispool.dashboard import RedisPoolDashboard
from redispool import PoolFactory
from redispool.dashboard import Dashboard, data, pages
from redispool.reports import aside
from redispool.testing import FaultProxy

from ..support import Valkey, eventually, run_threads
from ..support.forks import in_child
from ..support.valkey import free_port
from .conftest import MakeApp, factory_of

HIDDEN = "hunter2"


@pytest.fixture(autouse=True)
def _figures_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the processes of another one."""
    monkeypatch.setenv("REDISPOOL_LIVE_DIRECTORY", str(tmp_path))


def mounted(app: Flask, **options: Any) -> FlaskClient:
    """A client of an application that has the dashboard; everybody may look."""
    RedisPoolDashboard(RedisPool(), **{"authorize": lambda: True, "app": app, **options})
    return app.test_client()


def ask(client: FlaskClient, name: str) -> dict[str, Any]:
    """What the dashboard answers to one of its requests for figures."""
    answer = client.get(f"/redispool/{name}.json")
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.data)
    return found


def test_it_does_not_start_without_authorisation() -> None:
    """Who says nothing of who may look gets no page that everybody sees."""
    for nothing in (None, True, "everybody"):
        with pytest.raises(TypeError, match=r"needs authorize=.*Flask-Login"):
            RedisPoolDashboard(RedisPool(), nothing)  # type: ignore[arg-type]


def test_who_is_not_let_in_sees_nothing(shop: Flask) -> None:
    """Neither the page, nor its files, nor its figures; a response of the callable is sent."""

    def authorize() -> Any:
        return redirect("/login") if "login" in request.args else False

    client = mounted(shop, authorize=authorize)
    for name in ("", "dashboard.js", "pools.json", "options.json", "fleet.json", "nothing"):
        assert client.get(f"/redispool/{name}").status_code == 403
    assert client.get("/redispool/?login").headers["Location"] == "/login"


@pytest.mark.parametrize("nothing", [None, 0, ""])
def test_who_says_nothing_lets_nobody_in(shop: Flask, nothing: object) -> None:
    """A callable that forgot to return, or gives a column without a value, is no permission."""
    client = mounted(shop, authorize=lambda: nothing)

    assert client.get("/redispool/").status_code == 403
    assert client.get("/redispool/pools.json").status_code == 403


def test_the_page_and_its_files_need_nobody_else(shop: Flask) -> None:
    """Script and style come from the package; nothing stands in the page that a policy forbids."""
    client = mounted(shop)
    page = client.get("/redispool/")
    text = page.get_data(as_text=True)

    assert page.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert "<style" not in text
    assert " style=" not in text
    assert "://" not in text
    for name, (_, content_type) in pages.FILES.items():
        answer = client.get(f"/redispool/{name}")
        assert (answer.status_code, answer.content_type) == (200, content_type)
        assert "innerHTML" not in answer.get_data(as_text=True)


def test_it_changes_nothing(shop: Flask) -> None:
    """Other methods than GET and HEAD are refused, and so are unknown paths."""
    client = mounted(shop)

    assert client.head("/redispool/").status_code == 200
    assert client.post("/redispool/").status_code == 405
    assert client.delete("/redispool/pools.json").status_code == 405
    assert client.get("/redispool/secrets.json").status_code == 404
    assert Dashboard(lambda: factory_of(shop)).answer("", "PUT").status == 405


def test_it_shows_the_pools(shop: Flask) -> None:
    """Each pool with its figures and long leases; before the first, why there is nothing."""
    client = mounted(shop)
    assert "no process has shown figures" in ask(client, "pools")["note"]
    factory = factory_of(shop)
    factory.client().ping()

    with factory.pool().connection():
        [pool] = ask(client, "pools")["pools"]

    assert (pool["stats"]["in_use"], pool["stats"]["acquired_total"]) == (1, 2)
    assert pool["holders"][0]["place"].endswith("in test_it_shows_the_pools")
    assert ask(client, "pools")["pools"][0]["holders"] == []


def test_it_shows_the_fleet_and_the_options(make_app: MakeApp) -> None:
    """What the server knows of all hosts, and what each alias is set to, secrets masked."""
    app = make_app()
    client = mounted(app)
    factory_of(app).client().ping()

    assert ask(client, "fleet")["rows"][0]["alias"] == "default"
    options = {row["option"] for row in ask(client, "options")["rows"]}
    assert {"MAX_CONNECTIONS", "TIMEOUT"} <= options


def test_it_shows_no_secret(make_app: MakeApp) -> None:
    """A password stands in none of the answers, whatever fails."""
    url = f"redis://:{HIDDEN}@127.0.0.1:{free_port()}/0"
    app = make_app(REDISPOOL={"default": {"URL": url, "RETRIES": 0, "TIMEOUT": 0.2}})
    client = mounted(app)

    for name in ("fleet", "options", "pools"):
        assert HIDDEN not in json.dumps(ask(client, name))


def test_an_outage_does_not_stop_it(make_app: MakeApp) -> None:
    """While the server is away the figures are there, with the reason; the fleet says what is."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    app = make_app(REDISPOOL={"default": {"URL": url, "RETRIES": 0, "TIMEOUT": 0.2}})
    client = mounted(app)
    with pytest.raises(redis.ConnectionError):
        factory_of(app).client().ping()

    fleet = ask(client, "fleet")
    [pool] = ask(client, "pools")["pools"]

    assert "no answer from" in fleet["errors"][0]
    assert "refused" in pool["stats"]["away_reason"]


def test_many_who_look_ask_the_server_once(shop: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet is asked for anew after some seconds, and by one of all who look."""
    now, answers = [100.0], list[dict[str, Any]]()
    fleet, real = data.Fleet(factory_of(shop), clock=lambda: now[0]), data.fleet

    def counted(factory: PoolFactory) -> dict[str, Any]:
        answers.append(real(factory))
        return answers[-1]

    monkeypatch.setattr(data, "fleet", counted)
    fleet.ask()
    now[0] += data.FLEET_FOR - 0.1
    assert fleet.ask() is answers[0]
    now[0] += 0.2
    found = run_threads(4, lambda _: fleet.ask())

    assert len(answers) == 2
    assert all(each in answers for each in found)
    assert fleet.ask() is answers[1]


def test_who_looks_does_not_wait_for_who_asks_the_server(
    shop: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one waits for a server that is away, the others get what was known before."""
    now = [100.0]
    fleet = data.Fleet(factory_of(shop), clock=lambda: now[0])
    known = fleet.ask()
    asking, answered = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, Any]:
        asking.set()
        assert answered.wait(20)
        return {}

    monkeypatch.setattr(data, "fleet", slow)
    now[0] += data.FLEET_FOR
    asker = threading.Thread(target=fleet.ask)
    asker.start()
    assert asking.wait(20)
    other: list[dict[str, Any]] = []
    looker = threading.Thread(target=lambda: other.append(fleet.ask()))
    looker.start()
    looker.join(5)
    found = list(other)
    answered.set()
    asker.join()
    looker.join()

    assert found == [known]


def test_an_exhausted_pool_does_not_hold_up_the_fleet(make_app: MakeApp, flushed: Valkey) -> None:
    """The server is asked past the pool: nobody waits, nothing is lent, its bound is kept."""
    app = make_app(REDISPOOL={"default": {"URL": flushed.url, "MAX_CONNECTIONS": 1}})
    pool = factory_of(app).pool()

    with pool.connection():
        fleet = data.Fleet(factory_of(app)).ask()

    assert fleet["errors"] == []
    assert [(row["alias"], row["connections"]) for row in fleet["rows"]] == [("default", 1)]
    assert (pool.stats().requests_total, pool.stats().created_total) == (1, 1)


def test_a_silent_server_holds_up_the_fleet_for_a_moment_only(
    make_app: MakeApp, flushed: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits of its own hold, however patient the pool is, and they leave no connection."""
    monkeypatch.setattr(aside, "WITHIN", 0.1)
    with FaultProxy(flushed.url) as proxy:
        patient: dict[str, Any] = {"SOCKET_TIMEOUT": 60, "SOCKET_CONNECT_TIMEOUT": 60}
        patient |= {"TIMEOUT": 60, "RETRY": Retry(ConstantBackoff(20), 9)}
        app = make_app(REDISPOOL={"default": {"URL": proxy.url, **patient}})
        proxy.black_hole()
        started = time.monotonic()
        fleet = data.Fleet(factory_of(app)).ask()
        proxy.heal()
        eventually(lambda: not flushed.clients())

    assert "no answer from" in fleet["errors"][0]
    assert time.monotonic() - started < 20


def test_an_alias_of_any_name_is_in_the_fleet(make_app: MakeApp, flushed: Valkey) -> None:
    """The connection that asks is left out, and no other one, whatever the aliases are called."""
    names = ["default", "dashboard"]
    app = make_app(REDISPOOL={alias: {"URL": flushed.url} for alias in names})
    for alias in names:
        factory_of(app).client(alias).ping()

    rows = data.fleet(factory_of(app))["rows"]

    assert sorted(row["alias"] for row in rows) == sorted(names)


def test_who_comes_first_while_another_asks_does_not_wait(
    shop: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is known yet, that is said, and one thread alone waits for the server."""
    fleet = data.Fleet(factory_of(shop))
    asking, answered = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, Any]:
        asking.set()
        assert answered.wait(20)
        return {"rows": [], "errors": []}

    monkeypatch.setattr(data, "fleet", slow)
    asker = threading.Thread(target=fleet.ask)
    asker.start()
    assert asking.wait(20)
    assert fleet.ask() == {"rows": [], "errors": [data.BEING_ASKED]}
    answered.set()
    asker.join()
    assert fleet.ask() == {"rows": [], "errors": []}


def test_a_forked_child_asks_itself(shop: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a parent's thread, which does not exist in the child, stops nobody there."""
    fleet = data.Fleet(factory_of(shop))
    asking, answered = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, Any]:
        asking.set()
        assert answered.wait(20)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(data, "fleet", slow)
        asker = threading.Thread(target=fleet.ask)
        asker.start()
        assert asking.wait(20)
    rows = in_child(lambda: fleet.ask()["rows"])
    answered.set()
    asker.join()

    assert rows == []  # of connections: the pool has none yet, and the own one is not among them


def test_a_response_may_be_made(shop: Flask) -> None:
    """``authorize`` may answer itself, as a view does."""
    client = mounted(shop, authorize=lambda: Response("who are you?", 401))

    assert client.get("/redispool/").status_code == 401
