import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects


def test_visits_are_counted(client: Client) -> None:
    """Each look at the page is one visit more."""
    assertContains(client.get("/"), '<b id="visits">1</b>')
    assertContains(client.get("/"), '<b id="visits">2</b>')


def test_points_add_up(client: Client) -> None:
    """Points are added to those from before, and one's own place is shown."""
    client.post("/points", {"name": "Ada", "points": "50"})
    client.post("/points", {"name": "Grace", "points": "7"})
    page = client.post("/points", {"name": "Grace", "points": "3"}, follow=True)
    assertContains(page, "Grace has washed 10 cups.")
    assertContains(page, "You are number 2 with 10.")


def test_second_vote_is_not_counted(client: Client) -> None:
    """A name votes once; the second time the page says so, also for another choice."""
    page = client.post("/votes", {"name": "Ada", "choice": "tea"}, follow=True)
    assertContains(page, "Counted: Ada votes for tea.")
    page = client.post("/votes", {"name": "Ada", "choice": "coffee"}, follow=True)
    assertContains(page, "Not counted: Ada has voted before.")
    assertContains(page, "<dd>1</dd>")
    assertContains(page, "<dd>0</dd>")


def test_post_is_shown_as_text(client: Client) -> None:
    """A post stands on the page, and what looks like markup in it is not taken for markup."""
    post = {"name": "Grace", "text": "<script>alert()</script>"}
    page = client.post("/posts", post, follow=True)
    assertContains(page, "&lt;script&gt;alert()&lt;/script&gt;")
    assertNotContains(page, "<script>alert()")


def test_name_is_remembered(client: Client) -> None:
    """The name in one form is filled in in the others, for this visitor only."""
    client.post("/points", {"name": "  Ada ", "points": "1"})
    assertContains(client.get("/"), 'value="Ada"', count=3)
    assertNotContains(Client().get("/"), 'value="Ada"')


def test_forms_want_a_token() -> None:
    """A form that another site sends is refused; the page's own forms bring the token."""
    client = Client(enforce_csrf_checks=True)
    vote = {"name": "Ada", "choice": "tea"}
    assert client.post("/votes", vote).status_code == 403
    client.get("/")
    vote["csrfmiddlewaretoken"] = client.cookies["csrftoken"].value
    assert client.post("/votes", vote).status_code == 302


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
def test_bad_form_is_refused(client: Client, path: str, data: dict[str, str]) -> None:
    """What the page would not let through is refused, and changes nothing."""
    assert client.post(path, data).status_code == 400
    page = client.get("/")
    assertContains(page, "The sink is full.")
    assertContains(page, "<dd>0</dd>", count=2)
    assertNotContains(page, 'id="post-')


def test_keyed(client: Client) -> None:
    """The value names its key."""
    assertContains(client.get("/keyed/42"), "value-of-42")


def test_dashboard_is_for_staff(client: Client) -> None:
    """Who is not logged in is sent to the login of the admin; no database is asked for that."""
    assertRedirects(
        client.get("/redispool/"),
        "/admin/login/?next=/redispool/",
        fetch_redirect_response=False,
    )


@pytest.mark.django_db
def test_staff_finds_the_dashboard(client: Client) -> None:
    """The admin's index leads to it."""
    client.force_login(User.objects.create(username="ada", is_staff=True))
    assertContains(client.get("/admin/"), '<a href="/redispool/">')
    assertContains(client.get("/redispool/"), "Redis pools")


def test_ready(client: Client) -> None:
    """A probe learns whether Redis is there."""
    assertContains(client.get("/ready"), '"status": "healthy"')
