"""How publications of durable channels are stored, and that they are no notifications."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils.translation import gettext_lazy

from notifications import broadcast, inbox, notify, publish
from notifications.models import Notification, Stream, Subscription
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams import feeds as stream_feeds
from notifications.streams import pruning
from notifications.streams.encoding import encode_content
from notifications.streams.history import read_page
from notifications.streams.positions import Position
from notifications.streams.recovery import recover
from notifications.testing import captured_notifications
from tests.rooms import LONG_AGO, hints, in_threads, make_user, offsets, plans, queries, rolled_back

pytestmark = pytest.mark.django_db(transaction=True)

NAMESPACES = {"chat": {"durable": True}, "typing": {}}


@pytest.fixture(autouse=True)
def namespaces(settings: Any) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": NAMESPACES}


def stored(channel: str) -> list[bytes]:
    stream = Stream.objects.get(name=channel)
    return [publication.data for publication in read_page(stream.pk, 0, 100).publications]


def test_p3_publications_are_numbered_in_their_order() -> None:
    for number in range(3):
        publish("chat:7", number)
    publish("chat:8", "other")
    assert offsets("chat:7") == [1, 2, 3]
    assert offsets("chat:8") == [1]
    assert stored("chat:7") == [b"0", b"1", b"2"]


def test_p2_a_rollback_leaves_nothing_and_sends_nothing() -> None:
    with hints() as sent, rolled_back():
        publish("chat:7", 1)
        publish("typing:7", 1)
    assert sent == []
    assert not Notification.objects.exists()


def test_p2_a_rollback_to_a_savepoint_takes_back_what_was_published_there() -> None:
    with hints() as sent, transaction.atomic():
        with rolled_back():
            publish("chat:7", "inner")
            publish("typing:7", "inner")
        publish("chat:7", "outer")
        publish("typing:7", "outer")
    assert [(name, message["data"]) for name, message in sent] == [
        ("chat:7", b'{"data":"outer"}'),
        ("typing:7", b'{"data":"outer"}'),
    ]
    assert stored("chat:7") == [b'"outer"']


def test_p1_the_ticker_publishes_what_a_dead_process_has_committed() -> None:
    whole = '{"data":"left behind","tags":{"a":"b"}}'
    Notification.objects.create(channel="chat:7", publication=whole)
    with hints() as sent:
        assert sequence_waiting() == 1
    assert stored("chat:7") == [b'"left behind"']
    assert sent[0][1]["data"] == whole.encode()


def test_p1_pruning_covers_channels_and_keeps_their_offsets() -> None:
    for number in range(3):
        publish("chat:7", number)
    Notification.objects.filter(offset__lt=3).update(published_at=LONG_AGO)
    assert pruning.prune(LONG_AGO.replace(year=2021)).published == 2
    assert stored("chat:7") == [b"2"]
    feed = stream_feeds.load_channel("chat:7")
    assert feed is not None
    assert (feed.floor, feed.top) == (2, 3)
    for offset, recovered in ((1, False), (2, True)):
        (item,) = recover([feed], {"chat:7": Position(feed.epoch, offset)}, 10)
        assert item.recovered is recovered


def test_pruning_deletes_channels_to_which_nothing_was_published() -> None:
    publish("chat:used", 1)
    Stream.objects.create(name="chat:unused")
    Stream.objects.create(name="undeclared:unused")
    assert pruning.prune(LONG_AGO).streams == 2
    assert Stream.objects.filter(name__startswith="chat:").get().name == "chat:used"


def test_a_publication_may_be_as_large_as_notifications_data() -> None:
    publish("chat:7", "x" * (16 * 1024 - 2))
    with pytest.raises(ValueError, match="16385 bytes"):
        publish("chat:7", "x" * (16 * 1024 - 1))


def test_lazy_and_odd_values_become_json() -> None:
    publish("chat:7", {"at": LONG_AGO, 7: (1, 2)})
    assert stored("chat:7") == [b'{"at":"2020-01-01T00:00:00Z","7":[1,2]}']


def test_the_json_is_stored_as_it_was_published() -> None:
    """Also on PostgreSQL, whose ``jsonb`` would sort the names and drop zeros."""
    publish("chat:7", {"bb": 1.0, "a": 2, "ä": "\u2028"})
    assert stored("chat:7") == ['{"bb":1.0,"a":2,"ä":"\u2028"}'.encode()]


@pytest.mark.parametrize("key", ["order-7", gettext_lazy("order-7"), "k" * 200])
def test_the_same_key_publishes_once_in_each_channel(key: Any) -> None:
    for channel in ("chat:7", "chat:8"):
        publish(channel, "first", key=key)
        publish(channel, "second", key=key)
        assert stored(channel) == [b'"first"']
    with transaction.atomic():
        publish("chat:7", "third", key=key)
        publish("chat:7", "other", key="another")
    assert stored("chat:7") == [b'"first"', b'"other"']


def test_of_concurrent_publications_with_one_key_one_is_published() -> None:
    in_threads(3, lambda number: publish("chat:7", number, key="k"))
    sequence_waiting()
    assert len(stored("chat:7")) == 1


def test_an_empty_key_is_none() -> None:
    for key in ("", None):
        publish("chat:7", 1, key=key)
        publish("typing:7", 1, key=key)
    assert offsets("chat:7") == [1, 2]


@pytest.mark.parametrize(
    ("channel", "key", "message"),
    [
        ("typing:7", "k", "the namespace 'typing' stores nothing"),
        ("chat:7", "k" * 201, "at most 200 characters"),
        ("chat:7", "a\x00", "plain text"),
        ("chat:7", "\ud800", "plain text"),
        ("chat:7", 7, "must be text"),
    ],
)
def test_a_key_that_cannot_be_compared_is_refused(channel: str, key: Any, message: str) -> None:
    with hints() as sent, pytest.raises(ValueError, match=f"key: .*{message}"):
        publish(channel, 1, key=key)
    assert sent == []
    assert not Notification.objects.exists()


def test_publishing_takes_as_many_queries_as_a_broadcast() -> None:
    publish("chat:7", 1)
    broadcast("one")
    assert len(queries(lambda: publish("chat:7", 2))) <= len(queries(lambda: broadcast("two")))


def test_no_inbox_count_or_mark_knows_of_publications() -> None:
    user = make_user()
    notify(user, "mine")
    before = inbox.unread_count(user)
    publish("chat:7", 1)
    assert inbox.unread_count(user) == before == 1
    assert [entry.notification.title for entry in inbox.list_entries(user).entries] == ["mine"]
    assert Notification.objects.active(user).count() == 1
    assert not Subscription.objects.filter(stream__name="chat:7").exists()


def test_the_admin_lists_no_publications() -> None:
    boss = get_user_model().objects.create_superuser("boss")
    client = Client()
    client.force_login(boss)
    publish("chat:7", "a secret of the chat")
    broadcast("for all")
    (publication,) = Notification.objects.exclude(publication=None)
    for model in ("notification", "broadcast"):
        page = client.get(reverse(f"admin:notifications_{model}_changelist")).content.decode()
        assert "for all" in page
        assert "chat" not in page
        place = reverse(f"admin:notifications_{model}_change", args=[publication.pk])
        assert "secret" not in client.get(place, follow=True).content.decode()


def test_channels_are_dumped_and_loaded(tmp_path: Path) -> None:
    publish("chat:7", {"b": 1, "a": 2}, tags={"kind": "note"})
    (before,) = Notification.objects.all()
    dump = str(tmp_path / "dump.json")
    call_command("dumpdata", "notifications", output=dump)
    Notification.objects.all().delete()
    Stream.objects.all().delete()
    call_command("loaddata", dump, verbosity=0)
    assert encode_content(Notification.objects.get()) == encode_content(before)
    publish("chat:7", "next")
    assert offsets("chat:7") == [1, 2]


@pytest.mark.django_db
def test_captured_notifications_leave_publications_out_and_publish_them() -> None:
    with captured_notifications(publish=True) as captured:
        publish("chat:7", 1)
        broadcast("hello")
    assert [notification.title for notification in captured] == ["hello"]
    assert offsets("chat:7") == [1]


def test_a_broken_transaction_refuses_a_publication() -> None:
    def broken() -> None:
        with transaction.atomic():
            publish("chat:7", 1)
            raise IntegrityError("of the caller")

    with pytest.raises(IntegrityError):
        broken()
    publish("chat:7", 2)
    assert stored("chat:7") == [b"2"]


@pytest.mark.parametrize(
    "read",
    [
        lambda: stream_feeds.load_channel("chat:7"),
        lambda: transaction.atomic()(publish)("chat:7", 1),
        lambda: publish("chat:7", 1, key="known"),
    ],
    ids=["subscribing", "publishing", "with a known key"],
)
def test_a_channel_is_found_by_an_index_of_names(read: Any) -> None:
    Stream.objects.bulk_create(Stream(name=f"chat:{number}") for number in range(500))
    for number in range(20):
        publish("chat:7", number, key="known" if number == 7 else None)
    plan = plans(read, about="notifications_")
    assert "Seq Scan" not in plan, plan
    assert not re.search(r"SCAN notifications_\w+$", plan, re.MULTILINE), plan
