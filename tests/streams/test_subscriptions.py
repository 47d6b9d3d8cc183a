"""Subscriptions: where they begin, their marks, and muting."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone

from notifications import broadcast, notify
from notifications.models import Notification, Stream, Subscription
from notifications.streams import feeds as stream_feeds
from notifications.streams import subscriptions
from notifications.streams.feeds import Feed
from notifications.streams.history import read_page
from notifications.streams.names import user_stream
from tests.rooms import LONG_AGO, acknowledge, fill, in_threads, make_old_users, make_user, queries

pytestmark = pytest.mark.django_db(transaction=True)


def load(user: Any) -> dict[str, Feed]:
    return {feed.name: feed for feed in stream_feeds.load_inboxes([user])[user.pk]}


def owed(user: Any, name: str) -> list[str]:
    """The titles that a user gets from a stream when connecting now."""
    feed = load(user)[name]
    page = read_page(feed.stream_id, feed.delivered, 300)
    numbers = [publication.offset for publication in page.publications]
    found = Notification.objects.filter(stream__name=name, offset__in=numbers).order_by("offset")
    return list(found.values_list("title", flat=True))


def test_users_who_join_later_do_not_get_old_broadcasts() -> None:
    broadcast("old")
    user = make_user()
    broadcast("new")
    assert owed(user, "broadcast") == ["new"]


def test_users_created_in_bulk_do_not_get_old_broadcasts() -> None:
    """``bulk_create`` sends no signal, so that ``date_joined`` decides."""
    broadcast("old")
    users = get_user_model()
    users.objects.bulk_create([users(username="a")])
    broadcast("new")
    assert owed(users.objects.get(), "broadcast") == ["new"]
    later = users.objects.bulk_create([users(username="b")])[0]
    assert owed(later, "broadcast") == []


def test_a_user_who_never_connected_is_owed_everything_since_joining() -> None:
    (user,) = make_old_users(1)
    broadcast("one")
    broadcast("two")
    notify(user, "private")
    assert owed(user, "broadcast") == ["one", "two"]
    assert owed(user, user_stream(user.pk)) == ["private"]


def test_a_new_subscription_begins_at_the_oldest_kept_entry() -> None:
    (user,) = make_old_users(1)
    for number in range(4):
        broadcast(str(number))
    Notification.objects.filter(offset__lte=2).delete()
    assert load(user)["broadcast"].since == 2
    assert owed(user, "broadcast") == ["2", "3"]


def test_concurrent_loading_creates_missing_rows_once() -> None:
    group = Group.objects.create(name="a")
    user = make_user(is_staff=True)
    user.groups.add(group)
    Subscription.objects.all().delete()
    names = {f"user:{user.pk}", "broadcast", "staff", f"group:{group.pk}"}
    found = in_threads(4, lambda n: set(load(user)))
    assert found == [names] * 4
    assert Subscription.objects.count() == 4


def test_loading_many_users_takes_as_many_queries_as_loading_few() -> None:
    fill("broadcast", 3)
    users = make_old_users(150)
    few = len(queries(lambda: stream_feeds.load_inboxes(users[:10])))
    stream_feeds.load_inboxes(users[10:20])
    many = len(queries(lambda: stream_feeds.load_inboxes(users[20:])))
    assert many <= few + 10
    assert len(queries(lambda: stream_feeds.load_inboxes(users))) == 2


def test_inactive_users_have_no_feeds() -> None:
    user = make_user(is_active=False)
    assert stream_feeds.load_inboxes([user]) == {user.pk: []}
    assert stream_feeds.load_inbox(user) == []


def test_joining_again_keeps_the_marks() -> None:
    user = make_user()
    broadcast("one")
    subscriptions.join([user.pk], "broadcast")
    assert owed(user, "broadcast") == ["one"]
    subscriptions.leave([user.pk], "broadcast")
    subscriptions.join([user.pk], "broadcast")
    assert owed(user, "broadcast") == []


def test_topics_are_in_the_inbox_while_they_are_readable(settings: Any) -> None:
    user = make_user()
    for name in ("topic:garden", "topic:kitchen"):
        subscriptions.join([user.pk], name)
    assert subscriptions.topics(user.pk) == 2
    names = [feed.name for feed in stream_feeds.load_inbox(user)]
    assert names == [f"user:{user.pk}", "broadcast", "topic:garden", "topic:kitchen"]
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": "tests.streams.test_names.only_garden"}
    assert "topic:kitchen" not in {feed.name for feed in stream_feeds.load_inbox(user)}
    assert stream_feeds.load_topic(user.pk, "topic:garden") is not None
    assert stream_feeds.load_topic(user.pk, "topic:other") is None


def test_many_inboxes_equal_those_loaded_one_by_one() -> None:
    users = [*make_old_users(3), make_user("off", is_active=False)]
    subscriptions.join([users[0].pk, users[1].pk, users[3].pk], "topic:garden")
    together = stream_feeds.load_inboxes(users)
    assert together == {user.pk: stream_feeds.load_inbox(user) for user in users}
    names = [[feed.name for feed in together[user.pk]][1:] for user in users]
    assert names == [["broadcast", "topic:garden"]] * 2 + [["broadcast"], []]


def test_acknowledged_positions_advance_and_never_go_back() -> None:
    users = make_old_users(130)
    fill("broadcast", 9)
    feeds = stream_feeds.load_inboxes(users)
    stream_id = Stream.objects.get(name="broadcast").pk
    first = {(user.pk, stream_id): 1 + number % 9 for number, user in enumerate(users)}
    statements = queries(lambda: acknowledge(first))
    assert len([sql for sql in statements if "UPDATE" in sql]) == 1
    acknowledge(dict.fromkeys(first, 5))
    rows = Subscription.objects.filter(stream=stream_id)
    assert dict(rows.values_list("user", "delivered")) == {
        user.pk: max(1 + number % 9, 5) for number, user in enumerate(users)
    }
    own = feeds[users[0].pk][0]
    assert Subscription.objects.get(user=users[0], stream=own.stream_id).delivered == 0
    acknowledge({})


def test_positions_without_a_subscription_are_ignored() -> None:
    acknowledge({(10**6, 10**6): 1})


def test_entries_published_while_muted_stay_unsent_and_read() -> None:
    user = make_user()
    broadcast("before")
    assert subscriptions.mute(user.pk, "broadcast", True)
    assert load(user)["broadcast"].muted
    broadcast("meanwhile")
    assert subscriptions.mute(user.pk, "broadcast", False)
    feed = load(user)["broadcast"]
    assert (feed.muted, feed.delivered, feed.read) == (False, 2, 2)
    broadcast("after")
    assert owed(user, "broadcast") == ["after"]


def test_unmuting_a_stream_that_is_not_muted_changes_nothing() -> None:
    user = make_user()
    broadcast("one")
    assert subscriptions.mute(user.pk, "broadcast", False)
    assert load(user)["broadcast"].delivered == 0
    assert not subscriptions.mute(user.pk, "topic:unknown", True)
    assert not subscriptions.mute(user.pk, "topic:unknown", False)


def test_expired_broadcasts_are_not_sent() -> None:
    user = make_user(date_joined=LONG_AGO)
    broadcast("gone", expires_at=timezone.now() + timedelta(hours=1))
    Notification.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    broadcast("there")
    assert owed(user, "broadcast") == ["there"]


class LaggingUsers:
    """A router that reads users, and subqueries with them, from a replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica" if model is get_user_model() else "default"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_p1_the_beginning_of_an_old_user_is_not_read_from_a_replica(settings: Any) -> None:
    """With a lagging replica, the user would begin after entries that it lacks."""
    (user,) = make_old_users(1)
    fill("broadcast", 3)
    settings.DATABASE_ROUTERS = [f"{__name__}.LaggingUsers"]
    assert load(user)["broadcast"].since == 0
