"""What only PostgreSQL can do or get wrong; run by test_postgres.py."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction

from notifications import broadcast, inbox, notify
from notifications.lanes import close_threads, in_database
from notifications.models import Notification, Stream
from notifications.publishing import withdraw
from notifications.sequencing import sequence, sequence_waiting
from notifications.streams import ensure, locked, touch
from notifications.subscriptions import acknowledge, load_inboxes
from tests.rooms import hints, in_threads, make_old_users, make_user, offsets, queries, write

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def open_transaction(work: Callable[[], Any], *, rollback: bool = False) -> Iterator[None]:
    """Another connection that has done ``work`` and does not commit before the block ends."""
    begun, end = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with transaction.atomic():
                work()
                begun.set()
                end.wait(30)
                transaction.set_rollback(rollback)
        except BaseException as error:
            errors.append(error)
        finally:
            begun.set()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(30)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
        yield
    finally:
        end.set()
        thread.join(30)
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    assert errors == []


def test_these_tests_run_on_postgresql() -> None:
    assert connection.vendor == "postgresql"


def test_an_open_transaction_that_published_holds_up_nobody() -> None:
    """Offsets are given after its commit, so nobody waits for the stream meanwhile."""
    broadcast("first")
    with open_transaction(lambda: broadcast("slow")):
        assert broadcast("quick").offset == 2
        write("broadcast")
        assert sequence_waiting() == 1
    assert offsets("broadcast") == [1, 4, 2, 3]


def test_an_open_transaction_that_was_numbered_by_nobody_is_no_hole() -> None:
    broadcast("first")
    with open_transaction(lambda: broadcast("never"), rollback=True):
        broadcast("second")
    broadcast("third")
    assert offsets("broadcast") == [1, 2, 3]


def test_sequencing_holds_up_nobody_who_publishes() -> None:
    """A foreign key takes FOR KEY SHARE at its commit, which FOR UPDATE would not let it have."""
    ensure(["topic:a"])
    busy = Stream.objects.filter(name="topic:a")
    with open_transaction(lambda: list(locked(busy))):
        write("topic:a")
    assert sequence_waiting() == 1


def test_tickers_step_over_a_stream_that_is_being_sequenced() -> None:
    write("topic:a")
    write("topic:b")
    busy = Stream.objects.filter(name="topic:a")
    with open_transaction(lambda: list(locked(busy))):
        assert sequence_waiting() == 1
        assert (offsets("topic:a"), offsets("topic:b")) == ([None], [1])
    assert sequence_waiting() == 1


def test_what_is_being_withdrawn_is_not_published() -> None:
    left = write("broadcast")
    with hints() as sent:
        with open_transaction(lambda: withdraw(Notification.objects.filter(pk=left.pk))):
            assert sequence([left.stream_id]) == 0
        assert sequence_waiting() == 0
    assert sent == []
    assert offsets("broadcast") == [None]


def test_touching_locks_in_the_order_of_sequencing() -> None:
    ensure(["topic:b", "topic:a"])
    select, update = queries(lambda: touch(["topic:a", "topic:b"]))
    assert select.startswith('SELECT "notifications_stream"."id"')
    assert select.endswith("ORDER BY 1 ASC FOR NO KEY UPDATE")
    assert update.startswith("UPDATE")


def test_touching_and_sequencing_many_streams_do_not_deadlock() -> None:
    names = [f"topic:{n}" for n in range(60)]
    streams = ensure(names)
    ids = [streams[name].pk for name in names]

    def work(number: int) -> None:
        for _ in range(10):
            if number % 2:
                touch(names[::-1])
            else:
                for stream_id in ids[::7]:
                    Notification.objects.create(stream_id=stream_id, title="x")
                sequence(ids)

    in_threads(4, work)
    assert set(Stream.objects.values_list("revision", flat=True)) == {20}


def test_the_same_keys_for_the_same_users_in_another_order_do_not_deadlock() -> None:
    users = make_old_users(200)
    notify(users, "make the streams")

    def work(number: int) -> None:
        for turn in range(8):
            notify(users if number % 2 else users[::-1], "hello", key=f"k{turn}")

    in_threads(4, work)
    assert Notification.objects.exclude(key=None).count() == 8 * 200


async def test_a_connection_that_the_server_has_ended_is_replaced(settings: Any) -> None:
    settings.NOTIFICATIONS = {"DATABASE_THREADS": 1}

    def backend() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    def end(pid: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        connections.close_all()

    try:
        first = await in_database(backend)
        assert await in_database(backend) == first
        await asyncio.to_thread(end, first)
        assert await in_database(backend) != first
    finally:
        await asyncio.to_thread(close_threads)


def test_two_workers_acknowledge_the_same_users_at_once() -> None:
    users = make_old_users(50)
    broadcast("hello")
    feeds = load_inboxes(users)
    pairs = [(user.pk, feed.stream_id) for user in users for feed in feeds[user.pk]]

    def work(number: int) -> None:
        for offset in range(10):
            acknowledge(dict.fromkeys(pairs if number % 2 else pairs[::-1], offset))

    in_threads(2, work)
    assert {feed.delivered for feed in load_inboxes(users[:1])[users[0].pk]} == {9}


def test_two_devices_change_the_same_entries_at_once() -> None:
    user = make_user()
    ids = [broadcast(f"n{n}").pk for n in range(40)]

    def work(number: int) -> None:
        for _ in range(5):
            inbox.mark_read(user, ids if number else ids[::-1])
            inbox.mark_unread(user, ids[::-1] if number else ids)

    in_threads(2, work)
    inbox.mark_read(user, ids)
    assert inbox.unread_count(user) == 0
