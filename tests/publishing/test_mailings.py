"""Parts of large calls that are left, on any database: a dump may have brought them."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from notifications.models import Mailing, Notification
from notifications.publishing.mailings import write_left
from notifications.publishing.waiting import publish_waiting
from tests.rooms import hints, offsets, queries

pytestmark = pytest.mark.django_db(transaction=True)

NOTIFICATION = {
    "kind": "message",
    "level": "info",
    "title": "hello",
    "body": "",
    "url": "",
    "data": {"a": 1},
    "created_at": "2026-11-29T12:00:00.000007+00:00",
    "publish_at": "2026-11-29T12:00:00.000007+00:00",
}


def left(names: list[str], **values: Any) -> Mailing:
    ids = [1000 + number for number in range(len(names))]
    return Mailing.objects.create(notification=NOTIFICATION, names=names, ids=ids, **values)


def test_a_part_of_a_dead_process_is_written_once() -> None:
    left(["user:1", "user:2", "topic:a"])
    with hints() as sent:
        publish_waiting()
        publish_waiting()
    assert [offsets(name) for name in ("user:1", "user:2", "topic:a")] == [[1]] * 3
    assert sorted(Notification.objects.values_list("pk", flat=True)) == [1000, 1001, 1002]
    assert len(sent) == 3
    row = Notification.objects.get(pk=1000)
    assert (row.title, row.data, row.expires_at) == ("hello", {"a": 1}, None)
    assert row.created_at.microsecond == 7
    assert not Mailing.objects.exists()


def test_a_part_is_left_to_its_process_at_first() -> None:
    left(["user:1"], own_until=timezone.now() + timedelta(hours=1))
    assert write_left() == 0
    assert Mailing.objects.count() == 1


def test_a_ticker_with_nothing_to_write_reads_once() -> None:
    assert len(queries(write_left)) == 1


def test_primary_keys_that_are_in_use_are_replaced() -> None:
    Notification.objects.create(pk=1001, channel="topic:b", title="other")
    left(["user:1", "user:2"])
    with hints():
        publish_waiting()
    assert [offsets(name) for name in ("user:1", "user:2")] == [[1], [1]]
    assert Notification.objects.get(pk=1001).title == "other"
    assert connection.get_autocommit()
