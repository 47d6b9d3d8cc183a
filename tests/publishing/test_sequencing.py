"""Offsets: gap-free, in order, after the commit, whoever dies in between (P1, P2, P3)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError
from django.utils import timezone
from prometheus_client import REGISTRY

from notifications import broadcast, notify
from notifications.models import Notification, Stream
from notifications.publishing import hints as publishing_hints
from notifications.publishing import numbering, sequencing
from notifications.publishing.notify import publish, withdraw
from notifications.publishing.sequencing import sequence, sequence_waiting
from notifications.publishing.setbacks import Setbacks
from notifications.signals import published
from notifications.streams import encoding
from notifications.streams import rows as stream_rows
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


def test_a_process_that_dies_after_the_commit_loses_nothing() -> None:
    """P1: the row is there, its ``on_commit`` never ran; any worker's ticker finds it."""
    left = write("broadcast")
    with hints() as sent:
        assert sequence_waiting() == 1
    left.refresh_from_db()
    assert left.offset == 1
    assert left.published_at is not None
    assert [(stream, message["offset"]) for stream, message in sent] == [("broadcast", 1)]
    assert sequence_waiting() == 0


def test_a_database_that_fails_after_the_commit_is_no_error_of_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("password=secret")

    with monkeypatch.context() as patch:
        patch.setattr(sequencing, "give_offsets", fail)
        notification = broadcast("hello")
    assert notification.offset is None
    assert "wait for a worker" in caplog.text
    assert "secret" not in caplog.text
    assert sequence_waiting() == 1


def test_offsets_have_no_gaps_and_no_repeats_under_concurrent_publishers() -> None:
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


def test_tickers_and_publishers_do_not_number_twice() -> None:
    for number in range(60):
        write(f"topic:{number % 3}")
    assert sum(in_threads(4, lambda n: sequence_waiting())) + sequence_waiting() == 60
    for number in range(3):
        assert sorted(offsets(f"topic:{number}"), key=int) == list(range(1, 21))  # type: ignore[arg-type]


def test_a_rollback_leaves_no_hole() -> None:
    broadcast("one")
    with rolled_back():
        broadcast("never")
    broadcast("two")
    assert offsets("broadcast") == [1, 2]


def test_in_a_stream_notifications_follow_publish_at_then_the_order_of_writing() -> None:
    ids = [write("broadcast", publish_at=NOON - timedelta(minutes=m)).pk for m in (1, 3, 2, 3)]
    sequence_waiting()
    ordered = Notification.objects.order_by("offset").values_list("pk", flat=True)
    assert list(ordered) == [ids[1], ids[3], ids[2], ids[0]]


def test_what_is_scheduled_waits_for_its_time() -> None:
    moment = timezone.now() + timedelta(hours=1)
    later = broadcast("later", publish_at=moment)
    broadcast("now")
    assert later.offset is None
    assert sequence_waiting(moment - timedelta(seconds=1)) == 0
    assert sequence_waiting(moment) == 1
    later.refresh_from_db()
    assert later.offset == 2
    assert later.published_at == moment


def test_published_at_ascends_with_the_offset_whatever_the_clock_says() -> None:
    for number in range(5):
        write("broadcast", publish_at=NOON - timedelta(minutes=number))
    sequence_waiting(NOON)
    write("broadcast", publish_at=NOON - timedelta(days=2))
    sequence_waiting(NOON - timedelta(days=1))  # the clock of another worker
    rows = list(Notification.objects.order_by("offset").values_list("published_at", flat=True))
    assert len(set(rows)) == 6
    assert rows == sorted(rows)  # type: ignore[type-var]


def test_a_withdrawn_notification_is_never_published() -> None:
    left = write("broadcast")
    assert withdraw(Notification.objects.filter(pk=left.pk)) == 1
    with hints() as sent:
        assert sequence_waiting() == 0
    assert sent == []
    assert withdraw(Notification.objects.filter(pk=left.pk)) == 0


def test_more_than_a_batch_is_published_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencing, "BATCH", 4)
    monkeypatch.setattr(sequencing, "MOST", 5)
    for _ in range(11):
        write("broadcast")
    assert sequence_waiting() == 11
    assert offsets("broadcast") == list(range(1, 12))
    for number in range(9):
        write(f"topic:{number}")
        write(f"topic:{number}")
    assert sequence(ensure(f"topic:{n}" for n in range(9))[f"topic:{n}"].pk for n in range(9)) == 18


def test_content_that_no_client_could_read_holds_up_nobody(
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


def test_what_was_written_just_now_is_announced_without_reading_it_again() -> None:
    user = make_user()
    options: dict[str, Any] = {
        "body": "Über",
        "url": "/orders/7/",
        "data": {"at": NOON, "nested": {"a": [1, None]}},
        "actor": user,
        "expires_at": timezone.now() + timedelta(days=1),
    }
    with hints() as sent:
        notify(user, "first")
        statements = queries(lambda: notify(user, "Shipped", **options))
    # Ids of streams, the row; locked streams, what is due, its offset, the stream's top.
    assert len([each for each in statements if "BEGIN" not in each and "COMMIT" not in each]) == 6
    row = Notification.objects.select_related("actor").get(title="Shipped")
    assert sent[-1][1]["data"] == encoding.encode_content(row)
    assert sent[-1][1]["offset"] == row.offset == 2


def test_very_many_streams_get_one_hint_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing_hints, "MANY", 3)
    users = make_old_users(4)
    with hints() as sent:
        notify(users[:3], "each")
        assert [message["type"] for _, message in sent] == ["notifications.publication"] * 3
        sent.clear()
        notify(users, "all")
    assert sent == [("broadcast", {"type": "notifications.check", "stream": "broadcast"})]
    assert offsets(f"user:{users[3].pk}") == [1]


def test_others_that_wait_in_the_same_stream_go_along() -> None:
    left = write("broadcast", title="left")
    with hints() as sent:
        broadcast("now")
    assert [message["offset"] for _, message in sent] == [1, 2]
    assert sent[0][1]["data"] == encoding.encode_content(Notification.objects.get(pk=left.pk))


def test_a_stream_knows_when_its_newest_one_was_published() -> None:
    broadcast("one")
    broadcast("two")
    newest = Notification.objects.get(title="two")
    assert Stream.objects.get(name="broadcast").published_at == newest.published_at


def test_published_is_announced_and_a_receiver_that_fails_disturbs_nobody() -> None:
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


def test_publishing_to_many_streams_takes_few_statements() -> None:
    streams = ensure(f"topic:{n}" for n in range(100))
    for stream in streams.values():
        Notification.objects.create(stream=stream, title="x")
    assert len(queries(lambda: sequence(s.pk for s in streams.values()))) <= 8


def test_a_full_batch_of_a_bulk_call_is_not_looked_at_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequencing, "BATCH", 100)
    streams = ensure(f"topic:{n}" for n in range(100))
    for stream in streams.values():
        Notification.objects.create(stream=stream, title="x")
    with hints():
        statements = queries(lambda: sequence(s.pk for s in streams.values()))
    assert len([each for each in statements if each.lstrip().startswith("UPDATE")]) == 2
    assert len([each for each in statements if 'offset" IS NULL' in each]) == 1


def test_nothing_to_do_is_two_queries_on_small_indexes() -> None:
    fill("broadcast", 2000)
    assert len(queries(sequence_waiting)) == 2
    plan = plans(sequence_waiting)
    assert "notification_unplaced" in plan
    assert not reads_whole_table(plan)
    # PostgreSQL may choose either of the two indexes of waiting rows; both are empty here.
    assert "notification_waiting" in plan or "notification_stream_waiting" in plan


# What is broken or locked holds up nobody else


@pytest.fixture(autouse=True)
def nothing_is_set_aside() -> Iterator[None]:
    sequencing.setbacks.forget()
    yield
    sequencing.setbacks.forget()


def break_top(name: str) -> Stream:
    """As after a restore: there are offsets above the top."""
    stream = fill(name, 3)
    stream.top = 1
    stream.save()
    return stream


def break_for_good(name: str) -> Stream:
    """No offset fits behind this one."""
    stream = ensure([name])[name]
    Stream.objects.filter(pk=stream.pk).update(top=2**63 - 1)
    return stream


def test_a_top_below_its_offsets_is_raised_with_a_new_epoch(
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


def test_a_caller_repairs_it_too() -> None:
    broken = break_top("broadcast")
    notification = broadcast("hello")
    assert notification.offset == 4
    assert Stream.objects.get(pk=broken.pk).epoch != broken.epoch


def test_a_broken_stream_holds_up_nobody_and_is_told_once(
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
    assert caplog.text.count("set aside") == 1
    Stream.objects.filter(pk=broken.pk).update(top=0)
    now[0] += 60
    assert sequence_waiting() == 1
    assert metric("notifications_streams_set_aside") == 0
    assert offsets("topic:broken") == [1]


def test_a_broken_stream_fails_no_caller_and_none_of_a_bulk_call() -> None:
    users = [make_user(f"u{number}") for number in range(9)]
    break_for_good(f"user:{users[4].pk}")
    with hints() as sent:
        notify(users, "hello")
    assert len(sent) == 8
    assert Notification.objects.published().count() == 8
    assert Notification.objects.waiting().count() == 1


def test_a_broken_stream_that_fills_a_page_starves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencing, "BATCH", 4)
    break_for_good("topic:broken")
    for _ in range(9):
        write("topic:broken", publish_at=NOON)
    write("topic:good")
    assert sequence_waiting() == 1
    assert offsets("topic:good") == [1]


def test_what_is_set_aside_costs_nothing_until_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a try by each tick and caller, nor a walk over all that waits there."""
    monkeypatch.setattr(sequencing, "setbacks", Setbacks(clock=lambda: 0.0))
    monkeypatch.setattr(sequencing, "BATCH", 4)
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
    assert broken.pk in sequencing.setbacks.resting()


def test_a_stream_that_cannot_be_made_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    make = stream_rows.make

    def fail(names: Any) -> None:
        if "topic:bad" in names:
            raise DataError("no such stream")
        make(names)

    monkeypatch.setattr(stream_rows, "make", fail)
    for name in ("topic:a", "topic:bad", "topic:c"):
        Notification.objects.create(channel=name, title="hello")
    assert sequence_waiting() == 2
    assert offsets("topic:a") == offsets("topic:c") == [1]
    assert "topic:bad" in sequencing.setbacks.resting()


def test_a_database_that_is_away_is_one_failure_and_blames_no_stream(
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
    assert sequencing.setbacks.resting() == set()


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)
