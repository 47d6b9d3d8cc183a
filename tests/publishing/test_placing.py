"""Unplaced notifications: how they are written, placed and deleted."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from notifications import broadcast, notify
from notifications.models import Notification, Stream, Subscription
from notifications.publishing import placing, sequencing
from notifications.publishing.notify import originals, publish, withdraw
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams import pruning
from tests.rooms import (
    LONG_AGO,
    hints,
    make_old_users,
    make_user,
    offsets,
    queries,
    rolled_back,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_is_set_aside() -> Iterator[None]:
    sequencing.setbacks.clear()
    yield
    sequencing.setbacks.clear()


def leave(name: str, **fields: Any) -> Notification:
    """Create an unplaced notification, as a process leaves it that dies after its commit."""
    return Notification.objects.create(channel=name, **{"title": "left behind", **fields})


def is_placed(row: Notification) -> bool:
    row.refresh_from_db()
    return row.channel is None and row.stream is not None


# Writing


def test_no_stream_is_created_in_a_callers_transaction() -> None:
    (user,) = make_old_users(1)
    with hints() as sent, transaction.atomic():
        (pk,) = notify(user, "hello")
        unplaced = broadcast("hello", to="topic:new")
        assert (unplaced.stream, unplaced.stream_name) == (None, "topic:new")
        assert not Stream.objects.filter(name__in=["topic:new", f"user:{user.pk}"]).exists()
        assert sent == []
    assert {stream for stream, _ in sent} == {"topic:new", f"user:{user.pk}"}
    assert is_placed(Notification.objects.get(pk=pk))
    assert broadcast("again", to="topic:new").offset == 2


def test_a_rollback_leaves_no_stream() -> None:
    with rolled_back():
        publish("topic:new", "never")
    assert sequence_waiting() == 0
    assert not Stream.objects.filter(name="topic:new").exists()


def test_in_one_transaction_a_second_call_with_a_key_returns_the_first() -> None:
    user = make_user()
    with transaction.atomic():
        first = broadcast("one", key="k")
        private = notify(user, "one", key="k")
        assert broadcast("two", key="k") == first
        assert notify(user, "two", key="k") == private
    assert originals([first.pk, *private]) == [first.pk, *private]
    assert offsets("broadcast") == offsets(f"user:{user.pk}") == [1]


def test_a_key_identifies_a_notification_within_its_stream() -> None:
    with transaction.atomic():
        ids = {publish(name, "hello", key="k") for name in ("topic:a", "topic:b", "staff")}
    assert len(ids) == 3
    assert Notification.objects.published().count() == 3


def test_a_key_can_be_used_again_after_pruning() -> None:
    old = broadcast("old", key="k")
    waiting = broadcast("waiting", key="w", publish_at=timezone.now() + timedelta(days=1))
    Notification.objects.filter(pk=old.pk).update(published_at=LONG_AGO)
    withdraw(Notification.objects.filter(pk=waiting.pk))
    assert broadcast("again", key="w").pk == waiting.pk
    pruning.prune(LONG_AGO + timedelta(days=1))
    assert broadcast("new", key="k").offset == 2


def test_a_keyed_bulk_call_takes_a_bounded_number_of_statements() -> None:
    users = make_old_users(600)
    with hints():
        notify(users, "make the streams")
        few = queries(lambda: notify(users[:2], "few", key="few"))
        many = queries(lambda: notify(users, "many", key="many"))
    assert len(few) <= 11
    assert len(many) <= 2 * len(few) + 6


# Placing


def test_p1_unplaced_notifications_survive_a_process_that_dies() -> None:
    left = leave("topic:new")
    with hints() as sent:
        assert sequence_waiting() == 1
    assert [(stream, message["offset"]) for stream, message in sent] == [("topic:new", 1)]
    assert is_placed(left)
    assert sequence_waiting() == 0


def test_a_scheduled_notification_is_placed_before_it_is_due() -> None:
    left = leave("topic:new", publish_at=timezone.now() + timedelta(days=1))
    assert sequence_waiting() == 0
    assert is_placed(left)


def test_the_first_one_keeps_the_key_and_the_others_refer_to_it() -> None:
    rows = [leave("topic:a", key="k", title=str(number)) for number in range(3)]
    other = leave("topic:b", key="k")
    with hints() as sent:
        assert sequence_waiting() == 2
    assert sorted(stream for stream, _ in sent) == ["topic:a", "topic:b"]
    assert originals([row.pk for row in rows]) == [rows[0].pk] * 3
    for row in rows[1:]:
        row.refresh_from_db()
        assert row.original == rows[0]
        assert row.withdrawn_at is not None
        assert (row.key, row.offset) == (None, None)
    assert is_placed(other)
    assert not Notification.objects.waiting().exists()


def test_a_placed_notification_keeps_its_key() -> None:
    later = publish("topic:a", "first", key="k", publish_at=timezone.now() + timedelta(days=1))
    duplicate = leave("topic:a", key="k")
    assert sequence_waiting() == 0
    assert originals([duplicate.pk]) == [later]


def test_more_than_one_batch_is_placed_completely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequencing, "BATCH_SIZE", 3)
    monkeypatch.setattr(sequencing, "MAX_NOTIFICATIONS", 4)
    for number in range(11):
        leave(f"topic:{number % 5}")
        leave("topic:later", publish_at=timezone.now() + timedelta(days=1))
    assert sequence_waiting() == 11
    assert not Notification.objects.filter(channel__isnull=False).exists()


def test_duplicates_are_pruned_like_withdrawn_notifications() -> None:
    first = leave("topic:a", key="k")
    leave("topic:a", key="k")
    sequence_waiting()
    Notification.objects.exclude(pk=first.pk).update(withdrawn_at=LONG_AGO)
    assert pruning.prune(LONG_AGO + timedelta(days=1)).withdrawn == 1
    assert list(Notification.objects.all()) == [first]


def test_a_duplicate_of_a_deleted_notification_is_its_own_original() -> None:
    first, second = leave("topic:a", key="k"), leave("topic:a", key="k")
    sequence_waiting()
    first.delete()
    second.refresh_from_db()
    assert second.original == second


def test_a_notification_withdrawn_before_placing_is_not_published() -> None:
    left = leave("topic:a")
    assert withdraw(Notification.objects.filter(pk=left.pk)) == 1
    with hints() as sent:
        assert sequence_waiting() == 0
    assert sent == []
    assert is_placed(left)


def test_withdrawn_unplaced_notifications_are_pruned() -> None:
    leave("topic:a", withdrawn_at=LONG_AGO)
    after = LONG_AGO + timedelta(days=1)
    assert pruning.prune(after, dry_run=True).withdrawn == 1
    assert pruning.prune(after).withdrawn == 1
    assert not Notification.objects.exists()


def test_channels_are_read_in_pages() -> None:
    for name in ("topic:c", "topic:a", "topic:b", "topic:a"):
        leave(name)
    assert placing.find_channels("", (), 2) == ["topic:a", "topic:b"]
    assert placing.find_channels("topic:a", ["topic:b"], 2) == ["topic:c"]


# Users and groups


def test_deleting_a_user_deletes_unplaced_private_notifications() -> None:
    user, other = make_user("a"), make_user("b")
    Stream.objects.filter(name=f"user:{user.pk}").delete()
    leave(f"user:{user.pk}")
    kept = leave(f"user:{other.pk}")
    user.delete()
    assert list(Notification.objects.all()) == [kept]


def test_deleting_a_group_deletes_its_unplaced_notifications() -> None:
    group = Group.objects.create(name="a")
    leave(f"group:{group.pk}")
    group.delete()
    assert not Notification.objects.exists()


# Shared streams


def test_migrations_create_the_streams_broadcast_and_staff() -> None:
    assert set(Stream.objects.values_list("name", flat=True)) == {"broadcast", "staff"}


def test_flush_creates_these_streams_again() -> None:
    Stream.objects.all().delete()
    call_command("flush", interactive=False, verbosity=0)
    assert set(Stream.objects.values_list("name", flat=True)) == {"broadcast", "staff"}


def test_new_users_and_groups_have_streams_within_the_transaction() -> None:
    with transaction.atomic():
        user, group = make_user(), Group.objects.create(name="a")
        names = {f"user:{user.pk}", f"group:{group.pk}"}
        assert Stream.objects.filter(name__in=names).count() == 2
        (pk,) = notify(user, "welcome")
        assert Notification.objects.get(pk=pk).stream is not None
        user.groups.add(group)
        assert Subscription.objects.filter(user=user).count() == 3
    with rolled_back():
        make_user("b")
    assert Stream.objects.filter(name__startswith="user:").count() == 1
