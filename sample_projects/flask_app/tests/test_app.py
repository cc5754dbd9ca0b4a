import pytest
from flask import Flask
from flask.testing import FlaskClient


def test_visits_are_counted(client: FlaskClient) -> None:
    """Each look at the page is one visit more."""
    assert '<b id="visits">1</b>' in client.get("/").text
    assert '<b id="visits">2</b>' in client.get("/").text


def test_points_add_up(client: FlaskClient) -> None:
    """Points are added to those from before, and one's own place is shown."""
    client.post("/points", data={"name": "Ada", "points": "50"})
    client.post("/points", data={"name": "Grace", "points": "7"})
    page = client.post("/points", data={"name": "Grace", "points": "3"}, follow_redirects=True).text
    assert "Grace has washed 10 cups." in page
    assert "You are number 2 with 10." in page


def test_second_vote_is_not_counted(client: FlaskClient) -> None:
    """A name votes once; the second time the page says so, also for another choice."""
    vote = {"name": "Ada", "choice": "tea"}
    page = client.post("/votes", data=vote, follow_redirects=True).text
    assert "Counted: Ada votes for tea." in page
    page = client.post("/votes", data=vote | {"choice": "coffee"}, follow_redirects=True).text
    assert "Not counted: Ada has voted before." in page
    assert "<dd>1</dd>" in page
    assert "<dd>0</dd>" in page


def test_post_is_shown_as_text(client: FlaskClient) -> None:
    """A post stands on the page, and what looks like markup in it is not taken for markup."""
    post = {"name": "Grace", "text": "<script>alert()</script>"}
    page = client.post("/posts", data=post, follow_redirects=True).text
    assert "&lt;script&gt;alert()&lt;/script&gt;" in page
    assert "<script>alert()" not in page


def test_name_is_remembered(client: FlaskClient) -> None:
    """The name in one form is filled in in the others, for this visitor only."""
    client.post("/points", data={"name": "  Ada ", "points": "1"})
    assert client.get("/").text.count('value="Ada"') == 3
    assert 'value="Ada"' not in client.application.test_client().get("/").text


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
def test_bad_form_is_refused(client: FlaskClient, path: str, data: dict[str, str]) -> None:
    """What the page would not let through is refused, and changes nothing."""
    assert client.post(path, data=data).status_code == 400
    page = client.get("/").text
    assert "The sink is full." in page
    assert page.count("<dd>0</dd>") == 2
    assert 'id="post-' not in page


def test_keyed(client: FlaskClient) -> None:
    """The value names its key."""
    assert client.get("/keyed/42").text == "value-of-42"


def test_dashboard_wants_the_password(app: Flask, client: FlaskClient) -> None:
    """Who brings it sees the pools, whatever name he gives; others are asked for it."""
    app.config["DASHBOARD_PASSWORD"] = "pa55 wörd"
    for wrong in (None, ("", ""), ("admin", "password"), ("pa55 wörd", "")):
        answer = client.get("/redispool/pools.json", auth=wrong)
        assert (answer.status_code, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert client.get("/redispool/", auth=("ada", "pa55 wörd")).status_code == 200


@pytest.mark.parametrize("auth", [None, ("", ""), ("ada", "ada")])
def test_dashboard_without_a_password_is_closed(
    app: Flask, client: FlaskClient, auth: tuple[str, str] | None
) -> None:
    """Nobody is let in by a forgotten setting, from this machine neither."""
    app.config["DASHBOARD_PASSWORD"] = ""
    assert client.get("/redispool/", auth=auth).status_code == 403


def test_ready(client: FlaskClient) -> None:
    """A probe learns whether Redis is there."""
    assert client.get("/ready").get_json()["status"] == "healthy"
