"""Calls outside of a transaction, whose rows are written with their offsets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from notifications import broadcast, notify
from notifications.models import Notification, Stream
from notifications.publishing import channels, immediate, inserting, sequencing
from notifications.publishing import hints as publishing_hints
from notifications.publishing import notify as publishing
from notifications.publishing.notify import publish, publish_to_each, withdraw
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams.rows import ensure
from tests.rooms import (
    fill,
    hints,
    make_old_users,
    make_user,
    offsets,
    queries,
    reads_whole_table,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)

IS_POSTGRES = connection.vendor == "postgresql"


@pytest.fixture
def no_sequencing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing gets an offset after its commit, so that only those written with one have one."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(sequencing, "give_offsets", fail)
        yield


def users() -> Any:
    return get_user_model().objects.order_by("pk")


@contextmanager
def failing_after(words: str) -> Iterator[None]:
    """The connection breaks after a statement that has these words."""

    def run(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if words in sql:
            raise OperationalError("the connection broke")
        return result

    with connection.execute_wrapper(run):
        yield


@pytest.mark.usefixtures("no_sequencing")
def test_every_way_to_publish_writes_the_offset_with_the_row() -> None:
    people = make_old_users(3)
    ensure(["broadcast", *(f"user:{user.pk}" for user in people)])
    with hints() as sent:
        notify(people[0], "one")
        notify(people, "some")
        broadcast("all", actor=people[0])
        publish("broadcast", "by name")
        publish_to_each(["broadcast", f"user:{people[1].pk}"], "each")
    assert offsets("broadcast") == [1, 2, 3]
    assert [offsets(f"user:{user.pk}") for user in people] == [[1, 2], [1, 2], [1]]
    assert [message["offset"] for stream, message in sent if stream == "broadcast"] == [1, 2, 3]
    assert set(Stream.objects.filter(name="broadcast").values_list("top")) == {(3,)}


def test_the_stream_is_published_when_its_newest_notification_was() -> None:
    ahead = timezone.now() + timedelta(days=1)
    for name, published_at in {"topic:a": None, "topic:b": ahead}.items():
        ensure([name])
        Stream.objects.filter(name=name).update(published_at=published_at)
    before = timezone.now()
    with hints() as sent:
        publish_to_each(["topic:a", "topic:b"], "hello")
    found = {row.stream_name: row for row in Notification.objects.select_related("stream")}
    for row in found.values():
        assert row.stream is not None
        assert row.stream.published_at == row.published_at
    assert found["topic:b"].published_at == ahead + timedelta(microseconds=1)
    assert found["topic:a"].published_at is not None
    assert found["topic:a"].published_at - before < timedelta(minutes=1)
    times = {stream: (message["at"], message["previous"]) for stream, message in sent}
    at, previous = times["topic:b"]
    assert at == previous + 1
    assert times["topic:a"][1] == 0


@pytest.mark.usefixtures("no_sequencing")
def test_streams_that_are_missing_are_created_in_the_same_transaction() -> None:
    people = make_old_users(5)
    ensure(f"user:{user.pk}" for user in people[:2])
    reported: list[int] = []
    with hints() as sent:
        ids = notify(people, "hello", progress=reported.append)
        broadcast("the first of its stream", actor=people[0])
    assert [offsets(f"user:{user.pk}") for user in people] == [[1]] * 5
    rows = {row.pk: row.stream_name for row in Notification.objects.select_related("stream")}
    assert [rows[pk] for pk in ids] == [f"user:{user.pk}" for user in people]
    assert sorted(stream for stream, _ in sent) == sorted(rows.values())
    assert reported[-1] == 5


@pytest.mark.parametrize("in_database", [False, True], ids=["list", "queryset"])
def test_a_call_for_many_takes_as_many_statements_as_for_a_few(
    in_database: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", 3)
    monkeypatch.setattr(publishing, "CHUNK", 5)
    monkeypatch.setattr(inserting, "CHUNK", 5)
    people = make_old_users(40)
    ensure(f"user:{user.pk}" for user in people)
    reported: list[int] = []
    for count in (6, 40):
        to = users()[:count] if in_database else people[:count]
        with hints() as sent:
            found = queries(lambda to=to: notify(to, "hello", progress=reported.append))  # type: ignore[misc]
        # On SQLite: missing streams, rows, what is announced, tops. A queryset is counted first,
        # and read on PostgreSQL.
        assert len(found) == (1 + 2 * in_database if IS_POSTGRES else 4 + in_database)
        assert [message["type"] for _, message in sent] == ["notifications.publications"]
    assert reported == [6, 40]
    assert Notification.objects.filter(offset=2).count() == 6


def test_the_channel_of_a_namespace_is_written_the_same_way(settings: Any) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "NAMESPACES": {"chat": {"durable": True}}}
    ensure(["chat:1"])
    with hints() as sent:
        statements = queries(lambda: channels.publish("chat:1", {"text": "hello"}))
    assert len([sql for sql in statements if "UPDATE" in sql]) == 1
    assert [message["offset"] for _, message in sent] == [1]


def test_in_a_transaction_no_stream_is_locked() -> None:
    user = make_user()
    ensure([f"user:{user.pk}"])
    with hints(), transaction.atomic():
        statements = queries(lambda: notify(user, "hello"))
        assert not [sql for sql in statements if "UPDATE" in sql]
        assert offsets(f"user:{user.pk}") == [None]
    assert offsets(f"user:{user.pk}") == [1]


def test_a_caller_who_begins_transactions_by_hand_gets_the_offset_after_the_commit() -> None:
    user = make_user()
    ensure([f"user:{user.pk}"])
    transaction.set_autocommit(False)
    try:
        assert not inserting.can_be_immediate(Notification(title="hello"), None)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert inserting.can_be_immediate(Notification(title="hello"), None)


# What waits


def test_a_notification_that_waits_comes_first() -> None:
    write("broadcast", title="left")
    with hints() as sent:
        publish_to_each(["topic:a", "broadcast"], "now")
    assert offsets("broadcast") == [1, 2]
    assert offsets("topic:a") == [1]
    assert len(sent) == 3


def test_an_unplaced_notification_of_a_new_stream_comes_first() -> None:
    Notification.objects.create(channel="topic:a", title="left")
    with hints():
        publish("topic:a", "now")
    assert offsets("topic:a") == [1, 2]


@pytest.mark.usefixtures("no_sequencing")
def test_what_is_not_due_or_withdrawn_does_not_hold_up_others() -> None:
    broadcast("later", publish_at=timezone.now() + timedelta(hours=1))
    left = write("broadcast", title="withdrawn")
    withdraw(Notification.objects.filter(pk=left.pk))
    stream = ensure(["broadcast"])["broadcast"]
    Notification.objects.filter(channel="broadcast").update(stream=stream, channel=None)
    assert broadcast("now").offset == 1


@pytest.mark.usefixtures("no_sequencing")
@pytest.mark.parametrize("options", [{"key": "k"}, {"publish_at": timezone.now()}])
def test_a_key_and_a_time_are_decided_after_the_commit(options: dict[str, Any]) -> None:
    ensure(["broadcast"])
    assert broadcast("hello", **options).offset is None
    assert Notification.objects.waiting().count() == 1


@pytest.mark.usefixtures("no_sequencing")
def test_a_stream_without_a_next_offset_delays_no_other() -> None:
    people = make_old_users(4)
    names = [f"user:{user.pk}" for user in people]
    ensure(names)
    Stream.objects.filter(name=names[1]).update(top=2**63 - 1)
    ids = notify(people, "hello")
    assert [offsets(name) for name in names] == [[1], [None], [1], [1]]
    by_stream = dict(Notification.objects.values_list("stream__name", "pk"))
    assert [by_stream[name] for name in names] == ids


def test_a_stream_whose_top_is_too_low_is_repaired_and_the_others_are_published() -> None:
    stream = fill("topic:broken", 3)
    Stream.objects.filter(pk=stream.pk).update(top=1)
    with hints() as sent:
        ids = publish_to_each(["topic:a", "topic:broken"], "hello")
    assert offsets("topic:broken") == [1, 2, 3, 4]
    assert offsets("topic:a") == [1]
    assert list(Notification.objects.filter(title="hello").order_by("pk")) == list(
        Notification.objects.filter(pk__in=ids).order_by("pk")
    )
    assert sorted(message["offset"] for _, message in sent) == [1, 4]


# Failures


def test_p2_a_call_that_fails_before_its_commit_leaves_and_sends_nothing() -> None:
    ensure(["broadcast", "staff"])
    broken = failing_after("INTO notifications_notification")
    with hints() as sent, broken, pytest.raises(OperationalError):
        publish_to_each(["broadcast", "staff"], "never")
    assert sent == []
    assert not Notification.objects.exists()
    assert Stream.objects.get(name="broadcast").top == 0
    assert broadcast("first").offset == 1


def test_a_call_for_one_stream_whose_answer_is_lost_is_done_as_a_whole_or_not_at_all() -> None:
    """On PostgreSQL it is one statement, which commits by itself, as an answered COMMIT would."""
    ensure(["broadcast"])
    broken = failing_after("INTO notifications_notification")
    with hints() as sent, broken, pytest.raises(OperationalError):
        broadcast("perhaps")
    assert sent == []
    is_done = IS_POSTGRES
    assert offsets("broadcast") == [1] * is_done
    assert Stream.objects.get(name="broadcast").top == int(is_done)
    assert broadcast("next").offset == 1 + is_done


def test_p1_what_is_committed_and_never_announced_has_moved_the_top(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The position check compares tops, so it finds what a process did not announce that died."""

    def die(*args: Any, **kwargs: Any) -> None:
        raise SystemExit

    ensure(["broadcast"])
    with monkeypatch.context() as patch:
        patch.setattr(inserting, "announce_batch", die)
        with pytest.raises(SystemExit):
            broadcast("hello")
    stream = Stream.objects.get(name="broadcast")
    assert offsets("broadcast") == [1]
    assert stream.top == 1
    assert sequence_waiting() == 0


def test_a_database_that_fails_after_the_commit_is_not_raised_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError("password=secret")

    monkeypatch.setattr("notifications.publishing.committed.announce", fail)
    assert broadcast("hello").offset == 1
    assert "a worker will publish" in caplog.text
    assert "secret" not in caplog.text


# Plans


def test_the_statements_read_no_table_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "CHUNK", 5)
    fill("broadcast", 2000)
    people = make_old_users(300)
    ensure(f"user:{user.pk}" for user in people)
    with hints():
        statements = queries(lambda: broadcast("to one stream"))[:-1]
        statements += queries(lambda: notify(users()[10:20], "in the database"))[1:]
    explain = "EXPLAIN" if IS_POSTGRES else "EXPLAIN QUERY PLAN"
    lines: list[str] = []
    with connection.cursor() as cursor:
        if IS_POSTGRES:
            cursor.execute("ANALYZE")
            cursor.execute("SET enable_seqscan = off")  # the planner prefers it for so few rows
        for sql in statements:
            cursor.execute(f"{explain} {sql}")
            lines += [str(row[-1]).strip(" ->") for row in cursor.fetchall()]
        if IS_POSTGRES:
            cursor.execute("RESET enable_seqscan")
    plan = "\n".join(lines)
    assert not reads_whole_table(plan)
    assert not [
        line for line in lines if line.startswith(("SCAN waiting", "SCAN row", "SCAN stream"))
    ]
    assert "Seq Scan on notifications_stream" not in plan
    offset_index = "notification_offset" if IS_POSTGRES else "stream_id=? AND offset=?"
    assert offset_index in plan


# Bounds


def test_a_call_that_would_lock_too_many_streams_is_sequenced_after_its_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SQLite is locked as a whole anyway."""
    monkeypatch.setattr(immediate, "MAX_LOCKED", 3)
    people = make_old_users(4)
    ensure(f"user:{user.pk}" for user in people)
    few, many = queries(lambda: notify(people[:3], "few")), queries(lambda: notify(people, "many"))
    assert len(few) < len(many) if IS_POSTGRES else len(few) == len(many)
    assert len([sql for sql in few if "INTO notifications_notification" in sql]) == 1
    assert [offsets(f"user:{user.pk}") for user in people] == [[1, 2]] * 3 + [[1]]
