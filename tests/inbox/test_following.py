"""Following topics: joining and leaving them, and the stream rows that this makes and deletes."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction

from notifications import broadcast, inbox
from notifications.models import Notification, Stream, Subscription
from notifications.streams.rows import remove_unused
from tests.rooms import hints, in_threads, make_user, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)

NEWS = "topic:news"


def has_row(name: str = NEWS) -> bool:
    return Stream.objects.filter(name=name).exists()


def listed(user: Any) -> list[str]:
    return [entry.notification.title for entry in inbox.list_entries(user).entries]


def test_a_topic_is_in_the_inbox_from_joining_until_leaving() -> None:
    user = make_user()
    broadcast("before", to=NEWS)
    assert inbox.join(user, NEWS)
    broadcast("between", to=NEWS)
    assert listed(user) == ["between"]
    assert not inbox.join(user, NEWS)
    assert listed(user) == ["between"]
    assert inbox.leave(user, NEWS)
    assert listed(user) == []
    assert not inbox.leave(user, NEWS)
    assert inbox.join(user, NEWS)
    broadcast("after", to=NEWS)
    assert listed(user) == ["after"]


def test_an_unreadable_topic_is_not_joined_and_leaves_no_row(settings: Any) -> None:
    user = make_user()
    with pytest.raises(PermissionDenied):
        inbox.join(user, "topic:undeclared")
    assert not has_row("topic:undeclared")


def test_a_topic_beyond_the_maximum_is_refused_and_leaves_no_row(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOPICS": ["news", "beta"], "MAX_TOPICS": 1}
    user = make_user()
    inbox.join(user, NEWS)
    with pytest.raises(inbox.TooManyTopics):
        inbox.join(user, "topic:beta")
    assert not has_row("topic:beta")
    inbox.leave(user, NEWS)
    assert inbox.join(user, "topic:beta")


@pytest.mark.parametrize("name", ["broadcast", "staff", "user:1", "group:1", "topic:", "x", ""])
def test_only_topics_can_be_joined_and_left(name: str) -> None:
    user = make_user(is_staff=True)
    for change in (inbox.join, inbox.leave):
        with pytest.raises(ValueError):  # noqa: PT011
            change(user, name)
    assert Subscription.objects.filter(stream__name="staff").count() == 1


def test_joining_and_leaving_are_announced_after_the_commit() -> None:
    user = make_user()
    with hints() as sent:
        with rolled_back():
            inbox.join(user, NEWS)
        assert sent == []
        assert not has_row()
        inbox.join(user, NEWS, origin="phone")
        inbox.leave(user, NEWS)
    kinds = [(message["type"].partition(".")[2], message.get("origin")) for _, message in sent]
    assert kinds == [("message", "phone"), ("message", ""), ("changed", None)]
    assert b'"type":"join"' in sent[0][1]["data"]
    assert b'"channel":"topic:news"' in sent[1][1]["data"]


def test_the_row_of_an_unused_topic_is_deleted_when_the_last_user_leaves() -> None:
    first, second = make_user("first"), make_user("second")
    inbox.join(first, NEWS)
    inbox.join(second, NEWS)
    inbox.leave(first, NEWS)
    assert has_row()
    inbox.leave(second, NEWS)
    assert not has_row()


def test_the_row_of_a_topic_with_publications_is_kept() -> None:
    user = make_user()
    inbox.join(user, NEWS)
    broadcast("one", to=NEWS)
    inbox.leave(user, NEWS)
    assert Stream.objects.get(name=NEWS).top == 1
    Notification.objects.all().delete()
    inbox.join(user, NEWS)
    inbox.leave(user, NEWS)
    assert Stream.objects.get(name=NEWS).top == 1, "offsets are never given twice"


def test_the_row_of_a_topic_with_a_waiting_notification_is_kept() -> None:
    user = make_user()
    inbox.join(user, NEWS)
    with transaction.atomic():
        broadcast("one", to=NEWS)
        inbox.leave(user, NEWS)
    assert Notification.objects.get().offset == 1


def test_followed_and_offered_topics_are_listed_by_name() -> None:
    user = make_user()
    inbox.join(user, "topic:beta")
    inbox.mute(user, "topic:beta")
    inbox.join(user, NEWS)
    found = {topic.slug: topic for topic in inbox.topics(user)}
    assert [slug for slug, topic in found.items() if topic.is_followed] == ["beta", "news"]
    assert [slug for slug, topic in found.items() if topic.is_muted] == ["beta"]
    assert "garden" in found
    assert list(found) == sorted(found)


def test_a_topic_that_became_unreadable_can_be_left(settings: Any) -> None:
    user = make_user()
    inbox.join(user, NEWS)
    settings.NOTIFICATIONS = {"TOPICS": ["beta"]}
    found = [(topic.slug, topic.is_followed, topic.is_readable) for topic in inbox.topics(user)]
    assert found == [("beta", False, True), ("news", True, False)]
    assert inbox.leave(user, NEWS)
    assert [topic.slug for topic in inbox.topics(user)] == ["beta"]


def test_joining_and_leaving_concurrently_never_fails() -> None:
    users = [make_user(f"user{number}") for number in range(6)]

    def change(number: int) -> None:
        user = get_user_model().objects.get(pk=users[number].pk)
        for _ in range(15):
            inbox.join(user, NEWS)
            inbox.leave(user, NEWS)
        if number == 0:
            inbox.join(user, NEWS)

    in_threads(len(users), change)
    assert list(Subscription.objects.filter(stream__name=NEWS).values_list("user", flat=True)) == [
        users[0].pk
    ]


def test_publishing_to_a_topic_while_users_leave_it_never_fails() -> None:
    users = [make_user(f"user{number}") for number in range(3)]

    def change(number: int) -> None:
        if number == 3:
            for count in range(15):
                broadcast(f"number {count}", to=f"topic:{'ab'[count % 2]}")
            return
        user = get_user_model().objects.get(pk=users[number].pk)
        for count in range(15):
            inbox.join(user, f"topic:{'ab'[count % 2]}")
            inbox.leave(user, f"topic:{'ab'[count % 2]}")

    in_threads(4, change)
    assert Notification.objects.published().count() == 15


def test_removing_a_missing_unused_row_is_no_error() -> None:
    remove_unused("topic:nothing")
