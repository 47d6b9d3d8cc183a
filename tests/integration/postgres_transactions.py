"""Concurrent transactions neither wait for each other nor deadlock (P9).

Run by test_postgres.py, because SQLite allows only one writer at a time. A lock timeout turns a
wait into a failure, so no test measures time.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import timezone

from notifications import broadcast, inbox, notify
from notifications.models import Notification, Stream, Subscription, Worker
from notifications.publishing import sequencing
from notifications.publishing.notify import originals, publish, withdraw
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams import acknowledging, pruning, subscriptions
from notifications.streams import feeds as stream_feeds
from notifications.streams import rows as stream_rows
from notifications.streams.history import read_page
from notifications.streams.rows import ensure, locked
from tests.integration.postgres_only import open_transaction
from tests.rooms import (
    LONG_AGO,
    acknowledge,
    fill,
    hints,
    in_threads,
    make_old_users,
    make_user,
    offsets,
    queries,
    rolled_back,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)

TOMORROW = timedelta(days=1)


def published_titles(name: str) -> list[str]:
    rows = Notification.objects.published().filter(stream__name=name, withdrawn_at=None)
    return list(rows.order_by("offset").values_list("title", flat=True))


# Writing


@pytest.mark.parametrize("old", [False, True], ids=["new streams", "old streams"])
@pytest.mark.parametrize("bulk", [False, True], ids=["one by one", "in one call"])
def test_two_transactions_that_notify_the_same_users_do_not_block_each_other(
    old: bool, bulk: bool
) -> None:
    users = make_old_users(2)
    if old:
        ensure(f"user:{user.pk}" for user in users)

    def send(title: str, to: list[Any]) -> None:
        for each in [to] if bulk else [[user] for user in to]:
            notify(each, title)

    with open_transaction(lambda: send("slow", users)):
        with transaction.atomic():
            send("quick", users[::-1])
        for user in users:
            assert published_titles(f"user:{user.pk}") == ["quick"]
    for user in users:
        assert published_titles(f"user:{user.pk}") == ["quick", "slow"]


def test_a_key_used_by_two_transactions_at_once_is_published_once() -> None:
    users = make_old_users(2)
    slow: list[int] = []
    with open_transaction(lambda: slow.extend(notify(users, "slow", key="k"))):
        quick = notify(users[::-1], "quick", key="k")
        assert originals(quick) == quick
    for user in users:
        assert published_titles(f"user:{user.pk}") == ["quick"]
    # The id of the dropped duplicate leads to the notification that was published.
    assert originals(slow) == quick[::-1]
    assert Notification.objects.get(pk=slow[0]).original.pk == quick[1]
    assert notify(users, "again", key="k") == quick[::-1]
    assert Notification.objects.published().count() == 2
    assert not Notification.objects.filter(channel__isnull=False).exists()


def test_a_key_used_in_an_open_transaction_blocks_no_broadcast() -> None:
    broadcast("first")
    found: list[Notification] = []
    with open_transaction(lambda: found.append(broadcast("slow", key="k"))):
        quick = broadcast("quick", key="k")
        assert quick.offset == 2
    assert published_titles("broadcast") == ["first", "quick"]
    found[0].refresh_from_db()
    assert found[0].original == quick
    assert broadcast("again", key="k") == quick


def test_a_key_is_free_after_its_transaction_has_failed() -> None:
    with open_transaction(lambda: broadcast("never", key="k"), rollback=True):
        pass
    assert broadcast("hello", key="k").offset == 1


def test_two_scheduled_notifications_with_the_same_key_leave_one_waiting() -> None:
    at = timezone.now() + TOMORROW
    (user,) = make_old_users(1)
    with open_transaction(lambda: notify(user, "slow", key="k", publish_at=at)):
        notify(user, "quick", key="k", publish_at=at)
    (waiting,) = Notification.objects.waiting()
    assert (waiting.title, waiting.stream_name) == ("quick", f"user:{user.pk}")
    assert waiting.stream is not None
    # The waiting notification stays, although the second call publishes immediately.
    assert notify(user, "now", key="k") == [waiting.pk]
    assert sequence_waiting(at) == 1


def test_withdrawing_a_dropped_duplicate_withdraws_its_original() -> None:
    slow: list[int] = []
    with open_transaction(lambda: slow.append(broadcast("slow", key="k").pk)):
        broadcast("quick", key="k")
    assert withdraw(Notification.objects.filter(pk__in=slow)) == 1
    assert published_titles("broadcast") == []


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("old", [False, True], ids=["new streams", "old streams"])
def test_bulk_calls_to_the_same_users_in_any_order_all_commit(key: str | None, old: bool) -> None:
    """The same users are added to groups at the same time."""
    users = make_old_users(2000)
    groups = [Group.objects.create(name=name) for name in "ab"]
    if old:
        ensure(f"user:{user.pk}" for user in users)
    all_have_written = threading.Barrier(4)

    def work(number: int) -> None:
        people = users[::-1] if number % 2 else users
        with transaction.atomic():
            if number < 2:
                notify(people, f"number {number}", key=key)
            else:
                groups[number % 2].user_set.add(*people)
            # Nobody commits before all have written, so nobody can have waited for another.
            all_have_written.wait(60)

    with hints():
        in_threads(4, work)
        sequence_waiting()
    count = 1 if key else 2
    assert Notification.objects.published().count() == count * 2000
    private = Stream.objects.filter(name__startswith="user:")
    assert set(private.values_list("top", flat=True)) == {count}
    assert Subscription.objects.filter(stream__name__startswith="group:").count() == 4000


def test_an_open_transaction_that_needs_a_new_topic_blocks_nobody() -> None:
    with open_transaction(lambda: publish("topic:new", "slow")):
        publish("topic:new", "quick")
        (user,) = make_old_users(1)
        subscriptions.join([user.pk], "topic:new")
        assert published_titles("topic:new") == ["quick"]
    assert published_titles("topic:new") == ["quick", "slow"]


def test_p9_leaving_a_topic_in_an_open_transaction_blocks_neither_join_nor_publish() -> None:
    leaving, joining = make_old_users(2)
    inbox.join(leaving, "topic:a")
    with open_transaction(lambda: inbox.leave(leaving, "topic:a")):
        inbox.join(joining, "topic:a")
        assert broadcast("hello", to="topic:a").offset == 1
    assert published_titles("topic:a") == ["hello"]
    assert inbox.unread_count(joining) == 1


def test_a_failed_transaction_leaves_no_new_stream() -> None:
    with open_transaction(lambda: publish("topic:new", "never"), rollback=True):
        pass
    sequence_waiting()
    assert not Stream.objects.filter(name="topic:new").exists()


def test_a_new_user_is_notified_in_the_transaction_that_creates_the_user() -> None:
    def make() -> None:
        user = make_user("new")
        (pk,) = notify(user, "welcome")
        assert Notification.objects.get(pk=pk).stream is not None

    with open_transaction(make):
        broadcast("meanwhile")
    user = get_user_model().objects.get(username="new")
    assert published_titles(f"user:{user.pk}") == ["welcome"]
    assert inbox.unread_count(user) == 2


# Users and groups


def test_an_old_group_without_a_stream_is_joined_after_the_commit() -> None:
    group = Group.objects.create(name="a")
    Stream.objects.filter(name=f"group:{group.pk}").delete()
    (user,) = make_old_users(1)
    with open_transaction(lambda: group.user_set.add(user)):
        broadcast("meanwhile", to=group)
    assert published_titles(f"group:{group.pk}") == ["meanwhile"]
    # It may have been published after the user joined: better to show it than to miss it.
    assert Subscription.objects.get(user=user, stream__name=f"group:{group.pk}").since == 0


def test_missing_shared_streams_are_not_created_in_the_callers_transaction() -> None:
    Stream.objects.all().delete()
    with open_transaction(lambda: make_user("a", is_staff=True)):
        make_user("b", is_staff=True)
        broadcast("hello")
    rows = Subscription.objects.filter(stream__name__in=["broadcast", "staff"])
    assert rows.count() == 4


def test_an_open_transaction_that_deletes_a_user_blocks_no_notification() -> None:
    user, other = make_user("a"), make_user("b")
    notify(user, "before")
    doomed = get_user_model()(pk=user.pk)
    with open_transaction(user.delete):
        notify([other, doomed], "meanwhile")
        assert published_titles(f"user:{other.pk}") == ["meanwhile"]
    assert not Stream.objects.filter(name=f"user:{doomed.pk}").exists()
    assert Notification.objects.count() == 1


def test_deleting_a_recipient_fails_no_open_transaction() -> None:
    user, other = make_user("a"), make_user("b")
    pk = user.pk
    people = [get_user_model()(pk=pk), other]
    with open_transaction(lambda: notify(people, "slow")):
        user.delete()
    assert published_titles(f"user:{other.pk}") == ["slow"]
    # The rows that nobody reads any more are deleted by the next pruning after KEEP_DAYS.
    pruning.prune(timezone.now() + TOMORROW)
    assert not Stream.objects.filter(name=f"user:{pk}").exists()
    assert not Notification.objects.exists()


def test_deleting_a_user_deletes_unplaced_notifications() -> None:
    (user,) = make_old_users(1)
    at = timezone.now() + TOMORROW
    with rolled_back():
        notify(user, "never")
    Notification.objects.create(channel=f"user:{user.pk}", title="left", publish_at=at)
    user.delete()
    assert not Notification.objects.exists()


def contend(
    monkeypatch: pytest.MonkeyPatch, held: Callable[[], Any], *works: Callable[[], Any]
) -> None:
    """Run ``works`` at once against the locks of ``held``, which is rolled back when all wait.

    By then, each of ``works`` has taken the locks that come first in its order. If their orders
    differ, each holds a lock that the other needs next, and they deadlock.
    """
    for module in (acknowledging, stream_feeds):
        monkeypatch.setattr(module, "MAX_LOCK_WAIT", 20_000)
    both_wait = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            held()
            is_held.set()
            with connection.cursor() as cursor:
                for _ in range(3000):
                    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    if cursor.fetchone()[0] >= len(works):
                        both_wait.set()
                        break
                    time.sleep(0.01)
            transaction.set_rollback(True)

    is_held = threading.Event()

    def work(number: int) -> None:
        if number == len(works):
            hold()
            return
        assert is_held.wait(30)
        with transaction.atomic():
            works[number]()

    in_threads(len(works) + 1, work)
    assert both_wait.is_set()


def test_acknowledging_and_leaving_lock_users_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = fill("topic:a", 9)
    users = [user.pk for user in make_old_users(3)]
    subscriptions.join(users, "topic:a", from_start=True)
    middle = Subscription.objects.filter(user=users[1]).select_for_update()
    places = dict.fromkeys([(pk, stream.pk) for pk in (users[2], users[0], users[1])], 5)
    contend(
        monkeypatch,
        lambda: list(middle),
        lambda: acknowledge(places),
        lambda: subscriptions.leave([users[2], users[0], users[1]], "topic:a"),
    )


def test_acknowledging_and_reading_lock_streams_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (user,) = make_old_users(1)
    ids = [fill(name, 9).pk for name in ("broadcast", f"user:{user.pk}", "topic:a")]
    subscriptions.join([user.pk], "topic:a", from_start=True)
    inbox.unread_count(user)  # creates the other subscriptions
    middle = Subscription.objects.filter(user=user.pk, stream=sorted(ids)[1]).select_for_update()
    first, second, third = sorted(ids)
    places = dict.fromkeys([(user.pk, pk) for pk in (third, first, second)], 5)
    contend(
        monkeypatch,
        lambda: list(middle),
        lambda: acknowledge(places),
        lambda: inbox.read_all(user),
    )


def test_two_calls_that_subscribe_the_same_users_lock_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ensure(["topic:a"])
    users = [user.pk for user in make_old_users(3)]
    contend(
        monkeypatch,
        lambda: subscriptions.join_existing([users[1]], "topic:a"),
        lambda: subscriptions.join_existing(users, "topic:a"),
        lambda: subscriptions.join_existing(users[::-1], "topic:a"),
    )
    assert Subscription.objects.count() == 3


def test_acknowledging_reading_and_leaving_at_once_do_not_deadlock() -> None:
    """All three lock subscriptions of the same users."""
    group = Group.objects.create(name="a")
    users = make_old_users(40)
    fill("broadcast", 9)
    fill(f"group:{group.pk}", 9)
    group.user_set.add(*users)
    feeds = stream_feeds.load_inboxes(users)
    places = [(user.pk, feed.stream_id) for user in users for feed in feeds[user.pk]]

    def work(number: int) -> None:
        for turn in range(6):
            if number == 0:
                acknowledge(dict.fromkeys(places[::-1], turn))
            elif number == 1:
                for user in users[::4]:
                    inbox.read_all(user)
            else:
                with transaction.atomic():
                    subscriptions.leave([user.pk for user in users[::-1]], f"group:{group.pk}")
                    subscriptions.join([user.pk for user in users[::-1]], f"group:{group.pk}")

    in_threads(3, work)


# Sequencing


def test_a_locked_stream_delays_neither_the_caller_nor_other_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequencing, "MAX_LOCK_WAIT", 0.05)
    users = [make_user("a"), make_user("b")]
    busy = Stream.objects.filter(name=f"user:{users[0].pk}")
    with open_transaction(lambda: list(locked(busy))):
        notify(users, "hello")
        assert offsets(f"user:{users[0].pk}") == [None]
        assert offsets(f"user:{users[1].pk}") == [1]
    assert sequence_waiting() == 1


def test_sequencing_waits_briefly_for_a_locked_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another sequencer holds the lock for milliseconds, far less than until the next tick."""
    monkeypatch.setattr(sequencing, "MAX_LOCK_WAIT", 20)
    ensure(["topic:a"])
    is_locked, goes_on = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number:
            is_locked.wait(30)
            publish("topic:a", "hello")
            return
        with transaction.atomic():
            list(locked(Stream.objects.filter(name="topic:a")))
            is_locked.set()
            with connection.cursor() as cursor:
                while not goes_on.is_set():
                    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    if cursor.fetchone()[0]:
                        goes_on.set()

    in_threads(2, work)
    assert offsets("topic:a") == [1]


def test_tickers_reach_notifications_behind_a_page_of_locked_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if more streams are locked than one statement can exclude."""
    monkeypatch.setattr(sequencing, "BATCH_SIZE", 4)
    names = [f"topic:{number}" for number in range(7)]
    for name in names:
        for _ in range(5):
            write(name, publish_at=LONG_AGO)
    write("topic:free")
    busy = Stream.objects.filter(name__in=names)
    with open_transaction(lambda: list(locked(busy))):
        assert sequence_waiting() == 1
        assert offsets("topic:free") == [1]
    assert sequence_waiting() == 35


def test_tickers_do_not_read_all_waiting_notifications_of_a_locked_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequencing, "BATCH_SIZE", 4)
    for _ in range(40):
        write("topic:busy", publish_at=LONG_AGO)
    write("topic:free")
    busy = Stream.objects.filter(name="topic:busy")
    with hints(), open_transaction(lambda: list(locked(busy))):
        asked = queries(sequence_waiting)
    pages = [sql for sql in asked if '"publish_at" <= ' in sql]
    assert len(pages) == 2


def test_a_stream_being_created_in_an_open_transaction_blocks_no_ticker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequencing, "CREATE_TIMEOUT", 0.05)
    Notification.objects.create(channel="topic:a", title="a")
    Notification.objects.create(channel="topic:b", title="b")
    with open_transaction(lambda: stream_rows.create(["topic:a"])):
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")  # creating a stream sets its own limit
        assert sequence_waiting() == 1
        assert published_titles("topic:b") == ["b"]
    sequencing.setbacks.clear()
    assert sequence_waiting() == 1
    assert published_titles("topic:a") == ["a"]


def test_a_notification_that_is_being_withdrawn_is_placed_later() -> None:
    left = Notification.objects.create(channel="topic:a", title="a")
    with open_transaction(lambda: withdraw(Notification.objects.filter(pk=left.pk))):
        assert sequence_waiting() == 0
    assert sequence_waiting() == 0
    left.refresh_from_db()
    assert (left.stream_name, left.channel, left.offset) == ("topic:a", None, None)


def test_two_withdrawals_of_the_same_notifications_do_not_deadlock() -> None:
    ids = [broadcast(f"n{number}").pk for number in range(50)]

    def work(number: int) -> None:
        order = "pk" if number % 2 else "-pk"
        for _ in range(10):
            withdraw(Notification.objects.filter(pk__in=ids).order_by(order))
            Notification.objects.filter(pk__in=ids[::2]).update(withdrawn_at=None)

    in_threads(2, work)


def test_a_notification_published_while_its_withdrawal_waits_is_not_withdrawn() -> None:
    row = write("broadcast")
    goes_on, is_locked = threading.Event(), threading.Event()

    def work(number: int) -> int:
        if number == 1:
            assert is_locked.wait(30)
            return withdraw(Notification.objects.waiting())
        with transaction.atomic():
            Notification.objects.filter(pk=row.pk).update(offset=1, published_at=LONG_AGO)
            is_locked.set()
            with connection.cursor() as cursor:
                while not goes_on.is_set():
                    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    if cursor.fetchone()[0]:
                        goes_on.set()
        return 0

    assert in_threads(2, work) == [0, 0]
    row.refresh_from_db()
    assert row.withdrawn_at is None


# Pruning


def test_pruning_keeps_an_empty_topic_that_an_open_transaction_uses() -> None:
    ensure(["topic:a", "topic:b"])
    (user,) = make_old_users(1)
    after = LONG_AGO + TOMORROW

    def use() -> None:
        publish("topic:a", "hello")
        subscriptions.join_existing([user.pk], "topic:b")

    with open_transaction(use):
        assert pruning.prune(after).streams == 0
    assert published_titles("topic:a") == ["hello"]
    assert Subscription.objects.filter(stream__name="topic:b").count() == 1
    assert pruning.prune(after).streams == 0


def test_pruning_does_not_wait_for_a_withdrawal() -> None:
    """Pruning holds locks on streams, so everyone who publishes there would wait too."""
    fill("broadcast", 4)
    fill("topic:a", 4)
    third = Notification.objects.filter(stream__name="broadcast", offset=3)
    after = LONG_AGO + TOMORROW
    with open_transaction(lambda: withdraw(third)):
        assert pruning.prune(after).published == 6
        assert offsets("broadcast") == [3, 4]
        assert Stream.objects.get(name="broadcast").floor == 2
    assert pruning.prune(after).published == 2


def test_pruning_during_a_withdrawal_continues_with_the_other_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does so even if the skipped rows fill the first chunk, and does not count them."""
    monkeypatch.setattr(pruning, "CHUNK", 4)
    fill("user:7", 5)
    fill("topic:a", 5)
    fill("user:8", 2)
    first = Notification.objects.filter(stream__name="user:7", offset=1)
    after = LONG_AGO + TOMORROW
    with open_transaction(lambda: withdraw(first)):
        pruned = pruning.prune(after)
        assert (pruned.published, pruned.undelivered) == (7, 2)
        assert offsets("user:7") == [1, 2, 3, 4, 5]
    # The first one has been withdrawn and is not counted as undelivered.
    pruned = pruning.prune(after)
    assert (pruned.published, pruned.undelivered) == (5, 4)


# Clocks


@pytest.fixture(params=[-3600, 3600], ids=["an hour behind", "an hour ahead"])
def wrong_clock(request: Any, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """The error of this process's clock; the database's clock is right."""
    wrong = timedelta(seconds=request.param)
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + wrong)
    return wrong


def test_a_worker_with_a_wrong_clock_publishes_nothing_early_or_late(
    wrong_clock: timedelta,
) -> None:
    now = timezone.now() - wrong_clock
    later = write("broadcast", title="later", publish_at=now + timedelta(minutes=30))
    write("staff", title="due", publish_at=now - timedelta(minutes=30))
    assert sequence_waiting() == 1
    assert sequencing.sequence([later.stream_id or 0]) == 0
    found = Notification.objects.get(title="due")
    assert found.published_at is not None
    assert abs(found.published_at - now) < timedelta(minutes=10)


@pytest.mark.parametrize("key", [None, "k"])
def test_a_caller_with_a_wrong_clock_publishes_at_once(
    wrong_clock: timedelta, key: str | None
) -> None:
    user = make_user()
    notify(user, "hello", key=key)
    publish("topic:new", "hello", key=key)
    assert broadcast("hello", key=key).offset == 1
    assert not Notification.objects.waiting().exists()


def test_a_wrong_clock_neither_skips_unexpired_nor_shows_expired_notifications(
    wrong_clock: timedelta,
) -> None:
    user = make_user()
    now = timezone.now() - wrong_clock
    soon, before = now + timedelta(minutes=30), now - timedelta(minutes=30)
    write("broadcast", title="lasts", expires_at=soon)
    write("broadcast", title="gone", expires_at=before)
    with hints() as sent:
        assert sequence_waiting() == 2
    assert [message["offset"] for _, message in sent] == [1]
    stream = Stream.objects.get(name="broadcast")
    assert [found.offset for found in read_page(stream.pk, 0, 10).publications] == [1]
    assert [row.title for row in Notification.objects.visible()] == ["lasts"]
    assert inbox.unread_count(user) == 1


def test_a_wrong_clock_prunes_no_living_worker(wrong_clock: timedelta) -> None:
    now = timezone.now() - wrong_clock
    Worker.objects.create(
        host="alive", pid=1, seen_at=now - pruning.DEAD_WORKER_AGE + TOMORROW / 48
    )
    assert pruning.prune(LONG_AGO).workers == 0
