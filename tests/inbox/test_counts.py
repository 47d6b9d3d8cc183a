"""Unread counts of many users at once equal the counts of each user alone."""

import random
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications import broadcast, inbox, notify
from notifications.inbox.counts import unread_counts
from notifications.models import Notification, Receipt, Stream, Subscription
from notifications.publishing.notify import withdraw
from notifications.streams import feeds as stream_feeds
from notifications.streams import subscriptions
from notifications.streams.names import user_stream
from notifications.streams.rows import ensure
from tests.rooms import LONG_AGO, fill, make_old_users, plans, queries

pytestmark = pytest.mark.django_db(transaction=True)


def counted(users: list[Any]) -> dict[Any, int]:
    return unread_counts(users, stream_feeds.load_inboxes(users))


def one_by_one(users: list[Any]) -> dict[Any, int]:
    return {user.pk: inbox.unread_count(user) for user in users}


@pytest.mark.parametrize("seed", range(8))
def test_batch_counts_equal_single_counts(seed: int) -> None:
    chance = random.Random(seed)
    users = make_old_users(4)
    names = ["broadcast", *(f"user:{user.pk}" for user in users), "topic:news"]
    subscriptions.join([user.pk for user in users[:2]], "topic:news")
    for _ in range(60):
        user = chance.choice(users)
        ids = list(Notification.objects.values_list("pk", flat=True)) or [1]
        some = chance.sample(ids, min(3, len(ids)))
        chance.choice(
            [
                lambda: notify(user, "private"),  # noqa: B023 - called at once
                lambda: broadcast("to all"),
                lambda: broadcast("news", to="topic:news"),
                lambda: inbox.mark_read(user, some),  # noqa: B023
                lambda: inbox.mark_unread(user, some),  # noqa: B023
                lambda: inbox.archive(user, some),  # noqa: B023
                lambda: inbox.read_all(user),  # noqa: B023
                lambda: subscriptions.mute(user.pk, chance.choice(names), chance.random() < 0.5),  # noqa: B023
                lambda: withdraw(Notification.objects.filter(pk=some[0])),  # noqa: B023
            ]
        )()
    assert counted(users) == one_by_one(users)


def news_for_some(user: Any, slug: str) -> bool:
    """A ``TOPIC_PERMISSION`` by which some subscribed users may not read the topic any more."""
    return not user.username.endswith("0")


# The state that decides the counts: for each stream, the fate of each of its notifications; for
# each user and stream, the marks, and the receipts by offset.

LENGTH = 12
OFFSETS = st.integers(0, LENGTH)
FATES = st.lists(
    st.sampled_from(["there", "there", "there", "withdrawn", "expired", "lasting", "deleted"]),
    min_size=LENGTH,
    max_size=LENGTH,
)
MARKS = st.fixed_dictionaries(
    {"since": OFFSETS, "read": OFFSETS, "archived": OFFSETS, "muted": st.booleans()}
)
WORDS = st.dictionaries(
    st.integers(1, LENGTH), st.sampled_from(["read", "archived", "unread"]), max_size=LENGTH
)
#: For the user's own stream, broadcast, a topic and a group.
PLACES = st.lists(st.tuples(MARKS, WORDS), min_size=4, max_size=4)
RECEIPTS = {
    "read": {"read_at": LONG_AGO},
    "archived": {"read_at": LONG_AGO, "archived_at": LONG_AGO},
    "unread": {},
}


def rewrite(names: list[str], histories: list[list[str]]) -> None:
    """Replace the histories of these streams."""
    Notification.objects.all().delete()
    streams = ensure(names)
    now, day = timezone.now(), timedelta(days=1)
    changes: dict[str, dict[str, Any]] = {
        "withdrawn": {"withdrawn_at": now},
        "expired": {"expires_at": now - day},
        "lasting": {"expires_at": now + day},
    }
    Notification.objects.bulk_create(
        Notification(
            stream=streams[name],
            offset=offset,
            title="one",
            published_at=LONG_AGO + timedelta(seconds=offset),
            **changes.get(fate, {}),
        )
        for name, fates in zip(names, histories, strict=True)
        for offset, fate in enumerate(fates, start=1)
        if fate != "deleted"
    )
    Stream.objects.filter(name__in=names).update(top=LENGTH)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    most=st.sampled_from([1, 2, 3, 5, 8, 100]),
    histories=st.lists(FATES, min_size=4, max_size=4),
    people=st.lists(PLACES, min_size=1, max_size=4),
)
def test_batch_counts_equal_single_counts_in_any_state(
    most: int, histories: list[list[str]], people: list[Any]
) -> None:
    users = people_of_the_test()[: len(people)]
    shared = ["broadcast", "topic:news", f"group:{Group.objects.get().pk}"]
    private = [user_stream(user.pk) for user in users]
    rewrite([*shared, *private], [*histories[1:], *histories[:1] * len(users)])
    rows = list(Notification.objects.select_related("stream"))
    receipts = []
    for user, places in zip(users, people, strict=True):
        for name, (marks, words) in zip([user_stream(user.pk), *shared], places, strict=True):
            Subscription.objects.filter(user=user, stream__name=name).update(**marks)
            receipts += [
                Receipt(user=user, notification=row, **RECEIPTS[words[row.offset]])
                for row in rows
                if row.stream_name == name and row.offset in words
            ]
    Receipt.objects.bulk_create(receipts)
    with override_settings(
        NOTIFICATIONS={
            "MAX_UNREAD_COUNT": most,
            "TOPIC_PERMISSION": "tests.inbox.test_counts.news_for_some",
        }
    ):
        assert counted(users) == one_by_one(users)


def people_of_the_test() -> list[Any]:
    """Four users who read all four streams. Examples share them."""
    if not Group.objects.exists():
        users = make_old_users(4)
        group = Group.objects.create(name="crew")
        group.user_set.set(users)
        subscriptions.join([user.pk for user in users], "topic:news")
        stream_feeds.load_inboxes(users)
    return list(Group.objects.get().user_set.order_by("pk"))


def test_counts_stop_at_the_maximum() -> None:
    users = make_old_users(3)
    fill("broadcast", 12)
    with override_settings(NOTIFICATIONS={"MAX_UNREAD_COUNT": 5}):
        assert set(counted(users).values()) == {5}


def test_the_number_of_queries_does_not_depend_on_the_number_of_users() -> None:
    users = make_old_users(40)
    fill("broadcast", 3)
    notify(users, "private")
    stream_feeds.load_inboxes(users)
    few = len(queries(lambda: counted(users[:2])))
    assert len(queries(lambda: counted(users))) == few


def make_readers_at_many_places(count: int, length: int) -> list[Any]:
    """Users with different marks in two shared streams, some of them with long private streams."""
    users = make_old_users(count)
    subscriptions.join([user.pk for user in users], "topic:news")
    stream_feeds.load_inboxes(users)
    numbers = {user.pk: number for number, user in enumerate(users)}
    words = [RECEIPTS["unread"], RECEIPTS["read"], RECEIPTS["archived"]]
    receipts = []
    for name in ("broadcast", "topic:news"):
        fill(name, length)
        rows = list(Notification.objects.filter(stream__name=name))
        receipts += [
            Receipt(user_id=pk, notification=rows[(number * 37 + n) % length], **words[n % 3])
            for pk, number in numbers.items()
            for n in range(number % 7)
        ]
    Receipt.objects.bulk_create(receipts)
    places = list(Subscription.objects.filter(stream__name__in=["broadcast", "topic:news"]))
    for place in places:
        place.since, place.read = 0, numbers[place.user_id] * 37 % length
        place.archived = place.read // 2
    Subscription.objects.bulk_update(places, ["since", "read", "archived"])
    notify(users[1:], "private")
    for user in users[::25]:
        Notification.objects.filter(stream__name=user_stream(user.pk)).delete()
        fill(user_stream(user.pk), length)
    return users


def test_the_number_of_queries_does_not_depend_on_where_the_users_are() -> None:
    """For 1, 60 and 500 users, with unread notifications below and far above the maximum."""
    users = make_readers_at_many_places(500, 40)
    feeds = stream_feeds.load_inboxes(users)
    with override_settings(NOTIFICATIONS={"MAX_UNREAD_COUNT": 9}):
        numbers = {
            count: len(queries(lambda: unread_counts(users[:count], feeds)))  # noqa: B023 - now
            for count in (1, 60, 500)
        }
        assert numbers == {1: 3, 60: 5, 500: 5}  # the first user has no receipts
        some = users[::25]
        assert counted(some) == one_by_one(some)
    assert counted(some) == one_by_one(some)


def test_counting_reads_along_indexes_up_to_the_maximum() -> None:
    users = make_readers_at_many_places(30, 40)
    feeds = stream_feeds.load_inboxes(users)
    plan = plans(lambda: unread_counts(users, feeds), about="notifications_")
    assert not re.search("(SCAN|Seq Scan on) notifications_", plan), plan
    statements = queries(lambda: unread_counts(users, feeds))
    assert all(" LIMIT " in statement for statement in statements)


def test_a_user_with_more_receipts_than_the_maximum_is_counted_separately() -> None:
    users = make_old_users(3)
    fill("broadcast", 30)
    stream_feeds.load_inboxes(users)
    Subscription.objects.update(since=0, read=0)
    rows = list(Notification.objects.order_by("-offset"))
    Receipt.objects.bulk_create(
        Receipt(user=users[0], notification=row, **RECEIPTS["read"]) for row in rows[:25]
    )
    with override_settings(NOTIFICATIONS={"MAX_UNREAD_COUNT": 7}):
        assert list(counted(users).values()) == [5, 7, 7]
        bounds = [
            sql.rpartition(" LIMIT ")[2].split()[0] for sql in queries(lambda: counted(users))
        ]
    assert not any(bound.isdecimal() and int(bound) > 14 for bound in bounds)
