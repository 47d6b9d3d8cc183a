"""Calls for a large queryset of users, whose rows the database writes by itself."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import OperationalError, transaction
from django.utils import timezone

from notifications import notify
from notifications.models import Notification, Stream
from notifications.publishing import inserting, sequencing
from notifications.publishing import notify as publishing
from notifications.publishing.ids import Ids
from notifications.publishing.sequencing import sequence_waiting
from notifications.signals import published
from notifications.streams.rows import ensure
from notifications.testing import captured_notifications
from tests.rooms import hints, make_old_users, queries, rolled_back, write

pytestmark = pytest.mark.django_db(transaction=True)

#: Users of a test, and the recipients of a chunk in it.
MANY, CHUNK = 12, 5

TOMORROW = timezone.now() + timedelta(days=1)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (publishing, inserting):
        monkeypatch.setattr(module, "CHUNK", CHUNK)
    sequencing.setbacks.clear()
    yield
    sequencing.setbacks.clear()


def users() -> Any:
    return get_user_model().objects.order_by("pk")


def make_world() -> None:
    """Create users. Some have a stream, some of these notifications, published or waiting."""
    people = make_old_users(MANY)
    ensure(f"user:{user.pk}" for user in people[::3])
    with hints():
        notify(people[1::3], "before")
        notify(people[1::3], "before")
    Notification.objects.create(channel=f"user:{people[2].pk}", title="left unplaced")
    Notification.objects.create(channel=f"user:{people[5].pk}", title="left", key="other")
    write(f"user:{people[4].pk}")
    for number, user in enumerate(people):
        user.first_name = f"{number * 7 % MANY:02}"
        user.save(update_fields=["first_name"])
    for name in "ab":
        Group.objects.create(name=name).user_set.add(*people[2:9])


def remove_world() -> None:
    Notification.objects.all().delete()
    Stream.objects.filter(name__startswith="user:").delete()
    get_user_model().objects.all().delete()
    Group.objects.all().delete()


def describe(ids: Any, reported: list[int], sent: list[Any]) -> Any:
    """All that the call has done, with the names of the users instead of primary keys."""
    names = {f"user:{user.pk}": user.username for user in users()}
    rows = [
        (
            names[row.stream_name],
            row.stream is None,
            *(row.offset, row.title, row.body, row.url, row.kind, row.level, row.data),
            *(row.actor, row.key, row.expires_at, row.publication, row.duplicate_of_id),
            *(row.withdrawn_at, row.publish_at == TOMORROW, row.published_at is None),
        )
        for row in Notification.objects.select_related("stream")
    ]
    streams = [
        (names[stream.name], stream.top, stream.published_at is None, len(stream.epoch))
        for stream in Stream.objects.filter(name__startswith="user:")
    ]
    return {
        "ids": [names[Notification.objects.get(pk=pk).stream_name] for pk in ids],
        "rows": sorted(rows, key=str),
        "streams": sorted(streams),
        # Those who get their offsets at once are reported at once.
        "progress": reported[-1:],
        "hints": sorted(
            (names.get(name, name), message["type"], message.get("offset", 0))
            for name, message in sent
        ),
    }


CHOICES: dict[str, Callable[[], Any]] = {
    "all": users,
    "in another order": lambda: users().order_by("-first_name"),
    "some": lambda: users().filter(first_name__gt="02"),
    "a text with a percent sign": lambda: users().exclude(username__contains="100%"),
    "some of them twice": lambda: (
        users().filter(groups__name__in="ab").order_by("-groups__name", "first_name")
    ),
    "a slice": lambda: users().order_by("first_name")[2:11],
    "distinct": lambda: users().filter(groups__name__in="ab").distinct().order_by("-first_name"),
    "a union": lambda: (
        users().order_by().filter(first_name__lt="05").union(users().order_by())
    ).order_by("id"),
    "values": lambda: users().values("username"),
    "few": lambda: users()[:3],
    "nobody": lambda: users().none(),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all options": {
        "body": "100 % “Über” '\\ %s",
        "url": "/orders/7/",
        "kind": "order.shipped",
        "level": "success",
        "data": {"nested": {"a": [1, None, "%s"]}},
        "expires_at": datetime(2100, 1, 1, tzinfo=UTC),
    },
    "scheduled": {"publish_at": TOMORROW},
    "a key": {"key": "k"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
def test_rows_offsets_and_answers_are_the_same_in_a_transaction_and_for_a_list(
    choose: Callable[[], Any], options: dict[str, Any]
) -> None:
    done = []
    for is_list, in_transaction in product((False, True), repeat=2):
        make_world()
        to = choose()
        if is_list:
            by_name = {user.username: user for user in users()}
            names = [row["username"] for row in to] if to._fields else [row.username for row in to]
            to = [by_name[name] for name in names]
        reported: list[int] = []
        with hints() as sent, transaction.atomic() if in_transaction else nullcontext():
            ids = notify(to, "hello", progress=reported.append, **options)
        done.append(describe(ids, reported, sent))
        remove_world()
    assert done == done[:1] * 4


def test_a_large_queryset_is_written_by_as_many_statements_as_a_small_one() -> None:
    make_old_users(4 * CHUNK)

    def write_all(to: Any) -> list[str]:
        found: list[str] = []
        with hints(), transaction.atomic():
            found += queries(lambda: notify(to, "hello"))
        return found

    small, large = write_all(users()[: CHUNK + 1]), write_all(users())
    assert len(large) == len(small)
    assert len([sql for sql in large if "INSERT" in sql]) == 1
    assert Notification.objects.published().count() == 5 * CHUNK + 1


def test_the_recipients_do_not_pass_through_the_caller() -> None:
    people = make_old_users(MANY)
    with hints(), transaction.atomic():
        statements = queries(lambda: notify(users(), "hello"))
    assert not [sql for sql in statements if f"user:{people[-1].pk}" in sql]


def test_a_large_call_that_is_rolled_back_leaves_nothing() -> None:
    make_old_users(MANY)
    reported: list[int] = []
    with hints() as sent, rolled_back():
        notify(users(), "never", progress=reported.append)
        assert Notification.objects.count() == MANY
    assert (sent, reported) == ([], [])
    assert not Notification.objects.exists()
    assert not Stream.objects.filter(name__startswith="user:").exists()


def test_p1_a_large_call_whose_process_dies_after_the_commit_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_old_users(MANY)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(sequencing, "give_offsets", fail)
        with transaction.atomic():
            ids = notify(users(), "hello")
    assert "a worker will publish" in caplog.text
    assert len(ids) == Notification.objects.waiting().count() == MANY
    with hints():
        assert sequence_waiting() == MANY
    assert set(Stream.objects.filter(name__startswith="user:").values_list("top")) == {(1,)}


def test_receivers_and_tests_hear_of_each_notification_of_a_large_call() -> None:
    people = make_old_users(MANY)
    heard: list[str] = []

    def hear(notification: Notification, **kwargs: Any) -> None:
        heard.append(notification.stream_name)

    published.connect(hear)
    try:
        with hints(), captured_notifications() as captured:
            notify(users(), "captured")
        with hints():
            notify(users(), "hello")
    finally:
        published.disconnect(hear)
    names = [f"user:{user.pk}" for user in people]
    assert sorted(heard) == sorted(2 * names)
    assert sorted(notification.stream_name for notification in captured) == sorted(names)


def test_primary_keys_compare_like_a_list_and_are_sliced_like_one() -> None:
    ids = Ids([range(3, 6), range(7, 8), range(10, 20)])
    listed = [3, 4, 5, 7, *range(10, 20)]
    assert ids == listed == list(ids)
    assert ids != listed[:-1]
    assert len(ids) == len(listed)
    assert [ids[place] for place in range(-14, 14)] == listed + listed
    for part in (slice(0, 2), slice(2, 5), slice(3, 4), slice(4, 99), slice(9, 2), slice(-3, None)):
        assert ids[part] == listed[part]
    assert ids[::-2] == listed[::-2]
    assert 7 in ids
    assert 6 not in ids
    assert Ids([]) == []
    with pytest.raises(IndexError):
        ids[14]
