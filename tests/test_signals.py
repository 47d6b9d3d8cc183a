"""Publishing by signal: ``push``, and ``notify`` with the arguments of django-notifications."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from notifications import inbox
from notifications.models import Notification
from notifications.signals import notify, push
from tests.rooms import hints, make_user, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)


class Page:
    """An object of the host with a name and a link."""

    def __init__(self, name: str, url: str = "") -> None:
        self.name = name
        self.url = url

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return self.url


def only() -> Notification:
    return Notification.objects.select_related("stream").get()


def test_push_to_users_calls_notify() -> None:
    users = [make_user("a"), make_user("b")]
    push.send(None, to=users[0], title="one", url="/orders/7/", level="success")
    notification = only()
    assert notification.stream_name == f"user:{users[0].pk}"
    assert (notification.title, notification.url) == ("one", "/orders/7/")
    assert (notification.level, notification.kind) == ("success", "message")
    push.send(Page, to=users, title="two")
    push.send(Page, to=get_user_model().objects.all(), title="three")
    assert Notification.objects.count() == 5


@pytest.mark.parametrize("to", ["everyone", "staff", "topic:a"])
def test_push_to_a_stream_name_is_a_broadcast(to: str) -> None:
    ((_, answer),) = push.send(None, to=to, title="hello")
    sent: Any = answer
    assert sent == only()
    assert sent.stream_name == {"everyone": "broadcast"}.get(to, to)


def test_push_to_a_group_is_a_broadcast() -> None:
    group = Group.objects.create(name="a")
    push.send(None, to=group, title="hello")
    assert only().stream_name == f"group:{group.pk}"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"to": "nobody", "title": "x"}, ValueError),
        ({"to": None, "title": "x"}, ValueError),
        ({"to": "everyone", "title": ""}, ValidationError),
        ({"to": "everyone", "title": "x", "colour": "red"}, TypeError),
        ({"to": "everyone"}, TypeError),
    ],
)
def test_push_raises_errors_to_the_sender(arguments: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        push.send(None, **arguments)
    assert not Notification.objects.exists()


def test_a_misspelled_option_raises_and_is_found_by_mypy() -> None:
    # mypy checks this file too, and reports an "ignore" that is not needed.
    with pytest.raises(TypeError, match="levle"):
        push.send(None, to="everyone", title="hello", levle="info")  # type: ignore[call-arg]


def test_a_push_in_a_rolled_back_transaction_is_not_sent() -> None:
    with hints() as sent, rolled_back():
        push.send(None, to="everyone", title="never")
    assert sent == []


def test_notify_takes_the_arguments_of_django_notifications() -> None:
    ada, bob = make_user("ada"), make_user("bob")
    group = Group.objects.create(name="Friends")
    notify.send(
        ada,
        recipient=bob,
        verb="added",
        action_object=bob,
        target=group,
        description="Welcome!",
        level="success",
        public=False,
        timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        colour="red",
    )
    notification = only()
    assert notification.title == "ada added bob on Friends"
    assert notification.stream_name == f"user:{bob.pk}"
    assert (notification.body, notification.level) == ("Welcome!", "success")
    assert notification.actor == ada
    assert notification.data == {
        "verb": "added",
        "action_object": {"type": "auth.user", "id": str(bob.pk), "name": "bob"},
        "target": {"type": "auth.group", "id": str(group.pk), "name": "Friends"},
        "timestamp": "2026-01-02T03:04:05Z",
        "colour": "red",
    }
    assert inbox.unread_count(bob) == 1


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        ({}, "ada left"),
        ({"target": "the garden"}, "ada left the garden"),
        ({"action_object": "a rake"}, "ada left a rake"),
    ],
)
def test_notify_leaves_out_missing_arguments(arguments: dict[str, Any], title: str) -> None:
    ada = make_user("ada")
    notify.send(ada, recipient=ada, verb="left", **arguments)
    assert only().title == title
    assert only().data == {"verb": "left"} | {k: {"name": v} for k, v in arguments.items()}


def test_notify_takes_lists_querysets_and_groups() -> None:
    users = [make_user("a"), make_user("b")]
    group = Group.objects.create(name="a")
    group.user_set.set(users)
    notify.send(users[0], recipient=users, verb="waved")
    notify.send(users[0], recipient=get_user_model().objects.all(), verb="waved")
    assert Notification.objects.count() == 4
    notify.send(users[0], recipient=group, verb="waved")
    assert Notification.objects.latest("pk").stream_name == f"group:{group.pk}"
    assert [inbox.unread_count(user) for user in users] == [3, 3]


def test_a_sender_that_is_not_a_user_is_not_the_actor() -> None:
    user = make_user()
    notify.send(Page(name="The shop"), recipient=user, verb="opened")
    assert only().actor is None
    assert only().title == "The shop opened"
    assert only().data["actor"] == {"name": "The shop"}


@pytest.mark.parametrize(
    ("target", "action", "url"),
    [
        ("/posts/7/", "/comments/8/", "/posts/7/"),
        ("", "/comments/8/", "/comments/8/"),
        ("javascript:alert(1)", "/comments/8/", "/comments/8/"),
        ("//evil.example/", "/" + "a" * 3000, ""),
    ],
)
def test_the_link_is_the_first_valid_one(target: str, action: str, url: str) -> None:
    user = make_user()
    pages: dict[str, Any] = {
        "target": Page(name="a post", url=target),
        "action_object": Page(name="a comment", url=action),
    }
    notify.send(user, recipient=user, verb="made", **pages)
    assert only().url == url


def test_a_sentence_too_long_for_a_title_is_in_the_text_in_full() -> None:
    user = make_user("ada")
    notify.send(user, recipient=user, verb="wrote", target="x" * 300, description="Read it!")
    assert len(only().title) == 200
    assert only().title.endswith("x…")
    assert only().body == f"ada wrote {'x' * 300}\n\nRead it!"


def test_a_long_sentence_leaves_a_long_description_alone() -> None:
    user = make_user("ada")
    notify.send(user, recipient=user, verb="wrote", target="x" * 300, description="y" * 10_000)
    assert only().body == "y" * 10_000


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"recipient": "everyone"}, ValueError),
        ({"recipient": None}, ValueError),
        ({"level": "loud"}, ValidationError),
        ({"colour": object()}, ValidationError),
        ({"verb": None, "recipient": 7}, ValueError),
    ],
)
def test_notify_raises_errors_to_the_sender(arguments: dict[str, Any], error: type) -> None:
    user = make_user()
    with pytest.raises(error):
        notify.send(user, **{"recipient": user, "verb": "waved", **arguments})
    assert not Notification.objects.exists()
