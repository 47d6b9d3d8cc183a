"""The home page, its forms, and the site's base template."""

import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from notifications import inbox, notify
from notifications.models import Notification

pytestmark = pytest.mark.django_db(transaction=True)


def private(**changes: str) -> dict[str, str]:
    values = {
        "recipient": "reader", "title": "Hello", "body": "There", "url": "/x/", "level": "success",
        "key": "0" * 32,
    }  # fmt: skip
    return _posted("private", {**values, **changes})


def broadcast(**changes: str) -> dict[str, str]:
    values = {"audience": "broadcast", "title": "All", "level": "info", "key": "0" * 32}
    return _posted("broadcast", {**values, **changes})


def _posted(form: str, values: dict[str, str]) -> dict[str, str]:
    return {"form": form, "next": "/", **{f"{form}-{name}": v for name, v in values.items()}}


def published() -> list[tuple[str, str]]:
    return list(Notification.objects.order_by("pk").values_list("stream__name", "title"))


def test_home_requires_a_login(client: Client) -> None:
    assert client.get(reverse("home")).headers["Location"] == f"{reverse('login')}?next=/"


def test_home_shows_the_forms_that_the_user_may_send(
    browser: Client, sender: Client, reader: User
) -> None:
    page = browser.get(reverse("home")).content
    assert b"Hello reader" in page
    assert b"private-title" not in page
    assert b"broadcast-title" not in page
    page = sender.get(reverse("home")).content
    assert b"private-title" in page
    assert b"broadcast-title" in page
    reader.user_permissions.add(Permission.objects.get(codename="send_private"))
    page = browser.get(reverse("home")).content
    assert b"private-title" in page
    assert b"broadcast-title" not in page


def test_private_message(sender: Client, reader: User, writer: User) -> None:
    response = sender.post(reverse("send"), private(), follow=True)
    assert response.redirect_chain == [("/", 302)]
    assert "Sent." in response.content.decode()
    sent = Notification.objects.get()
    assert sent.stream_name == f"user:{reader.pk}"
    assert (sent.title, sent.body, sent.url, sent.level) == ("Hello", "There", "/x/", "success")
    assert sent.actor == writer
    assert inbox.unread_count(reader) == 1


def test_broadcasts_by_audience(sender: Client) -> None:
    group = Group.objects.create(name="Team <b>")
    page = sender.get(reverse("home")).content.decode()
    assert "Group Team &lt;b&gt;" in page
    for number, values in enumerate(
        (
            {"audience": "broadcast"},
            {"audience": "staff"},
            {"audience": f"group:{group.pk}"},
            {"audience": "topic", "topic": "news.daily"},
        )
    ):
        sender.post(reverse("send"), broadcast(key=f"{number:032x}", **values))
    names = [name for name, _ in published()]
    assert names == ["broadcast", "staff", f"group:{group.pk}", "topic:news.daily"]


def test_a_form_submitted_twice_publishes_once(sender: Client, reader: User) -> None:
    for _ in range(2):
        assert sender.post(reverse("send"), private()).status_code == 302
    assert len(published()) == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (private(recipient="nobody"), "There is no user with this name."),
        (private(recipient="\x00"), "Null characters are not allowed."),
        (private(recipient=""), "This field is required."),
        (private(title=""), "This field is required."),
        (private(title="x" * 201), "at most 200 characters"),
        (private(url="javascript:alert(1)"), "A link must be a path on this site"),
        (private(url="//evil.example"), "A link must be a path on this site"),
        (private(level="loud"), "Select a valid choice"),
        (broadcast(audience="user:1"), "Select a valid choice"),
        (broadcast(audience="group:999"), "Select a valid choice"),
        (broadcast(audience="topic"), "Which topic?"),
        (broadcast(audience="topic", topic="a b"), "Letters, digits"),
    ],
)
def test_errors_are_shown_at_their_fields_and_input_is_kept(
    sender: Client, reader: User, data: dict[str, str], error: str
) -> None:
    data = {**data, f"{data['form']}-body": "A long text that was typed"}
    response = sender.post(reverse("send"), data)
    page = response.content.decode()
    assert response.status_code == 200
    assert error in page
    assert "A long text that was typed" in page
    assert 'aria-invalid="true"' in page
    assert published() == []


def test_rows_beside_an_invalid_form_have_no_return_url(sender: Client) -> None:
    page = sender.post(reverse("send"), private(title="")).content.decode()
    rows = page.split('id="notification-actions"')[1].split("</form>")[0]
    assert 'name="next" value=""' in rows


def test_inactive_users_cannot_be_recipients(sender: Client, reader: User) -> None:
    reader.is_active = False
    reader.save()
    page = sender.post(reverse("send"), private()).content.decode()
    assert "There is no user with this name." in page


@pytest.mark.parametrize("data", [private(), broadcast(), {}, {"form": "other"}])
def test_p6_without_permission_nothing_is_sent(browser: Client, data: dict[str, str]) -> None:
    assert browser.post(reverse("send"), data).status_code == 403
    assert published() == []


def test_sending_requires_a_login(client: Client) -> None:
    assert client.post(reverse("send"), private()).status_code == 302
    assert published() == []


def test_a_sender_is_warned_about_a_topic_that_nobody_can_follow(sender: Client) -> None:
    for slug in ("news", "typo"):
        values = broadcast(audience="topic", topic=slug, key=f"{len(slug):032x}")
        page = sender.post(reverse("send"), values, follow=True).content.decode()
        assert "Sent." in page
        assert ("Nobody can follow the topic “typo”" in page) is (slug == "typo")
    assert [name for name, _ in published()] == ["topic:news", "topic:typo"]


def test_sending_requires_post_and_the_csrf_token(browser: Client, reader: User) -> None:
    assert browser.get(reverse("send")).status_code == 405
    client = Client(enforce_csrf_checks=True)
    client.force_login(reader)
    assert client.post(reverse("send")).status_code == 403


def test_login_hides_the_demo_accounts_without_debug(client: Client) -> None:
    assert b"Demo accounts" not in client.get(reverse("login")).content


def test_every_page_has_a_logout_button(browser: Client) -> None:
    for url in (reverse("home"), reverse("notifications:all")):
        assert f'action="{reverse("logout")}"' in browser.get(url).content.decode()
    assert browser.post(reverse("logout")).status_code == 302
    assert browser.get(reverse("home")).status_code == 302


def test_pages_of_the_app_show_the_name_and_the_home_page_of_the_site(browser: Client) -> None:
    page = browser.get(reverse("notifications:all")).content.decode()
    assert "· pushsite</title>" in page
    assert f'<a class="brand" href="{reverse("home")}">' in page
    assert f'<a href="{reverse("home")}">Home</a>' in page
    assert 'aria-current="page">Home</a>' in browser.get(reverse("home")).content.decode()


def test_pages_of_the_site_have_no_inline_scripts_or_styles(browser: Client, reader: User) -> None:
    notify(reader, "One")
    for url in (reverse("home"), reverse("login")):
        page = browser.get(url).content.decode()
        assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
        assert re.findall(r"\sstyle=|\son[a-z]+=", page) == []


def test_the_home_page_is_not_cached(browser: Client) -> None:
    assert "no-store" in browser.get(reverse("home")).headers["Cache-Control"]
