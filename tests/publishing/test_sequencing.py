"""Offsets: given after the commit, in order and without gaps, even if a process dies (P1–P3)."""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.utils import timezone
from prometheus_client import REGISTRY

from notifications import broadcast, notify
from notifications.models import Notification, Stream
from notifications.publishing import hints as publishing_hints
from notifications.publishing import numbering, sequencing
from notifications.publishing.notify import publish, withdraw
from notifications.publishing.sequencing import sequence, sequence_waiting
from notifications.publishing.setbacks import Setbacks
from notifications.publishing.writing import Written
from notifications.signals import published
from notifications.streams import encoding
from notifications.streams import rows as stream_rows
from notifications.streams.instants import instant
from notifications.streams.numbered import unpack, with_id
from notifications.streams.rows import ensure
from tests.rooms import (
    fill,
    hints,
    in_threads,
    make_old_users,
    make_user,
    offsets,
    plans,
    queries,
    reads_whole_table,
    rolled_back,
    write,
)

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_p1_a_process_that_dies_after_the_commit_loses_nothing() -> None:
    """The row was committed, but its ``on_commit`` never ran; the ticker of any worker finds it."""
    left = write("broadcast")
    with hints() as sent:
        assert sequence_waiting() == 1
    left.refresh_from_db()
    assert left.offset == 1
    assert left.published_at is not None
    assert [(stream, message["offset"]) for stream, message in sent] == [("broadcast", 1)]
    assert sequence_waiting() == 0


def test_a_database_failure_after_the_commit_is_not_raised_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("password=secret")

    with monkeypatch.context() as patch:
        patch.setattr(sequencing, "give_offsets", fail)
        with transaction.atomic():
            notification = broadcast("hello")
    assert notification.offset is None
    assert "a worker will publish" in caplog.text
    assert "secret" not in caplog.text
    assert sequence_waiting() == 1


def test_concurrent_publishers_get_offsets_without_gaps_and_repeats() -> None:
    users = [make_user("a"), make_user("b")]

    def publish(number: int) -> None:
        for turn in range(10):
            broadcast(f"{number} {turn}")
            notify(users if number % 2 else users[::-1], f"{number} {turn}")

    with hints() as sent:
        in_threads(4, publish)
        sequence_waiting()
    names = ["broadcast", *(f"user:{user.pk}" for user in users)]
    for name in names:
        assert sorted(offsets(name), key=int) == list(range(1, 41))  # type: ignore[arg-type]
        assert Stream.objects.get(name=name).top == 40
        announced = sorted(message["offset"] for stream, message in sent if stream == name)
        assert announced == list(range(1, 41))


def test_concurrent_tickers_give_each_offset_once() -> None:
    for number in range(60):
        write(f"topic:{number % 3}")
    assert sum(in_threads(4, lambda n: sequence_waiting())) + sequence_waiting() == 60
    for number in range(3):
        assert sorted(offsets(f"topic:{number}"), key=int) == list(range(1, 21))  # type: ignore[arg-type]


def test_a_rollback_leaves_no_gap() -> None:
    broadcast("one")
    with rolled_back():
        broadcast("never")
    broadcast("two")
    assert offsets("broadcast") == [1, 2]


def test_offsets_follow_publish_at_then_the_order_of_writing() -> None:
    ids = [write("broadcast", publish_at=NOON - timedelta(minutes=m)).pk for m in (1, 3, 2, 3)]
    sequence_waiting()
    ordered = Notification.objects.order_by("offset").values_list("pk", flat=True)
    assert list(ordered) == [ids[1], ids[3], ids[2], ids[0]]


def test_a_scheduled_notification_waits_for_its_time() -> None:
    moment = timezone.now() + timedelta(hours=1)
    later = broadcast("later", publish_at=moment)
    broadcast("now")
    assert later.offset is None
    assert sequence_waiting(moment - timedelta(seconds=1)) == 0
    assert sequence_waiting(moment) == 1
    later.refresh_from_db()
    assert later.offset == 2
    assert later.published_at == moment


def test_published_at_ascends_with_the_offset_despite_wrong_clocks() -> None:
    for number in range(5):
        write("broadcast", publish_at=NOON - timedelta(minutes=number))
    sequence_waiting(NOON)
    write("broadcast", publish_at=NOON - timedelta(days=2))
    sequence_waiting(NOON - timedelta(days=1))  # the clock of another worker
    rows = list(Notification.objects.order_by("offset").values_list("published_at", flat=True))
    assert len(set(rows)) == 6
    assert rows == sorted(rows)  # type: ignore[type-var]


@pytest.fixture(params=[1, 1000], ids=["one hint for all", "a hint for each"])
def either_way(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of which each notification is described, and batches of which none is."""
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", request.param)


@pytest.mark.usefixtures("either_way")
def test_times_of_a_batch_follow_the_clock_or_else_the_previous_entry() -> None:
    microsecond = timedelta(microseconds=1)
    ahead = NOON + timedelta(days=1)
    for name, moment in {"topic:b": ahead, "topic:c": NOON}.items():
        write(name, publish_at=NOON)
        assert sequence_waiting(moment) == 1
    for name in ("topic:a", "topic:b", "topic:c") * 3:
        write(name, publish_at=NOON - timedelta(hours=1))
    assert sequence_waiting(NOON) == 9

    def times(name: str) -> list[datetime | None]:
        rows = Notification.objects.filter(stream__name=name).order_by("offset")
        found = list(rows.values_list("published_at", flat=True))
        assert Stream.objects.get(name=name).published_at == found[-1]
        assert Stream.objects.get(name=name).top == len(found)
        return found

    assert times("topic:a") == [NOON + microsecond * n for n in range(3)]
    assert times("topic:b") == [ahead + microsecond * n for n in range(4)]
    assert times("topic:c") == [NOON + microsecond * n for n in range(4)]
    # The databases compare what was stored with what Django would store.
    for moment in (NOON, NOON + microsecond):
        assert Notification.objects.filter(published_at=moment).count() == 2


def test_hints_have_the_times_that_are_stored() -> None:
    for _ in range(3):
        write("topic:a", publish_at=NOON)
    write("topic:b", publish_at=NOON)
    with hints() as sent:
        assert sequence_waiting() == 4
        broadcast("again", to="topic:a")
    told = {(name, hint["offset"]): (hint["at"], hint["previous"]) for name, hint in sent}
    for name in ("topic:a", "topic:b"):
        previous = 0
        for row in Notification.objects.filter(stream__name=name).order_by("offset"):
            at = instant(row.published_at)
            assert told.pop((name, row.offset)) == (at, previous)
            previous = at
    assert told == {}


@pytest.mark.usefixtures("either_way")
def test_only_what_is_due_and_not_withdrawn_gets_an_offset() -> None:
    for name in ("topic:a", "topic:b"):
        write(name, publish_at=NOON, withdrawn_at=NOON)
        write(name, publish_at=NOON + timedelta(microseconds=1))
        write(name, publish_at=NOON)
    assert sequence_waiting(NOON) == 2
    assert offsets("topic:a") == offsets("topic:b") == [None, None, 1]
    assert sequence_waiting(NOON + timedelta(microseconds=1)) == 2
    assert offsets("topic:a") == offsets("topic:b") == [None, 2, 1]


def test_a_withdrawn_notification_is_never_published() -> None:
    left = write("broadcast")
    assert withdraw(Notification.objects.filter(pk=left.pk)) == 1
    with hints() as sent:
        assert sequence_waiting() == 0
    assert sent == []
    assert withdraw(Notification.objects.filter(pk=left.pk)) == 0


def test_more_than_one_batch_is_published_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencing, "BATCH_SIZE", 4)
    monkeypatch.setattr(sequencing, "MAX_NOTIFICATIONS", 5)
    for _ in range(11):
        write("broadcast")
    assert sequence_waiting() == 11
    assert offsets("broadcast") == list(range(1, 12))
    for number in range(9):
        write(f"topic:{number}")
        write(f"topic:{number}")
    assert sequence(ensure(f"topic:{n}" for n in range(9))[f"topic:{n}"].pk for n in range(9)) == 18


def test_a_notification_that_cannot_be_encoded_does_not_delay_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = write("broadcast", title="bad")
    write("broadcast", title="good")
    with hints() as sent, pytest.MonkeyPatch.context() as patch:
        original = encoding.encode_content

        def refuse(notification: Notification) -> bytes:
            if notification.pk == bad.pk:
                raise ValueError("no JSON")
            return original(notification)

        patch.setattr(publishing_hints, "encode_content", refuse)
        assert sequence_waiting() == 2
    assert [message["offset"] for _, message in sent] == [2]
    assert "no JSON" in caplog.text


@pytest.mark.parametrize("in_transaction", [False, True])
def test_new_rows_are_announced_without_reading_them_again(in_transaction: bool) -> None:
    user = make_user()
    options: dict[str, Any] = {
        "body": "Über",
        "url": "/orders/7/",
        "data": {"at": NOON, "nested": {"a": [1, None]}},
        "actor": user,
        "expires_at": timezone.now() + timedelta(days=1),
    }

    def call() -> None:
        with transaction.atomic() if in_transaction else nullcontext():
            notify(user, "Shipped", **options)

    with hints() as sent:
        notify(user, "first")
        statements = queries(call)
    is_postgres = connection.vendor == "postgresql"
    if in_transaction:
        # Stream ids and the row; then locking streams, and storing top and offset.
        assert len(statements) == (4 if is_postgres else 5)
    else:
        # On SQLite: a missing stream, the row, what is announced, and the top.
        assert len(statements) == (1 if is_postgres else 4)
    row = Notification.objects.select_related("actor").get(title="Shipped")
    assert sent[-1][1]["data"] == encoding.encode_content(row)
    assert sent[-1][1]["offset"] == row.offset == 2


def test_many_streams_are_announced_together_with_the_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", 3)
    monkeypatch.setattr(publishing_hints, "PER_MESSAGE", 2)
    users = make_old_users(5)
    ensure(f"user:{user.pk}" for user in users)
    with hints() as sent:
        notify(users[:3], "each")
        assert [message["type"] for _, message in sent] == ["notifications.publication"] * 3
        sent.clear()
        notify(users, "all", body="Über")
    assert [group for group, _ in sent] == ["broadcast"] * 3
    told = [entry for _, message in sent for entry in unpack(message["entries"])]
    rows = Notification.objects.filter(title="all").select_related("stream")
    assert len(told) == len(rows) == 5
    for row in rows:
        assert row.stream is not None
        before = rows.model.objects.filter(stream=row.stream, title="each").first()
        previous = instant(before.published_at) if before else 0
        at = instant(row.published_at)
        entry = (row.stream.name, row.stream.epoch, row.offset, row.pk, at, previous)
        assert entry in told
        assert with_id(sent[0][1]["content"], row.pk) == encoding.encode_content(row)


def test_many_streams_are_told_nothing_of_what_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", 3)
    users = make_old_users(4)
    with hints() as sent, monkeypatch.context() as patched:
        patched.setattr(Written, "expires_at", timezone.now() - timedelta(seconds=1))
        notify(users, "all")
    assert sent == []
    assert offsets(f"user:{users[3].pk}") == [1]


def test_rows_of_others_in_many_streams_are_announced_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", 3)
    users = make_old_users(4)
    write(f"user:{users[0].pk}", title="left")
    with hints() as sent, transaction.atomic():
        notify(users, "all")
    kinds = [message["type"].removeprefix("notifications.") for _, message in sent]
    assert kinds == ["publications", "publication"]
    told = {(name, offset) for name, _, offset, *_ in unpack(sent[0][1]["entries"])}
    told.add((sent[1][0], sent[1][1]["offset"]))
    first, *others = (f"user:{user.pk}" for user in users)
    assert told == {(first, 1), (first, 2), *((name, 1) for name in others)}


def test_many_streams_with_different_notifications_get_one_hint_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", 3)
    for number in range(4):
        write(f"topic:{number}", title=f"left {number}")
    with hints() as sent:
        assert sequence_waiting() == 4
    assert sent == [("broadcast", {"type": "notifications.check", "stream": "broadcast"})]


def test_other_waiting_notifications_of_the_stream_are_published_too() -> None:
    left = write("broadcast", title="left")
    with hints() as sent:
        broadcast("now")
    assert [message["offset"] for _, message in sent] == [1, 2]
    assert sent[0][1]["data"] == encoding.encode_content(Notification.objects.get(pk=left.pk))


def test_a_stream_has_the_time_of_its_newest_publication() -> None:
    broadcast("one")
    broadcast("two")
    newest = Notification.objects.get(title="two")
    assert Stream.objects.get(name="broadcast").published_at == newest.published_at


def test_published_is_sent_even_if_a_receiver_fails() -> None:
    heard: list[Any] = []

    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a receiver of the host")

    def hear(notification: Notification, **kwargs: Any) -> None:
        heard.append((notification.title, notification.offset))

    published.connect(fail)
    published.connect(hear)
    try:
        with hints() as sent:
            broadcast("one")
            broadcast("two")
    finally:
        published.disconnect(fail)
        published.disconnect(hear)
    assert heard == [("one", 1), ("two", 2)]
    assert len(sent) == 2


def test_published_is_sent_for_each_notification_of_a_batch_with_one_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", 3)
    users = make_old_users(4)
    heard: list[Any] = []

    def hear(notification: Notification, **kwargs: Any) -> None:
        heard.append((notification.stream_name, notification.offset))

    published.connect(hear)
    try:
        with hints():
            notify(users, "hello")
    finally:
        published.disconnect(hear)
    assert sorted(heard) == sorted((f"user:{user.pk}", 1) for user in users)


def test_publishing_to_many_streams_takes_few_statements() -> None:
    streams = ensure(f"topic:{n}" for n in range(100))
    for stream in streams.values():
        Notification.objects.create(stream=stream, title="x")
    assert len(queries(lambda: sequence(s.pk for s in streams.values()))) <= 8


def test_a_full_chunk_of_a_bulk_call_takes_one_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequencing, "BATCH_SIZE", 100)
    streams = ensure(f"topic:{n}" for n in range(100))
    for stream in streams.values():
        Notification.objects.create(stream=stream, title="x")
    with hints():
        statements = queries(lambda: sequence(s.pk for s in streams.values()))
    # Locking the streams, storing tops and offsets, and reading the content for the hints.
    assert len(statements) == (3 if connection.vendor == "postgresql" else 4)


def test_an_idle_tick_takes_two_queries_on_small_indexes() -> None:
    fill("broadcast", 2000)
    assert len(queries(sequence_waiting)) == 2
    plan = plans(sequence_waiting)
    assert "notification_unplaced" in plan
    assert not reads_whole_table(plan)
    assert "notification_waiting" in plan


def test_a_batch_finds_the_waiting_rows_of_its_streams_by_their_index() -> None:
    fill("broadcast", 2000)
    stream = write("broadcast").stream
    assert stream is not None
    statements = queries(lambda: sequence([stream.pk]))
    numbering = next(sql for sql in statements if '"offset" IS NULL' in sql)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"EXPLAIN {numbering}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {numbering}")
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    assert "notification_offset" in plan or "stream_id=? AND offset=?" in plan
    assert not reads_whole_table(plan)


# Broken and locked streams delay no others


@pytest.fixture(autouse=True)
def nothing_is_set_aside() -> Iterator[None]:
    sequencing.setbacks.clear()
    yield
    sequencing.setbacks.clear()


def break_top(name: str) -> Stream:
    """Give a stream offsets above its top, as after a restore."""
    stream = fill(name, 3)
    stream.top = 1
    stream.save()
    return stream


def break_for_good(name: str) -> Stream:
    """Give a stream the highest top, so that no further offset fits."""
    stream = ensure([name])[name]
    Stream.objects.filter(pk=stream.pk).update(top=2**63 - 1)
    return stream


def test_a_top_below_existing_offsets_is_raised_with_a_new_epoch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = break_top("topic:broken")
    write("topic:broken")
    for number in range(5):
        write(f"topic:{number}", publish_at=NOON)
    assert sequence_waiting() == 6
    assert offsets("topic:broken") == [1, 2, 3, 4]
    stream = Stream.objects.get(pk=broken.pk)
    assert stream.top == 4
    assert stream.epoch != broken.epoch
    assert caplog.text.count("new epoch") == 1


def test_a_caller_repairs_such_a_top_too() -> None:
    broken = break_top("broadcast")
    notification = broadcast("hello")
    assert notification.offset == 4
    assert Stream.objects.get(pk=broken.pk).epoch != broken.epoch


def test_a_broken_stream_delays_no_other_and_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(sequencing, "setbacks", Setbacks(clock=lambda: now[0]))
    broken = break_for_good("topic:broken")
    write("topic:broken", publish_at=NOON)
    for number in range(7):
        write(f"topic:{number}")
    assert sequence_waiting() == 7
    assert offsets("topic:broken") == [None]
    assert metric("notifications_streams_set_aside") == 1
    for _ in range(100):
        write("topic:0")
        assert sequence_waiting() == 1
        now[0] += 1
    assert caplog.text.count("it will be retried") == 1
    Stream.objects.filter(pk=broken.pk).update(top=0)
    now[0] += 60
    assert sequence_waiting() == 1
    assert metric("notifications_streams_set_aside") == 0
    assert offsets("topic:broken") == [1]


def test_a_broken_stream_does_not_fail_a_call_with_one_hint_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing_hints, "MAX_HINTS", 3)
    users = make_old_users(9)
    break_for_good(f"user:{users[4].pk}")
    break_top(f"user:{users[5].pk}")
    with hints():
        notify(users, "hello")
    assert offsets(f"user:{users[5].pk}") == [1, 2, 3, 4]
    assert offsets(f"user:{users[4].pk}") == [None]
    assert [offsets(f"user:{user.pk}") for user in users].count([1]) == 7


def test_a_broken_stream_does_not_fail_a_bulk_call() -> None:
    users = [make_user(f"u{number}") for number in range(9)]
    break_for_good(f"user:{users[4].pk}")
    with hints() as sent:
        notify(users, "hello")
    assert len(sent) == 8
    assert Notification.objects.published().count() == 8
    assert Notification.objects.waiting().count() == 1


def test_a_broken_stream_that_fills_a_page_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencing, "BATCH_SIZE", 4)
    break_for_good("topic:broken")
    for _ in range(9):
        write("topic:broken", publish_at=NOON)
    write("topic:good")
    assert sequence_waiting() == 1
    assert offsets("topic:good") == [1]


def test_a_stream_that_is_set_aside_costs_nothing_until_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ticks and callers neither try it nor read its waiting rows."""
    monkeypatch.setattr(sequencing, "setbacks", Setbacks(clock=lambda: 0.0))
    monkeypatch.setattr(sequencing, "BATCH_SIZE", 4)
    broken = break_for_good("topic:broken")
    for _ in range(9):
        write("topic:broken", publish_at=NOON)
    sequence_waiting()
    tried: list[int] = []
    real = numbering.give_offsets

    def give_offsets(stream_ids: Any, *args: Any, **kwargs: Any) -> Any:
        tried.extend(stream_ids)
        return real(stream_ids, *args, **kwargs)

    monkeypatch.setattr(sequencing, "give_offsets", give_offsets)
    assert len(queries(sequence_waiting)) == 2
    publish("topic:broken", "hello")
    assert tried == []
    good = write("topic:good").stream
    assert good is not None
    assert sequence_waiting() == 1
    assert tried == [good.pk]
    assert broken.pk in sequencing.setbacks.paused()


def test_a_stream_that_cannot_be_created_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    make = stream_rows.create

    def fail(names: Any) -> dict[str, int]:
        if "topic:bad" in names:
            raise DataError("no such stream")
        return make(names)

    monkeypatch.setattr(stream_rows, "create", fail)
    for name in ("topic:a", "topic:bad", "topic:c"):
        Notification.objects.create(channel=name, title="hello")
    assert sequence_waiting() == 2
    assert offsets("topic:a") == offsets("topic:c") == [1]
    assert "topic:bad" in sequencing.setbacks.paused()


def test_an_unavailable_database_fails_once_and_sets_no_stream_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    def fail(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        raise OperationalError("gone")

    for number in range(8):
        write(f"topic:{number}")
    monkeypatch.setattr(sequencing, "give_offsets", fail)
    with pytest.raises(OperationalError):
        sequence_waiting()
    assert len(calls) == 1
    assert sequencing.setbacks.paused() == set()


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)
