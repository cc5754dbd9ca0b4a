"""The dashboard in a real browser, before gunicorn with four workers under load.

Not among the quick tests, for it needs Chromium: ``tox run -e browser``. Pictures are kept where
``PICTURES`` says.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from playwright.sync_api import ConsoleMessage, Page, Route, sync_playwright

from tests.support import Valkey, eventually
from tests.support.executed import executed
from tests.support.valkey import free_port

SAMPLE = Path(__file__).parents[1] / "sample_projects" / "flask_app"
PICTURES = os.environ.get("PICTURES")
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WORKERS = 4
LOGIN = {"username": "ada", "password": secrets.token_urlsafe()}
HISTORY = int(os.environ.get("PICTURES_AFTER", "3"))
"""Seconds that charts shall show, before an outage and after it."""


@pytest.fixture
def site(own_server: Valkey) -> Iterator[str]:
    """The sample under gunicorn, with somebody who asks all the time."""
    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "gunicorn", "-w", str(WORKERS), "-k", "gthread"]
    command += ["--threads", "8", "-b", address.removeprefix("http://"), "app:create_app()"]
    environment = {
        **os.environ,
        "REDIS_URL": f"{own_server.url}?max_connections=4",
        "DASHBOARD_PASSWORD": LOGIN["password"],
    }
    with subprocess.Popen(command, cwd=SAMPLE, env=environment, stderr=subprocess.DEVNULL) as web:
        try:
            eventually(lambda: answers(f"{address}/keyed/1"), within=30.0)
            with subprocess.Popen([sys.executable, "-c", LOAD, address]) as load:
                try:
                    yield address
                finally:
                    load.kill()
        finally:
            web.terminate()


LOAD = """
import sys, threading, urllib.request
def ask(n):
    path = f"/keyed/{n}" if n % 2 else "/"  # the index has a pipeline
    while True:
        try:
            urllib.request.urlopen(sys.argv[1] + path, timeout=10).read()
        except OSError:
            pass
threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
"""


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser without a window; anything that it complains of fails the test."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page(
            viewport={"width": 1280, "height": 960}, http_credentials={**LOGIN}
        )
        shown.on("console", note)
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        yield shown
        browser.close()
    assert complaints == []


def answers(address: str) -> bool:
    """Whether the site is up."""
    try:
        with urllib.request.urlopen(address, timeout=5.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def picture(page: Page, name: str) -> None:
    """Keep a picture of what is seen."""
    if PICTURES:
        page.evaluate("() => scrollTo(0, 0)")
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def tile(page: Page, name: str) -> str:
    """The figure under `name` in the first row."""
    return page.locator("#totals div", has=page.get_by_text(name, exact=True)).inner_text()


def drawn(page: Page, kind: str) -> str:
    """The path of a kind in the first chart."""
    return page.locator(f".card path.{kind}").first.get_attribute("d") or ""


def let_it_draw(page: Page, seconds: int) -> None:
    """Wait until the chart has so many samples more."""
    wanted = drawn(page, "curve").count("L") + seconds
    eventually(lambda: drawn(page, "curve").count("L") >= wanted, seconds * 2 + 30.0)


def test_the_dashboard_lives(site: str, page: Page, own_server: Valkey) -> None:
    """Cards of all workers that change, an outage and its end, on a screen and on a phone."""
    page.goto(f"{site}/redispool/")
    eventually(lambda: page.locator(".card").count() == WORKERS)
    let_it_draw(page, HISTORY)
    assert f"\n{WORKERS}" in tile(page, "processes")
    page.get_by_text("Options in force").click()
    assert page.get_by_text("MAX_CONNECTIONS", exact=True).is_visible()
    page.get_by_text("Options in force").click()

    own_server.stop()
    page.wait_for_selector("#outages p", timeout=2_000)
    assert "cannot be reached" in page.inner_text("#outages")
    let_it_draw(page, seconds=15 if PICTURES else 1)
    picture(page, "dashboard-outage")
    own_server.start()
    page.wait_for_selector("#outages p", state="detached", timeout=2_000)
    assert page.locator('.card path.away[d^="M"]').count() > 0  # a worker nobody asked has none
    let_it_draw(page, HISTORY)
    picture(page, "dashboard")

    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    overflow = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert page.evaluate(overflow), "the page is wider than a phone"
    picture(page, "dashboard-phone")


def test_commands_a_second_are_those_of_the_server(
    site: str, page: Page, own_server: Valkey
) -> None:
    """What is shown of all processes together is what the server counts meanwhile, by and large."""
    page.goto(f"{site}/redispool/")
    eventually(lambda: page.locator(".card").count() == WORKERS)
    let_it_draw(page, 2)
    shown: list[float] = []
    began, before = time.monotonic(), executed(own_server)

    def look() -> bool:
        now = float(tile(page, "commands/s").splitlines()[-1].replace(",", ""))
        if now not in shown[-1:]:
            shown.append(now)
        return len(shown) == 8

    eventually(look, within=30.0)

    rate = (executed(own_server) - before) / (time.monotonic() - began)
    assert sum(shown) / len(shown) == pytest.approx(rate, rel=0.25)


def test_silence_is_told(site: str, page: Page) -> None:
    """The page says that no answer comes, though its question hangs; it leaves a gap."""
    page.goto(f"{site}/redispool/")
    eventually(lambda: drawn(page, "curve").count("M") == 1)
    hanging: list[Route] = []
    page.route("**/pools.json", lambda route: hanging.append(route))
    page.wait_for_selector("#silence p", timeout=5_000)
    assert "No answer from the application since" in page.inner_text("#silence")
    eventually(lambda: page.inner_text("#state") == "No answer")
    eventually(lambda: page.inner_text("#silent-for").startswith("for 5"))

    page.unroute("**/pools.json")
    page.wait_for_selector("#silence p", state="detached", timeout=5_000)
    eventually(lambda: page.inner_text("#state") == "Live")
    eventually(lambda: drawn(page, "curve").count("M") == 2)


def test_one_worker_without_a_thread_hides_nothing(site: str, page: Page) -> None:
    """While one look hangs the next ones are answered, and what comes late is not shown."""
    page.goto(f"{site}/redispool/")
    page.wait_for_selector(".card")
    hanging: list[Route] = []
    page.route("**/pools.json", lambda route: hanging.append(route), times=1)
    eventually(lambda: page.locator(".card").count() and hanging)

    commands = tile(page, "commands/s")
    eventually(lambda: tile(page, "commands/s") != commands)
    assert page.locator("#silence p").count() == 0


def test_the_keyboard_reaches_everything(site: str, page: Page) -> None:
    """Tab leads from the link past the head to the button and the tables; focus stays there."""
    page.goto(f"{site}/redispool/")
    page.wait_for_selector(".card")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the pools"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    assert page.inner_text("#state") == "Paused"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    focus = "document.activeElement.getAttribute('aria-labelledby')"
    assert page.evaluate(focus) == "leases"
    eventually(lambda: page.inner_text("#state") == "Live")
    assert page.evaluate(focus) == "leases"


def test_a_killed_worker_goes(site: str, page: Page) -> None:
    """Its card is gone with the next look."""
    page.goto(f"{site}/redispool/")
    eventually(lambda: page.locator(".card").count() == WORKERS)
    name = page.inner_text(".card h3 >> nth=0")
    os.kill(int(name.rpartition(" ")[2]), 9)

    eventually(lambda: name not in page.locator(".card h3").all_inner_texts())


def test_what_comes_from_elsewhere_is_text(site: str, page: Page, own_server: Valkey) -> None:
    """A client that calls itself markup is shown as what it is."""
    with redis.Redis.from_url(own_server.url, client_name="<img/src=x/onerror=alert(1)>") as other:
        other.ping()
        page.goto(f"{site}/redispool/")
        page.wait_for_selector("#fleet-table td")
        assert "<img/src=x" in page.inner_text("#fleet-table")
        assert page.locator("#fleet-table img").count() == 0
