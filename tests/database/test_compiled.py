"""Queries that are compiled once find what the same queries of the ORM find now."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from notifications import broadcast, inbox
from notifications.database.compiled import Compiled
from notifications.models import Stream, Subscription
from notifications.streams import feeds as stream_feeds
from notifications.streams.access import names_by_user
from notifications.streams.feeds import begin, read_inboxes
from tests.rooms import make_old_users, queries
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = Compiled(
    lambda using, among: Stream.objects.using(using).filter(among).values_list("name", "top"),
    lambda: Stream._meta.get_field("name"),
    f'"{Stream._meta.db_table}"."name"',
)


def test_any_number_of_values_takes_one_statement() -> None:
    names = [f"topic:{number}" for number in range(3000)]
    Stream.objects.bulk_create(Stream(name=name, epoch="e") for name in names)
    found: list[Any] = []
    statements = queries(lambda: found.extend(NAMES.rows("default", [*names[10:], "none"])))
    assert len(statements) == 1
    assert sorted(found) == sorted((name, 0) for name in names[10:])
    assert queries(lambda: NAMES.rows("default", [])) == []


@pytest.mark.parametrize(
    "name", ["topic:{x}", 'topic:"', "topic:\\", "topic:\u00e4,NULL", "%s", "'"]
)
def test_texts_of_any_kind_are_found(name: str) -> None:
    Stream.objects.create(name=name, epoch="e")
    assert list(NAMES.rows("default", [name, "other"])) == [(name, 0)]


def test_values_have_the_types_of_the_orm() -> None:
    users = make_old_users(3)
    begin(read_inboxes(users).missing)
    Subscription.objects.filter(user=users[0]).update(muted=True)
    found = read_inboxes(users).feeds
    for user in users:
        rows = Subscription.objects.filter(user=user).values_list(*stream_feeds.COLUMNS)
        expected = {feed.name: feed for feed in (stream_feeds.Feed(*row[1:]) for row in rows)}
        assert {feed.name: feed for feed in found[user.pk]} == expected
        assert all(type(feed.muted) is bool for feed in found[user.pk])


def test_groups_are_found_in_their_order() -> None:
    users = make_old_users(2)
    groups = [Group.objects.create(name=name) for name in "cba"]
    users[1].groups.set(reversed(groups))
    expected = [f"user:{users[1].pk}", "broadcast", *(f"group:{group.pk}" for group in groups)]
    assert names_by_user(users)[users[1].pk] == expected
    assert names_by_user(users)[users[0].pk] == [f"user:{users[0].pk}", "broadcast"]


def test_the_present_moment_is_that_of_each_run() -> None:
    (user,) = make_old_users(1)
    begin(read_inboxes([user]).missing)
    broadcast("lasting")
    broadcast("brief", expires_at=timezone.now() + timedelta(seconds=1.5))
    assert inbox.unread_count(user) == 2
    wait_until(lambda: inbox.unread_count(user) < 2, "the end of the brief one")
    assert inbox.unread_count(user) == 1
