"""P8: streams whose history has gone back get one new epoch, and their marks are moved back."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from prometheus_client import REGISTRY

from notifications import broadcast, inbox, notify
from notifications.connect.admission import Resumed, Returning, resume
from notifications.connect.authentication import Identity, credentials_of
from notifications.models import Notification, Stream, Subscription
from notifications.streams import acknowledging, epochs, heads, incarnation
from notifications.streams import feeds as stream_feeds
from notifications.streams import marks as stream_marks
from notifications.streams.acknowledging import Acknowledged
from notifications.streams.epochs import Old, Renewed, Verdict, count_all, renew, renew_all
from notifications.streams.evidence import Seen
from notifications.streams.feeds import begin, read_inboxes
from notifications.streams.rows import locked
from tests.rooms import (
    LONG_AGO,
    Backup,
    acknowledge,
    fill,
    in_threads,
    make_old_users,
    make_user,
    queries,
)

pytestmark = pytest.mark.django_db(transaction=True)

MARKS = ("since", "delivered", "read", "archived", "unmuted")


def resumed(user: Any) -> Resumed:
    """What a client of this user gets when it connects."""
    begin(read_inboxes([user]).missing)
    (found,) = resume([Returning(Identity(user, credentials_of(user)), "", {})])
    assert isinstance(found, Resumed)
    return found


def stream(name: str = "broadcast") -> Stream:
    return Stream.objects.get(name=name)


def marks(user: Any, name: str = "broadcast") -> tuple[int, ...]:
    rows = Subscription.objects.filter(user=user, stream__name=name)
    return tuple(rows.values_list(*MARKS).get())


def set_marks(**changes: int) -> None:
    Subscription.objects.filter(stream__name="broadcast").update(**changes)


def total(renewed: Any) -> Renewed:
    found = Renewed()
    for one in renewed:
        found = found.plus(one)
    return found


def gone_back(lost: int = 6, count: int = 9) -> tuple[Stream, Old]:
    """Publish ten broadcasts, lose the last ones of them, and publish new ones in their place.

    Returns:
        The stream, and what a worker knows of its old history.
    """
    for number in range(10 - lost):
        broadcast(f"kept {number}")
    backup = Backup()
    for number in range(lost):
        broadcast(f"lost {number}")
    old = Old(stream().epoch, stream().published_at)
    backup.restore()
    for number in range(count):
        broadcast(f"new {number}")
    return stream(), old


def test_p8_concurrent_renewals_give_one_new_epoch() -> None:
    before, old = gone_back()
    found = in_threads(4, lambda number: renew({before.pk: old}).settled)
    assert found == [{before.pk}] * 4
    after = stream()
    assert after.epoch != old.epoch
    assert after.top == 13
    assert renew({before.pk: old}).settled == {before.pk}
    assert stream().epoch == after.epoch


def test_p8_renewed_streams_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("notifications_streams_renewed_total") or 0.0

    before = count()
    names = ("broadcast", "staff", "topic:a")
    histories = {row.pk: Old(row.epoch) for row in (fill(name, 3) for name in names)}
    renew(histories)
    renew(histories)
    assert count() == before + 3
    assert len([record for record in caplog.records if "3 streams" in record.getMessage()]) == 1
    suspicion = incarnation.check()
    assert suspicion is not None
    assert (suspicion.moved, suspicion.went_back) == (False, True)


def test_a_deleted_stream_is_settled() -> None:
    assert renew({10**6: Old("any")}).settled == {10**6}
    assert incarnation.check() is None


def test_p8_a_stream_that_has_not_gone_back_is_not_renewed() -> None:
    user = make_user()
    row = fill("broadcast", 5)
    set_marks(delivered=5)
    seen = Seen(row.epoch, 5, 0, 0, 0)
    innocent = Verdict(set(), {row.pk})
    assert renew({row.pk: Old(row.epoch, None, seen)}) == innocent
    assert (stream().epoch, marks(user)[1]) == (row.epoch, 5)
    other = seen._replace(epoch="another")
    assert renew({row.pk: Old("another", None, other)}) == Verdict({row.pk}, set())
    guilty = seen._replace(top=6)
    assert renew({row.pk: Old(row.epoch, None, guilty)}) == Verdict({row.pk}, set())
    assert stream().epoch != row.epoch
    gone = {10**6: Old(row.epoch, None, seen)}
    assert renew(gone) == Verdict({10**6}, set())


def test_p1_marks_move_back_to_the_last_common_offset() -> None:
    user = make_user()
    before, old = gone_back()
    set_marks(since=2, delivered=9, read=8, archived=6, unmuted=5)
    renew({before.pk: old})
    assert marks(user) == (2, 4, 4, 4, 4)


def test_marks_below_the_cut_do_not_move() -> None:
    user = make_user()
    before, old = gone_back()
    set_marks(since=1, delivered=3, read=2, archived=1)
    renew({before.pk: old})
    assert marks(user) == (1, 3, 2, 1, 0)


def test_without_a_time_marks_move_back_to_the_top() -> None:
    user = make_user()
    row = fill("broadcast", 3)
    set_marks(since=7, delivered=9, read=8, archived=6, unmuted=5)
    renew({row.pk: Old(row.epoch)})
    assert marks(user) == (3, 3, 3, 3, 3)


def test_a_user_who_joined_the_new_history_gets_nothing_from_before() -> None:
    before, old = gone_back()
    user = make_user()
    assert marks(user)[0] == 13
    renew({before.pk: old})
    assert marks(user)[0] == 13
    assert [item.page.publications for item in resumed(user).recovered][1] == []


def test_if_no_old_entry_is_left_marks_move_back_to_zero() -> None:
    user = make_user()
    before, old = gone_back(lost=10, count=3)
    set_marks(delivered=2, read=2)
    renew({before.pk: old})
    assert marks(user) == (0, 0, 0, 0, 0)


def test_marks_of_a_pruned_history_do_not_move() -> None:
    user = make_user()
    row = fill("broadcast", 5)
    Notification.objects.all().delete()
    Stream.objects.update(floor=5)
    set_marks(delivered=5, read=5)
    renew({row.pk: Old(row.epoch, LONG_AGO)})
    assert marks(user)[1] == 5


def test_a_top_below_its_notifications_is_repaired() -> None:
    row = fill("broadcast", 9)
    Stream.objects.update(top=4, published_at=None)
    renew({row.pk: Old(row.epoch)})
    after = stream()
    assert (after.top, after.published_at) == (9, LONG_AGO + timedelta(seconds=9))
    broadcast("next")
    assert stream().top == 10


def test_many_subscriptions_are_moved_back_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_marks, "SUBSCRIPTIONS_PER_QUERY", 20)
    monkeypatch.setattr("notifications.streams.rows.CHUNK", 10)
    users = make_old_users(70)
    row = fill("broadcast", 9)
    stream_feeds.load_inboxes(users)
    set_marks(delivered=9)
    Subscription.objects.filter(user__in=users[:30], stream=row.pk).update(delivered=2, read=7)
    Notification.objects.filter(offset__gt=4).delete()
    Stream.objects.filter(pk=row.pk).update(top=4)
    renew({row.pk: Old(row.epoch)})
    rows = Subscription.objects.filter(stream=row.pk)
    assert {*rows.values_list("delivered", "read")} == {(2, 4), (4, 0)}


def test_p9_a_lock_delays_the_renewal_of_its_own_stream_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [fill(name, 3) for name in ("broadcast", "staff", "topic:a")]
    original = stream_marks.move_back

    class Locked(Exception):
        sqlstate = "55P03"

    def held(cuts: Any, newest: Any) -> int:
        if rows[1].pk in cuts:
            raise OperationalError from Locked()
        return original(cuts, newest)

    monkeypatch.setattr(stream_marks, "move_back", held)
    settled, _ = renew({row.pk: Old(row.epoch) for row in rows})
    assert settled == {rows[0].pk, rows[2].pk}
    assert Stream.objects.get(pk=rows[1].pk).epoch == rows[1].epoch


def test_renewing_raises_if_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(cuts: Any, newest: Any) -> int:
        raise OperationalError

    histories = {row.pk: Old(row.epoch) for row in (fill("broadcast", 1), fill("staff", 1))}
    monkeypatch.setattr(stream_marks, "move_back", away)
    with pytest.raises(OperationalError):
        renew(histories)


def test_renewing_many_streams_takes_few_queries() -> None:
    users = make_old_users(90)
    notify(users, "hello")
    histories = {row.pk: Old(row.epoch) for row in Stream.objects.all()}
    assert len(queries(lambda: renew(histories))) <= 20


# Marks above the top


def test_p8_marks_above_the_top_renew_the_stream_at_a_connect() -> None:
    user = make_user()
    row = fill("broadcast", 5)
    set_marks(delivered=9, read=9)
    feed = {item.feed.name: item.feed for item in resumed(user).recovered}["broadcast"]
    assert feed.epoch == stream().epoch != row.epoch
    assert (feed.delivered, feed.read) == (5, 5)
    resumed(user)
    assert stream().epoch == feed.epoch


# Acknowledgements


@pytest.mark.parametrize("other", ["epoch", "offset"])
def test_p1_an_acknowledgement_of_another_history_is_dropped(other: str) -> None:
    user = make_user()
    row = fill("broadcast", 5)
    wrong = Acknowledged("other", 3) if other == "epoch" else Acknowledged(row.epoch, 6)
    acknowledging.acknowledge({(user.pk, row.pk): wrong})
    assert marks(user)[1] == 0
    acknowledging.acknowledge({(user.pk, row.pk): Acknowledged(row.epoch, 5)})
    assert marks(user)[1] == 5


def test_reading_all_in_an_old_epoch_sets_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user()
    row = fill("broadcast", 5)
    load = stream_feeds.load_inbox

    def late(one: Any) -> Any:
        feeds = load(one)
        renew({row.pk: Old(row.epoch)})
        return feeds

    monkeypatch.setattr(stream_feeds, "load_inbox", late)
    inbox.read_all(user)
    assert marks(user)[2] == 0


# All streams


def test_renewing_all_streams_can_be_repeated() -> None:
    users = make_old_users(3)
    notify(users, "hello")
    fill("broadcast", 4)
    stream_feeds.load_inboxes(users)
    acknowledge({(users[0].pk, stream().pk): 4})
    before = dict(Stream.objects.values_list("pk", "epoch"))
    assert total(renew_all()) == Renewed(streams=5)
    after = dict(Stream.objects.values_list("pk", "epoch"))
    assert not set(before.items()) & set(after.items())
    assert marks(users[0])[1] == 4
    assert total(renew_all()) == Renewed(streams=5)


def test_all_streams_are_renewed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "STREAMS_PER_TRANSACTION", 2)
    monkeypatch.setattr(heads, "STREAMS_PER_TRANSACTION", 2)
    notify(make_old_users(5), "hello")
    assert [one.streams for one in renew_all()] == [2, 2, 2, 1]
    assert total(count_all()).streams == 7


def test_renewing_since_a_time_skips_older_streams() -> None:
    user = make_user()
    fill("staff", 3)
    for number in range(4):
        broadcast(f"before {number}")
    since = timezone.now()
    for number in range(4):
        broadcast(f"after {number}")
    set_marks(delivered=7, read=7)
    staff = stream("staff").epoch
    assert total(count_all(since)) == Renewed(streams=1, subscriptions=1)
    assert marks(user)[1] == 7
    assert total(renew_all(since)) == Renewed(streams=1, subscriptions=1)
    assert marks(user)[:3] == (0, 4, 4)
    assert stream("staff").epoch == staff


def test_counting_all_changes_nothing() -> None:
    make_user()
    row = fill("broadcast", 9)
    Stream.objects.update(top=4)
    set_marks(delivered=12)
    assert total(count_all()) == Renewed(streams=3, tops=1, subscriptions=1)
    assert (stream().epoch, stream().top) == (row.epoch, 4)
    assert total(renew_all()) == Renewed(streams=3, tops=1, subscriptions=1)


def test_streams_that_stay_locked_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "PAUSE", 0.0)
    row, free = fill("broadcast", 2), fill("staff", 2)

    def skip(rows: Any, **options: Any) -> Any:
        return locked(rows, **options).exclude(pk=row.pk)

    monkeypatch.setattr("notifications.streams.epochs.locked", skip)
    assert total(renew_all()) == Renewed(streams=1, locked=1)
    assert stream("staff").epoch != free.epoch


def test_subscriptions_ahead_are_found_by_indexes() -> None:
    cuts = {row.pk: 1 for row in (fill("broadcast", 2), fill("staff", 2))}
    rows = stream_marks.ahead(cuts).values_list("pk", flat=True)[:10]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
    plan = rows.explain()
    assert "subscription_delivered" in plan
    assert "subscription_read" in plan
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("RESET enable_seqscan")
