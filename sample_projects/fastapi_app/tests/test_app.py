import json
from collections.abc import Callable

import pytest
from app import app
from starlette.testclient import TestClient


def test_visits_are_counted(client: TestClient) -> None:
    """Each look at the page is one visit more."""
    assert '<b id="visits">1</b>' in client.get("/").text
    assert '<b id="visits">2</b>' in client.get("/").text


def test_points_add_up(client: TestClient) -> None:
    """Points are added to those from before, and one's own place is shown."""
    client.post("/points", data={"name": "Ada", "points": "50"})
    client.post("/points", data={"name": "Grace", "points": "7"})
    page = client.post("/points", data={"name": "Grace", "points": "3"}).text
    assert "Grace has washed 10 cups." in page
    assert "You are number 2 with 10." in page


def test_second_vote_is_not_counted(client: TestClient) -> None:
    """A name votes once; the second time the page says so, also for another choice."""
    vote = {"name": "Ada", "choice": "tea"}
    page = client.post("/votes", data=vote).text
    assert "Counted: Ada votes for tea." in page
    page = client.post("/votes", data=vote | {"choice": "coffee"}).text
    assert "Not counted: Ada has voted before." in page
    assert "<dd>1</dd>" in page
    assert "<dd>0</dd>" in page


def test_post_is_shown_as_text(client: TestClient) -> None:
    """A post stands on the page, and what looks like markup in it is not taken for markup."""
    page = client.post("/posts", data={"name": "Grace", "text": "<script>alert()</script>"}).text
    assert "&lt;script&gt;alert()&lt;/script&gt;" in page
    assert "<script>alert()" not in page


def test_name_is_remembered(visitor: Callable[[], TestClient]) -> None:
    """The name in one form is filled in in the others, for this visitor only."""
    ada = visitor()
    ada.post("/points", data={"name": "  Ada ", "points": "1"})
    assert ada.get("/").text.count('value="Ada"') == 3
    assert 'value="Ada"' not in visitor().get("/").text


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/points", {"name": "", "points": "1"}),
        ("/points", {"name": "Ada", "points": "many"}),
        ("/points", {"name": "Ada", "points": "101"}),
        ("/votes", {"name": "Ada", "choice": "cocoa"}),
        ("/votes", {"name": "A" * 41, "choice": "tea"}),
        ("/posts", {"name": "Ada", "text": " "}),
    ],
)
def test_bad_form_is_refused(client: TestClient, path: str, data: dict[str, str]) -> None:
    """What the page would not let through is refused, and changes nothing."""
    assert client.post(path, data=data).status_code == 400
    page = client.get("/").text
    assert "The sink is full." in page
    assert page.count("<dd>0</dd>") == 2
    assert 'id="post-' not in page


def test_websocket_brings_posts(client: TestClient) -> None:
    """The feed by WebSocket begins with the posts from before; then each new one is a message."""
    client.post("/posts", data={"name": "Ada", "text": "one"})
    with client.websocket_connect("/feed") as feed:
        assert json.loads(feed.receive_text())["text"] == "one"
        client.post("/posts", data={"name": "Ada", "text": "two"})
        assert json.loads(feed.receive_text()) == {"id": 2, "name": "Ada", "text": "two"}


def test_keyed(client: TestClient) -> None:
    """The value names its key."""
    assert client.get("/keyed/42").text == "value-of-42"


def test_health(client: TestClient) -> None:
    """A process that reaches its Redis says so."""
    assert client.get("/healthz").text == "ok"


def test_without_the_lifespan_the_error_says_what_to_do() -> None:
    """Where an application is used without its lifespan, a dependency tells how to run it."""
    with pytest.raises(RuntimeError, match=r"with TestClient\(app\) as client:"):
        TestClient(app).get("/healthz")
