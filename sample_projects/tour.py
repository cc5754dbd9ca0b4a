"""A tour of a sample: a visitor uses everything that it shows, and looks at what comes back."""

from __future__ import annotations

import html
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.request import (
    HTTPCookieProcessor,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    OpenerDirector,
)

AT_ONCE = 8
KEYS = 200
HANDLERS = (
    HTTPHandler,
    HTTPCookieProcessor,
    HTTPRedirectHandler,
    HTTPErrorProcessor,
    HTTPDefaultErrorHandler,
)
"""What a browser needs here. urllib's own choice would go through a proxy that the environment
names, and load all certificates anew for each visitor."""


class WrongAnswer(Exception):
    """The sample answered, but not what it should."""


class Browser:
    """A visitor with cookies, who opens the page and sends its forms.

    The methods raise ``OSError`` where there is no answer, or one that is an error.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = OpenerDirector()
        for handler in HANDLERS:
            self.opener.add_handler(handler())

    def get(self, path: str) -> str:
        """The text at this path."""
        return self._open(path)

    def post(self, path: str, **fields: object) -> str:
        """Send a form, and give the message on the page that comes back."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get("/"))
        if token:
            fields["csrfmiddlewaretoken"] = token[1]
        page = self._open(path, urllib.parse.urlencode(fields).encode())
        message = re.search(r'role="status">([^<]*)<', page)
        return html.unescape(message[1]) if message else ""

    def _open(self, path: str, body: bytes | None = None) -> str:
        with self.opener.open(self.url + path, body, timeout=10) as answer:
            text: bytes = answer.read()
        return text.decode()


def tour(url: str) -> Iterator[tuple[str, str]]:
    """Give the title and the outcome of each step.

    Raises ``OSError`` where the sample fails, and `WrongAnswer` where it errs.
    """
    for title, step in STEPS.items():
        yield title, step(url)


def visit(url: str) -> str:
    page = Browser(url).get("/")
    visits = re.search(r'id="visits">(\d+)<', page)
    process = re.search(r"by process (\d+)", page)
    if not visits or not process:
        raise WrongAnswer("the page tells neither its visits nor its process")
    return f"visit {visits[1]}, answered by process {process[1]}"


def wash_cups(url: str) -> str:
    return Browser(url).post("/points", name="Ada", points=3)


def vote_at_once(url: str) -> str:
    voter = f"Voter {time.time_ns() // 1000 % 10**9}"
    answers = at_once(lambda _: Browser(url).post("/votes", name=voter, choice="tea"), AT_ONCE)
    counted = sum(answer.startswith("Counted") for answer in answers)
    refused = sum(answer.startswith("Not counted") for answer in answers)
    outcome = f"{counted} counted, {refused} turned away"
    if (counted, refused) != (1, AT_ONCE - 1):
        raise WrongAnswer(outcome)
    return outcome


def pin_up(url: str) -> str:
    browser, text = Browser(url), f"Hello at {time.strftime('%X')}"
    browser.post("/posts", name="Grace", text=text)
    if text not in browser.get("/"):
        raise WrongAnswer("the notice is not on the page")
    return f"on the page: {text}"


def read_keys(url: str) -> str:
    answers = at_once(lambda number: Browser(url).get(f"/keyed/{number}"), KEYS)
    wrong = sum(answer != f"value-of-{number}" for number, answer in enumerate(answers))
    if wrong:
        raise WrongAnswer(f"{wrong} of {KEYS} values were those of another key")
    return f"{KEYS} right values"


STEPS: dict[str, Callable[[str], str]] = {
    "open the page": visit,
    "wash three cups": wash_cups,
    f"{AT_ONCE} votes of one voter at once": vote_at_once,
    "pin up a notice": pin_up,
    f"{KEYS} keys, {AT_ONCE} requests at once": read_keys,
}


def at_once(task: Callable[[int], str], times: int) -> list[str]:
    """Do a task so many times, some at once, and give what came back in order."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(task, range(times)))
