"""Behaviour that only occurs on PostgreSQL; run by test_postgres.py."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from notifications import broadcast, inbox, notify
from notifications.database.lanes import close_threads, in_database
from notifications.models import Notification, Stream
from notifications.publishing import sequencing
from notifications.publishing.notify import withdraw
from notifications.publishing.sequencing import sequence, sequence_waiting
from notifications.streams import acknowledging, epochs, incarnation, marks
from notifications.streams.feeds import load_inboxes
from notifications.streams.revisions import touch
from notifications.streams.rows import ensure, locked
from tests.rooms import (
    acknowledge,
    fill,
    hints,
    in_threads,
    make_old_users,
    make_user,
    offsets,
    queries,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def open_transaction(work: Callable[[], Any], *, rollback: bool = False) -> Iterator[None]:
    """Do ``work`` on another connection, which commits or rolls back when the block ends.

    In the block, a statement that waits longer than 3 s for a lock fails.
    """
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


def test_an_open_transaction_that_published_blocks_no_other_publisher() -> None:
    """Offsets are given after the commit, so an open transaction holds no lock on the stream."""
    broadcast("first")
    with open_transaction(lambda: broadcast("slow")):
        assert broadcast("quick").offset == 2
        write("broadcast")
        assert sequence_waiting() == 1
    assert offsets("broadcast") == [1, 4, 2, 3]


def test_a_rolled_back_notification_leaves_no_gap_in_the_offsets() -> None:
    broadcast("first")
    with open_transaction(lambda: broadcast("never"), rollback=True):
        broadcast("second")
    broadcast("third")
    assert offsets("broadcast") == [1, 2, 3]


def test_sequencing_blocks_no_publisher() -> None:
    """The publisher's foreign key check takes FOR KEY SHARE at commit; FOR UPDATE blocks it."""
    ensure(["topic:a"])
    busy = Stream.objects.filter(name="topic:a")
    with open_transaction(lambda: list(locked(busy))):
        write("topic:a")
    assert sequence_waiting() == 1


def test_tickers_skip_a_stream_that_is_being_sequenced() -> None:
    write("topic:a")
    write("topic:b")
    busy = Stream.objects.filter(name="topic:a")
    with open_transaction(lambda: list(locked(busy))):
        assert sequence_waiting() == 1
        assert (offsets("topic:a"), offsets("topic:b")) == ([None], [1])
    assert sequence_waiting() == 1


def test_a_notification_that_is_being_withdrawn_is_not_published() -> None:
    left = write("broadcast")
    with hints() as sent:
        with open_transaction(lambda: withdraw(Notification.objects.filter(pk=left.pk))):
            assert sequence([left.stream_id or 0]) == 0
        assert sequence_waiting() == 0
    assert sent == []
    assert offsets("broadcast") == [None]


def test_leaving_keeps_a_topic_that_open_transactions_use_and_waits_for_none() -> None:
    """Foreign keys are checked at commit, and would fail if the topic's row were deleted."""
    leaving, joining = make_user("leaving"), make_user("joining")
    for use in (lambda: inbox.join(joining, "topic:a"), lambda: broadcast("x", to="topic:a")):
        inbox.join(leaving, "topic:a")
        with open_transaction(use):
            assert inbox.leave(leaving, "topic:a")
        assert Stream.objects.filter(name="topic:a").exists()
        inbox.leave(joining, "topic:a")
    assert offsets("topic:a") == [1]


def test_touching_locks_streams_in_the_same_order_as_sequencing() -> None:
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
    touched = Stream.objects.filter(name__in=names)
    assert set(touched.values_list("revision", flat=True)) == {20}


def test_the_same_keys_for_the_same_users_in_another_order_do_not_deadlock() -> None:
    users = make_old_users(200)
    notify(users, "make the streams")

    def work(number: int) -> None:
        for turn in range(8):
            notify(users if number % 2 else users[::-1], "hello", key=f"k{turn}")

    in_threads(4, work)
    assert Notification.objects.exclude(key=None).count() == 8 * 200


async def test_a_database_connection_ended_by_the_server_is_replaced(settings: Any) -> None:
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


def test_two_workers_acknowledge_the_same_users_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledging, "MAX_LOCK_WAIT", 60)  # a busy machine is slow, no deadlock
    users = make_old_users(50)
    fill("broadcast", 9)
    feeds = load_inboxes(users)
    pairs = [(user.pk, feed.stream_id) for user in users for feed in feeds[user.pk]]

    def work(number: int) -> None:
        for offset in range(10):
            acknowledge(dict.fromkeys(pairs if number % 2 else pairs[::-1], offset))

    in_threads(2, work)
    assert [feed.delivered for feed in load_inboxes(users[:1])[users[0].pk]] == [0, 9]


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


# A history that has gone back


def wait_for_a_lock() -> None:
    """Wait until another connection waits for a lock."""
    deadline = time.monotonic() + 10
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


def test_p1_an_acknowledgement_during_a_renewal_does_not_count_in_the_new_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The renewal waits for the acknowledgement's row locks, and then moves its marks back."""
    monkeypatch.setattr(marks, "MAX_LOCK_WAIT", 10.0)
    user = make_user()
    stream = fill("broadcast", 9)
    seen = Notification.objects.get(offset=4).published_at
    written = threading.Event()

    def work(number: int) -> None:
        if number:
            assert written.wait(10)
            epochs.renew({stream.pk: epochs.Old(stream.epoch, seen)})
            return
        with transaction.atomic():
            acknowledge({(user.pk, stream.pk): 9})
            written.set()
            wait_for_a_lock()

    in_threads(2, work)
    assert [feed.delivered for feed in load_inboxes([user])[user.pk]] == [0, 4]
    assert Stream.objects.get(pk=stream.pk).epoch != stream.epoch


def test_p9_a_renewal_skips_a_locked_stream() -> None:
    one, other = fill("broadcast", 3), fill("staff", 3)
    histories = {row.pk: epochs.Old(row.epoch) for row in (one, other)}
    with locked_elsewhere(one.pk):
        assert epochs.renew(histories).settled == {other.pk}
    assert epochs.renew(histories).settled == {one.pk, other.pk}


def test_p9_a_renewal_does_not_wait_long_for_a_hanging_acknowledgement() -> None:
    user = make_user()
    stream = fill("broadcast", 3)
    histories = {stream.pk: epochs.Old(stream.epoch)}
    written, done = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number:
            assert written.wait(10)
            assert epochs.renew(histories).settled == set()
            done.set()
            return
        with transaction.atomic():
            acknowledge({(user.pk, stream.pk): 3})
            written.set()
            assert done.wait(20)

    in_threads(2, work)
    assert epochs.renew(histories).settled == {stream.pk}


@contextmanager
def locked_elsewhere(stream_id: int) -> Iterator[None]:
    """Lock this stream in another transaction."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                list(locked(Stream.objects.filter(pk=stream_id)))
                held.set()
                done.wait(20)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join(20)


def test_a_fingerprint_omits_what_the_role_may_not_read() -> None:
    whole = incarnation.fingerprint()
    assert [part.partition("=")[0] for part in whole.split()] == [
        "cluster",
        "timeline",
        "database",
        "table",
    ]
    with connection.cursor() as cursor:
        cursor.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
        cursor.execute("CREATE ROLE ordinary")
        cursor.execute("GRANT USAGE ON SCHEMA public TO ordinary")
        cursor.execute("SET ROLE ordinary")
        try:
            part = incarnation.fingerprint()
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO public")
            cursor.execute("DROP OWNED BY ordinary")
            cursor.execute("DROP ROLE ordinary")
    assert part == whole.partition(" ")[2]
    assert not incarnation.differ(part, whole)


def test_p8_a_table_restored_from_a_dump_has_another_fingerprint() -> None:
    """psql and pg_restore create the tables anew."""
    before = incarnation.fingerprint()
    table = Stream._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA restored")
        try:
            cursor.execute(f"CREATE TABLE restored.{table} (LIKE public.{table})")
            cursor.execute("SET search_path TO restored, public")
            assert incarnation.differ(before, incarnation.fingerprint())
        finally:
            cursor.execute("SET search_path TO DEFAULT")
            cursor.execute("DROP SCHEMA restored CASCADE")


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_a_batch_of_a_bulk_call_does_not_read_what_waits_elsewhere(is_analyzed: bool) -> None:
    """Right after a large commit, PostgreSQL knows little of the table, and most of it waits."""
    users = make_old_users(3000)
    ensure(f"user:{user.pk}" for user in users)
    with hints(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequencing, "give_offsets", raise_error)
        with transaction.atomic():
            notify(users, "hello")
    mine = Stream.objects.filter(name__startswith="user:")
    ids = sorted(mine.values_list("pk", flat=True))
    with hints(), CaptureQueriesContext(connection) as captured:
        sequence(ids[:200])
    statements = [query["sql"] for query in captured.captured_queries]
    (numbering,) = [sql for sql in statements if "row_number()" in sql]
    with transaction.atomic(), connection.cursor() as cursor:
        if is_analyzed:
            cursor.execute("ANALYZE notifications_notification")
        for sql in statements:
            if sql.startswith("SET LOCAL"):
                cursor.execute(sql)
        cursor.execute(f"EXPLAIN {numbering}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Update on notifications_notification" in plan
    assert "Index Cond: (id = numbered" in plan
    assert "notification_waiting" not in plan
    assert "Seq Scan" not in plan
    assert Notification.objects.waiting().count() == 2800


def raise_error(*_: Any, **__: Any) -> None:
    raise OperationalError
