"""One definition of read state: querysets, counts, folders and the admin's figures agree."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications import broadcast, inbox, notify
from notifications.admin.reach import reach
from notifications.inbox.counts import unread_counts
from notifications.models import Notification, Receipt, Stream, Subscription
from notifications.streams import feeds as stream_feeds
from notifications.streams.names import user_stream
from tests.rooms import LONG_AGO, fill, make_user, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)

SAYS: dict[str, dict[str, Any]] = {
    "read": {"read_at": LONG_AGO},
    "archived": {"read_at": LONG_AGO, "archived_at": LONG_AGO},
    "unread": {},
}


def unread(user: Any) -> int:
    """The number of unread notifications, after checking that every way to count agrees on it."""
    by_queryset = Notification.objects.unread(user).count()
    assert inbox.unread_count(user) == by_queryset
    assert unread_counts([user], stream_feeds.load_inboxes([user])) == {user.pk: by_queryset}
    return by_queryset


def send_everywhere(user: Any, group: Group) -> None:
    notify(user, "mine")
    broadcast("to all")
    broadcast("to staff", to="staff")
    broadcast("to the group", to=group)
    broadcast("news", to="topic:news")


def nothing(user: Any, group: Group) -> None:
    """Change nothing."""


def mute(user: Any, group: Group) -> None:
    inbox.mute(user, "broadcast")


def deactivate(user: Any, group: Group) -> None:
    user.is_active = False
    user.save()


def leave_staff(user: Any, group: Group) -> None:
    user.is_staff = False
    user.save()


def leave_the_group(user: Any, group: Group) -> None:
    user.groups.clear()


def leave_the_topic(user: Any, group: Group) -> None:
    inbox.leave(user, "topic:news")


CHANGES = [
    (nothing, 5),
    (mute, 4),
    (deactivate, 0),
    (leave_staff, 4),
    (leave_the_group, 4),
    (leave_the_topic, 4),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_the_queryset_and_the_count_agree(
    change: Callable[[Any, Group], None], expected: int, settings: Any
) -> None:
    settings.NOTIFICATIONS = {"TOPICS": ["news"]}
    group = Group.objects.create(name="drivers")
    user = make_user(date_joined=LONG_AGO, is_staff=True)
    user.groups.add(group)
    inbox.join(user, "topic:news")
    send_everywhere(user, group)
    assert unread(user) == 5
    change(user, group)
    assert unread(user) == expected


def test_they_agree_for_a_topic_that_is_closed_to_the_user(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOPICS": ["news"]}
    user = make_user(date_joined=LONG_AGO)
    inbox.join(user, "topic:news")
    broadcast("news", to="topic:news")
    assert unread(user) == 1
    settings.NOTIFICATIONS = {"TOPICS": []}
    assert unread(user) == 0


def test_they_agree_for_a_user_who_has_never_connected() -> None:
    user = make_user(date_joined=LONG_AGO)
    fill("broadcast", 3)
    Subscription.objects.all().delete()
    assert Notification.objects.unread(user).count() == 3
    assert unread(user) == 3
    assert not Notification.objects.read(user).exists()


def test_they_agree_inside_of_a_transaction() -> None:
    user = make_user(date_joined=LONG_AGO)
    fill("broadcast", 3)
    Subscription.objects.all().delete()
    with rolled_back():
        assert unread(user) == 3


def test_an_anonymous_visitor_has_nothing() -> None:
    broadcast("to all")
    visitor = AnonymousUser()
    assert not Notification.objects.active(visitor).exists()
    assert not Notification.objects.unread(visitor).exists()
    assert inbox.unread_count(visitor) == 0


def test_what_a_muted_stream_holds_is_listed_and_does_not_count() -> None:
    user = make_user(date_joined=LONG_AGO)
    broadcast("loud")
    inbox.mute(user, "broadcast")
    assert unread(user) == 0
    assert [row.title for row in Notification.objects.active(user)] == ["loud"]
    assert not Notification.objects.read(user).exists()


OFFSETS = st.integers(0, 6)
MARKS = st.fixed_dictionaries({"since": OFFSETS, "read": OFFSETS, "archived": OFFSETS})
RECEIPTS = st.dictionaries(st.integers(1, 6), st.sampled_from(sorted(SAYS)), max_size=6)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(marks=MARKS, receipts=RECEIPTS)
def test_every_expression_of_the_rule_agrees(
    marks: dict[str, int], receipts: dict[int, str]
) -> None:
    Stream.objects.all().delete()
    user, _ = get_user_model().objects.get_or_create(username="reader", date_joined=LONG_AGO)
    stream = fill(user_stream(user.pk), 6)
    stream_feeds.load_inbox(user)
    Subscription.objects.filter(user=user, stream=stream).update(**marks)
    rows = {row.offset or 0: row for row in Notification.objects.filter(stream=stream)}
    for offset, says in receipts.items():
        Receipt.objects.create(user=user, notification=rows[offset], **SAYS[says])

    entries = inbox.list_entries(user).entries + inbox.list_entries(user, "archived").entries
    expected_unread = {e.notification.pk for e in entries if not e.read}
    assert unread(user) == len(expected_unread)
    assert pks(Notification.objects.unread(user)) == expected_unread
    assert pks(Notification.objects.read(user)) == {e.notification.pk for e in entries if e.read}
    archived = {e.notification.pk for e in entries if e.archived}
    assert pks(Notification.objects.archived(user)) == archived
    # A receipt still proves the reading after its user has left the stream and joined it again.
    seen = [row for offset, row in rows.items() if offset > marks["since"]]
    assert {pk for pk, figures in reach(seen).items() if figures.read} == {
        e.notification.pk for e in entries if e.read
    }


def pks(rows: Any) -> set[int]:
    return set(rows.values_list("pk", flat=True))
