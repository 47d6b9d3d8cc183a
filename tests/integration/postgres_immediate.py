"""Offsets that are written at once, while others hold locks; run by test_postgres.py."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.test.utils import CaptureQueriesContext

from notifications import broadcast, notify
from notifications.models import Notification, Stream
from notifications.publishing.notify import publish, publish_to_each
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams import rows as stream_rows
from notifications.streams.rows import ensure, locked
from tests.integration.postgres_only import open_transaction
from tests.rooms import hints, in_threads, make_old_users, make_user, offsets, queries

pytestmark = pytest.mark.django_db(transaction=True)


def lock(name: str) -> Callable[[], Any]:
    """What another sequencer does with a stream, before it gives offsets."""
    return lambda: list(locked(Stream.objects.filter(name=name)))


def test_a_locked_stream_is_left_out_and_the_others_get_their_offsets_at_once() -> None:
    ensure(["topic:a", "topic:b", "topic:c"])
    with hints() as sent, open_transaction(lock("topic:b")):
        ids = publish_to_each(["topic:a", "topic:b", "topic:c"], "hello")
        assert [stream for stream, _ in sent] == ["topic:a", "topic:c"]
        assert Notification.objects.waiting().get().pk == ids[1]
    with hints():
        assert sequence_waiting() == 1
    assert [offsets(name) for name in ("topic:a", "topic:b", "topic:c")] == [[1], [1], [1]]


def test_what_follows_a_locked_stream_comes_after_what_waits_for_it() -> None:
    ensure(["broadcast"])
    with hints(), open_transaction(lock("broadcast")):
        broadcast("first")
    with hints():
        broadcast("second")
    rows = Notification.objects.order_by("offset").values_list("title", "offset")
    assert list(rows) == [("first", 1), ("second", 2)]


def test_callers_who_meet_in_many_streams_give_each_offset_once() -> None:
    people = make_old_users(150)
    ensure(f"user:{user.pk}" for user in people)

    def call(number: int) -> None:
        for turn in range(5):
            notify(people if (number + turn) % 2 else people[::-1], f"{number} {turn}")

    with hints():
        in_threads(4, call)
        sequence_waiting()
    given = Notification.objects.order_by("stream_id", "offset").values_list("offset", flat=True)
    assert list(given) == list(range(1, 21)) * len(people)
    assert set(Stream.objects.filter(name__startswith="user:").values_list("top")) == {(20,)}


def test_a_stream_that_another_transaction_creates_for_long_is_left_to_sequencing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_rows, "CREATE_TIMEOUT", 0.05)
    ensure(["topic:a"])
    with hints(), open_transaction(lambda: stream_rows.create(["topic:b"])):
        publish_to_each(["topic:a", "topic:b", "topic:c"], "hello")
        assert offsets("topic:a") == [1]
        assert offsets("topic:c") == [1]
        assert Notification.objects.waiting().get().stream_name == "topic:b"


@pytest.mark.parametrize("names", [["broadcast"], []], ids=["existing", "new"])
def test_p9_a_locked_actor_delays_nobody_else(names: list[str]) -> None:
    """The foreign key waits for the actor at the commit; until then no stream is locked or new."""
    actor = make_user("actor")
    ensure(names)
    rows = get_user_model().objects.select_for_update()
    late = in_background(lambda: broadcast("late", actor=actor))
    with hints() as sent, late as caller, open_transaction(lambda: rows.get(pk=actor.pk)):
        caller.start()
        wait_until_blocked()
        assert broadcast("early").offset == 1
        assert [message["offset"] for _, message in sent] == [1]
    assert offsets("broadcast") in ([1, 2], [2, 1])


def test_a_call_for_one_stream_takes_one_round_trip() -> None:
    ensure(["broadcast"])
    with CaptureQueriesContext(connection) as captured:
        publish("broadcast", "hello")
    assert len(captured) == 1


def test_a_locked_actor_is_the_only_reason_to_leave_streams_to_sequencing() -> None:
    actor = make_user("actor")
    ensure(["broadcast"])
    with hints():
        statements = queries(lambda: publish_to_each(["broadcast"], "hello", actor=actor))
    assert len(statements) == 1


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_where_transactions_read_a_snapshot_no_stream_is_locked_with_the_row(
    level: IsolationLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(["broadcast"])
    monkeypatch.setattr(connection, "isolation_level", level)
    with hints():
        statements = queries(lambda: publish_to_each(["broadcast"], "hello"))
    assert "UPDATE" not in statements[0]
    assert offsets("broadcast") == [1]


@contextmanager
def in_background(call: Callable[[], Any]) -> Iterator[threading.Thread]:
    """A thread that the block starts, and that has ended well after it."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    yield thread
    thread.join(60)
    assert not thread.is_alive()
    assert errors == []


def wait_until_blocked() -> None:
    """Wait until a transaction waits for another one."""
    with connection.cursor() as cursor:
        for _ in range(60_000):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            cursor.execute("SELECT pg_sleep(0.001)")
    raise AssertionError("nobody waits")
