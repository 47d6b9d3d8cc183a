"""The JSON that pages poll which come from django-notifications."""

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from notifications import inbox, notify
from notifications.models import Notification
from notifications.signals import notify as signal
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = (
    "live_unread_notification_count",
    "live_unread_notification_list",
    "live_all_notification_count",
    "live_all_notification_list",
)


@pytest.fixture
def user():
    return make_user("ada")


@pytest.fixture
def browser(user) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def url(name: str) -> str:
    return reverse(f"notifications:{name}")


def test_counts(user, browser: Client) -> None:
    inbox.mark_read(user, notify(user, "read"))
    inbox.archive(user, notify(user, "archived"))
    notify(user, "unread")
    assert browser.get(url(NAMES[0])).json() == {"unread_count": 1}
    assert browser.get(url(NAMES[2])).json() == {"all_count": 2}


def test_lists_are_newest_first(user, browser: Client) -> None:
    inbox.mark_read(user, notify(user, "read"))
    notify(user, "old")
    notify(user, "new")
    unread = browser.get(url(NAMES[1])).json()
    assert unread["unread_count"] == 2
    assert [row["verb"] for row in unread["unread_list"]] == ["new", "old"]
    everything = browser.get(url(NAMES[3])).json()
    assert everything["all_count"] == 3
    assert [(row["verb"], row["unread"]) for row in everything["all_list"]] == [
        ("new", True),
        ("old", True),
        ("read", False),
    ]


def test_a_row_has_the_shape_that_is_known(user, browser: Client) -> None:
    group = Group.objects.create(name="Friends")
    other = make_user("bob")
    signal.send(
        other,
        recipient=user,
        verb="added",
        action_object=user,
        target=group,
        description="Hello!",
        level="success",
        colour="red",
    )
    [row] = browser.get(url(NAMES[1])).json()["unread_list"]
    notification = Notification.objects.get()
    assert {name: row[name] for name in ("id", "slug", "recipient")} == {
        "id": notification.pk,
        "slug": notification.pk,
        "recipient": user.pk,
    }
    assert (
        row
        | {
            "actor": "bob",
            "actor_content_type": _type(other),
            "actor_object_id": str(other.pk),
            "verb": "added",
            "action_object": "ada",
            "action_object_content_type": _type(user),
            "target": "Friends",
            "target_content_type": _type(group),
            "target_object_id": str(group.pk),
            "description": "Hello!",
            "level": "success",
            "data": {"colour": "red"},
            "unread": True,
            "public": True,
            "deleted": False,
            "emailed": False,
        }
        == row
    )
    assert notification.published_at is not None
    assert row["timestamp"].startswith(notification.published_at.isoformat()[:19])


def _type(thing) -> int:
    return ContentType.objects.get_for_model(thing).pk


def test_a_row_that_was_not_sent_in_these_words_has_a_title(user, browser: Client) -> None:
    notify(user, "Shipped", data={"order": 7})
    [row] = browser.get(url(NAMES[1])).json()["unread_list"]
    assert row["verb"] == "Shipped"
    assert "actor" not in row
    assert "target" not in row
    assert row["data"] == {"order": 7}


def test_objects_of_an_app_that_is_gone_are_looked_up_once(
    user, browser: Client, django_assert_max_num_queries
) -> None:
    for number in range(30):
        notify(user, f"number {number}", data={"target": {"type": "gone.thing", "id": str(number)}})
    browser.get(url(NAMES[1]))
    with django_assert_max_num_queries(10):
        rows = browser.get(url(NAMES[1]), {"max": "30"}).json()["unread_list"]
    assert {row["target_content_type"] for row in rows} == {None}
    assert len({row["target_object_id"] for row in rows}) == 30


@pytest.mark.parametrize(
    ("asked", "count"),
    [("2", 2), ("100", 12), ("0", 10), ("101", 10), ("-1", 10), ("many", 10), ("", 10), ("²", 10)],
)
def test_max_is_how_many_are_listed(user, browser: Client, asked: str, count: int) -> None:
    for number in range(12):
        notify(user, f"number {number}")
    answer = browser.get(url(NAMES[1]), {"max": asked}).json()
    assert len(answer["unread_list"]) == count
    assert answer["unread_count"] == 12


@pytest.mark.parametrize("name", [NAMES[1], NAMES[3]])
def test_a_get_marks_nothing_as_read(user, browser: Client, name: str) -> None:
    notify(user, "unread")
    answer = browser.get(url(name), {"mark_as_read": "true"})
    assert answer.status_code == 405
    assert answer["Allow"] == "POST"
    assert "POST" in answer.json()["error"]
    assert inbox.unread_count(user) == 1


def test_a_post_marks_as_read_what_it_lists(user) -> None:
    for title in ("old", "new"):
        notify(user, title)
    client = Client()
    client.force_login(user)
    answer = client.post(url(NAMES[1]) + "?max=1", {"mark_as_read": "1"}).json()
    assert [(row["verb"], row["unread"]) for row in answer["unread_list"]] == [("new", True)]
    assert answer["unread_count"] == inbox.unread_count(user) == 1
    assert client.post(url(NAMES[1])).json()["unread_count"] == 1


def test_a_post_from_another_site_is_refused(user, browser: Client) -> None:
    notify(user, "unread")
    assert browser.post(url(NAMES[1]), {"mark_as_read": "1"}).status_code == 403
    assert inbox.unread_count(user) == 1


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
@pytest.mark.parametrize("name", NAMES)
def test_other_methods_are_refused(user, name: str, method: str) -> None:
    client = Client()
    client.force_login(user)
    assert getattr(client, method)(url(name)).status_code == 405


@pytest.mark.parametrize("name", NAMES)
def test_nobody_has_nothing(client: Client, name: str) -> None:
    answer = client.get(url(name)).json()
    assert all(value in (0, []) for value in answer.values())
    assert any(value == 0 for value in answer.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_cache_keeps_an_answer(user, browser: Client, name: str) -> None:
    control = browser.get(url(name))["Cache-Control"]
    assert "no-store" in control
    assert "private" in control


def test_each_user_has_an_answer_of_their_own(user, browser: Client) -> None:
    notify(user, "for ada")
    other = Client()
    other.force_login(make_user("bob"))
    for name in NAMES:
        assert browser.get(url(name)).json() != other.get(url(name)).json()
