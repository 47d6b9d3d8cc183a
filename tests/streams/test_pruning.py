"""What pruning deletes, what it keeps, and how clients below the floor recover."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db.models.signals import pre_delete
from django.utils import timezone

from notifications import broadcast, inbox, notify
from notifications.models import Connection, Notification, Receipt, Stream, Subscription, Worker
from notifications.publishing.notify import withdraw
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams import feeds as stream_feeds
from notifications.streams import pruning, subscriptions
from notifications.streams import rows as stream_rows
from notifications.streams.positions import Position
from notifications.streams.recovery import recover
from notifications.streams.rows import ensure
from tests.rooms import (
    LONG_AGO,
    fill,
    in_threads,
    make_old_users,
    make_user,
    offsets,
    queries,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)

AFTER = LONG_AGO + timedelta(days=1)


def position(stream: Stream, offset: int) -> dict[str, Position]:
    return {stream.name: Position(stream.epoch, offset)}


def test_p1_old_entries_are_deleted_and_the_floor_is_raised() -> None:
    make_user()
    fill("broadcast", 3)
    new = broadcast("new")
    pruned = pruning.prune(AFTER)
    assert (pruned.published, pruned.withdrawn, pruned.workers) == (3, 0, 0)
    assert list(Notification.objects.all()) == [new]
    stream = Stream.objects.get(name="broadcast")
    assert (stream.floor, stream.top) == (3, 4)


def test_p1_new_entries_stay_even_with_low_offsets() -> None:
    stream = fill("broadcast", 3)
    Notification.objects.filter(offset__gte=2).update(published_at=timezone.now())
    pruning.prune(AFTER)
    assert offsets("broadcast") == [2, 3]
    stream.refresh_from_db()
    assert stream.floor == 1


def test_p1_a_position_below_the_floor_is_not_recovered() -> None:
    user = make_user(date_joined=LONG_AGO)
    stream = fill("broadcast", 3)
    broadcast("new")
    feeds = {feed.name: feed for feed in stream_feeds.load_inboxes([user])[user.pk]}
    assert feeds["broadcast"].delivered < 3
    pruning.prune(AFTER)
    feeds = {feed.name: feed for feed in stream_feeds.load_inboxes([user])[user.pk]}

    def recovered(offset: int | None) -> tuple[bool, list[int]]:
        positions = {} if offset is None else position(stream, offset)
        (found,) = recover([feeds["broadcast"]], positions, limit=10)
        return found.recovered, [entry.offset for entry in found.page.publications]

    assert recovered(2) == (False, [])
    assert recovered(3) == (True, [4])
    # A client without a position gets what is kept.
    assert recovered(None) == (True, [4])


def test_offsets_of_pruned_entries_are_not_given_again() -> None:
    fill("broadcast", 3)
    pruning.prune(AFTER)
    assert offsets("broadcast") == []
    assert broadcast("next").offset == 4


def test_published_times_keep_ascending_after_all_was_pruned() -> None:
    fill("broadcast", 3)
    pruning.prune(AFTER)
    first, second = broadcast("next"), broadcast("and next")
    assert first.published_at is not None
    assert second.published_at is not None
    assert AFTER < first.published_at < second.published_at


def test_p1_waiting_notifications_stay_however_old() -> None:
    row = write("broadcast", publish_at=LONG_AGO, created_at=LONG_AGO)
    expired = write("broadcast", publish_at=LONG_AGO, expires_at=LONG_AGO + timedelta(hours=1))
    assert pruning.prune(AFTER) == pruning.Pruned()
    assert {*Notification.objects.waiting()} == {row, expired}
    sequence_waiting()
    assert offsets("broadcast") == [1, 2]


def test_notifications_withdrawn_long_ago_while_waiting_are_deleted() -> None:
    write("broadcast", withdrawn_at=LONG_AGO)
    kept = write("broadcast", withdrawn_at=timezone.now(), publish_at=LONG_AGO)
    assert pruning.prune(AFTER).withdrawn == 1
    assert list(Notification.objects.all()) == [kept]
    assert Stream.objects.get(name="broadcast").floor == 0


def test_expired_and_withdrawn_entries_are_deleted_too() -> None:
    stream = fill("broadcast", 3)
    Notification.objects.filter(offset=1).update(expires_at=LONG_AGO + timedelta(hours=1))
    Notification.objects.filter(offset=2).update(withdrawn_at=timezone.now())
    assert pruning.prune(AFTER).published == 3
    stream.refresh_from_db()
    assert (offsets("broadcast"), stream.floor) == ([], 3)


def test_undelivered_entries_are_deleted_and_counted() -> None:
    away, half, muted = make_user("away"), make_user("half"), make_user("muted")
    for user in (away, half, muted):
        fill(f"user:{user.pk}", 5)
        stream_feeds.load_inboxes([user])
    Subscription.objects.filter(user=half, stream__name=f"user:{half.pk}").update(delivered=2)
    own = Notification.objects.filter(stream__name=f"user:{half.pk}")
    own.filter(offset=5).update(withdrawn_at=timezone.now())
    own.filter(offset=4).update(expires_at=LONG_AGO + timedelta(hours=1))
    inbox.mark_read(half, [own.get(offset=3).pk])
    inbox.read_all(muted)
    fill("broadcast", 2)
    assert pruning.prune(AFTER, dry_run=True) == pruning.Pruned(published=17, undelivered=5)
    assert pruning.prune(AFTER) == pruning.Pruned(published=17, undelivered=5)


def test_an_entry_for_a_user_who_never_connected_is_undelivered() -> None:
    (user,) = make_old_users(1)
    fill(f"user:{user.pk}", 1)
    assert not Subscription.objects.filter(stream__name=f"user:{user.pk}").exists()
    assert pruning.prune(AFTER).undelivered == 1


def test_unread_count_and_inbox_follow_pruning() -> None:
    user = make_user()
    fill(f"user:{user.pk}", 3)
    notify(user, "new")
    old = Notification.objects.get(offset=2)
    inbox.mark_read(user, [old.pk])
    assert inbox.unread_count(user) == 3
    pruning.prune(AFTER)
    assert inbox.unread_count(user) == 1
    assert [e.notification.title for e in inbox.list_entries(user).entries] == ["new"]
    assert not Receipt.objects.exists()


def test_pruning_in_small_chunks_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "CHUNK", 2)
    users = [make_user(f"user{number}") for number in range(5)]
    for user in users:
        fill(f"user:{user.pk}", 3)
        old = Notification.objects.filter(stream__name=f"user:{user.pk}")
        inbox.mark_unread(user, inbox.mark_read(user, old.values_list("pk", flat=True)))
    fill("broadcast", 5)
    for row in Notification.objects.filter(stream__name="broadcast"):
        Receipt.objects.bulk_create(Receipt(user=user, notification=row) for user in users)
    assert pruning.prune(AFTER).published == 20
    assert not Notification.objects.exists()
    assert not Receipt.objects.exists()
    assert {stream.floor for stream in Stream.objects.exclude(top=0)} == {3, 5}


def test_a_killed_run_leaves_no_half_deleted_entries_visible() -> None:
    user = make_user()
    fill(f"user:{user.pk}", 3)
    inbox.mark_read(user, [Notification.objects.get(offset=2).pk])
    assert inbox.unread_count(user) == 2

    def die(**kwargs: Any) -> None:
        raise KeyboardInterrupt

    pre_delete.connect(die, sender=Notification)
    try:
        with pytest.raises(KeyboardInterrupt):
            pruning.prune(AFTER)
    finally:
        pre_delete.disconnect(die, sender=Notification)
    assert not Receipt.objects.exists()
    # If the second one were still visible, it would be unread again without its receipt.
    assert inbox.unread_count(user) == 0
    assert inbox.list_entries(user).entries == []
    assert Stream.objects.get(name=f"user:{user.pk}").floor == 3
    assert pruning.prune(AFTER).published == 3
    assert not Notification.objects.exists()


def test_a_floor_never_falls() -> None:
    stream = fill("broadcast", 3)
    Stream.objects.update(floor=7, top=9)
    pruning.prune(AFTER)
    stream.refresh_from_db()
    assert stream.floor == 7


def test_dry_run_changes_nothing() -> None:
    fill("broadcast", 3)
    write("staff", withdrawn_at=LONG_AGO)
    Worker.objects.create(host="gone", pid=1, seen_at=LONG_AGO)
    made = queries(lambda: pruning.prune(AFTER, dry_run=True))
    assert [sql for sql in made if not sql.startswith("SELECT")] == []
    assert pruning.prune(AFTER, dry_run=True) == pruning.Pruned(published=3, withdrawn=1, workers=1)
    assert Notification.objects.count() == 4
    assert Stream.objects.get(name="broadcast").floor == 0
    assert Worker.objects.exists()


def test_long_dead_workers_are_deleted_with_their_connections() -> None:
    user = make_user()
    now = timezone.now()
    alive = Worker.objects.create(host="alive", pid=1, seen_at=now - timedelta(hours=1))
    dead = Worker.objects.create(host="dead", pid=2, seen_at=now - timedelta(days=2))
    for number, worker in enumerate((alive, dead)):
        Connection.objects.create(id=f"{number:032x}", user=user, worker=worker)
    assert pruning.prune(AFTER).workers == 1
    assert list(Worker.objects.all()) == [alive]
    assert [row.worker for row in Connection.objects.all()] == [alive]


def test_publishing_goes_on_during_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "CHUNK", 5)
    fill("broadcast", 60)

    def work(number: int) -> None:
        if number == 0:
            pruning.prune(AFTER)
            return
        for count in range(5):
            broadcast(f"{number} {count}")
            withdraw(Notification.objects.filter(offset=count + number))

    in_threads(3, work)
    pruning.prune(AFTER)  # what a withdrawal had locked was left to the next run
    stream = Stream.objects.get(name="broadcast")
    assert (stream.floor, stream.top) == (60, 70)
    assert sorted(offset or 0 for offset in offsets("broadcast")) == list(range(61, 71))


def names() -> set[str]:
    return set(Stream.objects.values_list("name", flat=True))


def test_unused_streams_are_deleted() -> None:
    user, group = make_user(), Group.objects.create(name="a")
    kept = {"broadcast", "staff", f"user:{user.pk}", f"group:{group.pk}"}
    subscriptions.join([user.pk], "topic:read")
    write("topic:waiting", publish_at=timezone.now() + timedelta(days=1))
    fill("topic:used", 1)
    kept |= {"topic:read", "topic:waiting", "topic:used"}
    ensure(["topic:never", "user:999999", "group:999999"])
    fill("user:999998", 2)
    assert pruning.prune(LONG_AGO, dry_run=True).streams == 3
    assert pruning.prune(LONG_AGO).streams == 3
    assert names() == kept | {"user:999998"}
    # The offsets of a topic must not be given twice; for a deleted user that does not matter.
    assert pruning.prune(AFTER).streams == 1
    assert names() == kept
    assert broadcast("next", to="topic:used").offset == 2


def test_unused_channels_are_deleted_with_and_without_a_colon() -> None:
    fill("lobby", 1)
    ensure(["never", "chat:never"])
    assert pruning.prune(LONG_AGO).streams == 2
    assert "lobby" in names()
    assert not {"never", "chat:never"} & names()


def test_the_stream_of_a_user_without_subscriptions_stays() -> None:
    (user,) = make_old_users(1)
    ensure([f"user:{user.pk}"])
    assert pruning.prune(AFTER).streams == 0
    assert f"user:{user.pk}" in names()


def test_a_topic_that_is_used_during_pruning_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(["topic:a"])
    remove_if = stream_rows.remove_if

    def remove_late(name: str, is_wanted: Any) -> bool:
        write("topic:a")
        return remove_if(name, is_wanted)

    monkeypatch.setattr(stream_rows, "remove_if", remove_late)
    assert pruning.prune(AFTER).streams == 0
    assert "topic:a" in names()
