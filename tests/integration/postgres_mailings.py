"""Large calls that are written in parts; run by test_postgres.py."""

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from notifications import notify
from notifications.models import Mailing, Notification, Stream
from notifications.publishing import immediate, inserting, mailings
from notifications.publishing.drafts import make_draft
from notifications.publishing.sequencing import sequence_waiting
from notifications.publishing.waiting import publish_waiting
from notifications.publishing.wanted import wanted_names
from notifications.streams.names import user_stream
from notifications.streams.rows import ensure, locked
from tests.integration.postgres_keys import rows_read
from tests.integration.postgres_only import open_transaction
from tests.rooms import fill, hints, in_threads, make_old_users, make_user, offsets

pytestmark = pytest.mark.django_db(transaction=True)

#: Streams in a part, and recipients of a call.
SIZE, MANY = 4, 10


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immediate, "MAX_LOCKED", SIZE)
    monkeypatch.setattr(mailings, "CHUNK", SIZE)
    monkeypatch.setattr("notifications.publishing.notify.CHUNK", SIZE)


def everybody() -> Any:
    return get_user_model().objects.order_by("-pk")


def streams_of(ids: Sequence[int]) -> list[str]:
    rows = Notification.objects.select_related("stream").in_bulk(list(ids))
    return [rows[pk].stream_name for pk in ids]


def die(*args: Any, **kwargs: Any) -> None:
    raise SystemExit


def left_behind(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process leaves that dies after the commit of a large call."""
    with monkeypatch.context() as patch:
        patch.setattr(mailings, "write", die)
        with pytest.raises(SystemExit):
            call()
    assert Mailing.objects.exists()


def forget_owners() -> None:
    """The processes that made the mailings have had their time."""
    Mailing.objects.update(own_until=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("in_database", [False, True], ids=["list", "queryset"])
def test_a_large_call_is_written_in_parts_with_offsets(
    in_database: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = make_old_users(MANY)[::-1]
    # Some streams exist, some are created.
    ensure(user_stream(user.pk) for user in people[::2])
    monkeypatch.setattr("notifications.publishing.committed.sequence", die)  # nothing is left
    reported: list[int] = []
    with hints() as sent:
        to = everybody() if in_database else people
        ids = notify(to, "hello", progress=reported.append)
    names = [user_stream(user.pk) for user in people]
    assert streams_of(ids) == names
    assert [offsets(name) for name in names] == [[1]] * MANY
    assert reported == [4, 8, 10]
    assert sorted(stream for stream, _ in sent) == sorted(names)
    assert not Mailing.objects.exists()
    assert set(Stream.objects.filter(name__in=names).values_list("top")) == {(1,)}


def test_a_row_that_is_written_in_a_part_is_as_any_other() -> None:
    people = make_old_users(MANY)
    options: dict[str, Any] = {
        "body": "Zwölf\nZeilen",
        "url": "/orders/7/",
        "kind": "order.shipped",
        "level": "warning",
        "data": {"b": 1, "a": ["ü", None, 1.5]},
        "actor": make_user("actor"),
        "expires_at": timezone.now() + timedelta(days=1, microseconds=7),
    }
    with hints():
        (one,) = notify(people[0], "hello", **options)
        first, *_ = notify(people, "hello", **options)
    own = {"id", "offset", "created_at", "publish_at", "published_at"}
    rows = Notification.objects.filter(pk__in=[one, first]).values()
    expected, found = ({k: v for k, v in row.items() if k not in own} for row in rows)
    assert found == expected
    assert offsets(user_stream(people[0].pk)) == [1, 2]


def test_p1_what_a_dead_process_has_left_is_written_by_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people = make_old_users(MANY)
    left_behind(lambda: notify(everybody(), "hello"), monkeypatch)
    assert not Notification.objects.exists()
    reserved = [pk for mailing in Mailing.objects.order_by("pk") for pk in mailing.ids]
    publish_waiting()
    assert not Notification.objects.exists(), "it is left to its process for some seconds"
    forget_owners()
    with hints() as sent:
        publish_waiting()
        publish_waiting()
    assert streams_of(reserved) == [user_stream(user.pk) for user in everybody()]
    assert Notification.objects.filter(offset=1).count() == MANY
    assert len(sent) == MANY
    assert len(people) == MANY


def test_p2_a_call_that_fails_before_its_commit_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_old_users(MANY)
    monkeypatch.setattr(inserting, "_report_after_commit", die)
    with hints() as sent, pytest.raises(SystemExit):
        notify(everybody(), "hello")
    assert sent == []
    assert not Mailing.objects.exists()
    assert not Notification.objects.exists()


def test_a_name_that_raises_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    people = make_old_users(MANY)
    monkeypatch.setattr(get_user_model(), "get_full_name", lambda self: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        notify(people, "hello", actor=people[0])
    assert not Mailing.objects.exists()


def test_a_part_that_fails_is_kept_and_the_caller_is_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_old_users(MANY)

    def fail(*args: Any) -> None:
        raise OperationalError("password=secret")

    with monkeypatch.context() as patch, hints():
        patch.setattr(immediate, "write_to_new", fail)
        notify(everybody(), "hello")
    assert Mailing.objects.count() == 3
    assert not Notification.objects.exists()
    assert "a worker will publish" in caplog.text
    assert "secret" not in caplog.text
    forget_owners()
    with hints():
        publish_waiting()
    assert Notification.objects.filter(offset=1).count() == MANY


def test_p3_a_mailing_is_written_once_by_whoever_meets_at_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_old_users(MANY)
    left_behind(lambda: notify(everybody(), "hello"), monkeypatch)
    forget_owners()
    parts = list(Mailing.objects.order_by("pk").values_list("pk", flat=True))

    def write(number: int) -> None:
        if number % 2:
            mailings.write_left()
        else:
            for part in parts:
                mailings.write(part)

    with hints():
        in_threads(4, write)
    assert Notification.objects.filter(offset=1).count() == MANY
    assert Notification.objects.count() == MANY


def test_large_calls_at_the_same_time_return_their_own_notifications() -> None:
    """Their primary keys are mixed, because all of them take them from one sequence."""
    people = make_old_users(50)
    start = threading.Barrier(3)

    def call(number: int) -> Any:
        start.wait(60)
        return [notify(everybody(), f"call {number} {turn}") for turn in range(3)]

    with hints():
        answers = in_threads(3, call)
        sequence_waiting()
    names = [user_stream(user.pk) for user in everybody()]
    for number, calls in enumerate(answers):
        for turn, ids in enumerate(calls):
            assert streams_of(ids) == names
            rows = Notification.objects.filter(title=f"call {number} {turn}")
            assert set(rows.values_list("pk", flat=True)) == set(ids)
    given = Notification.objects.order_by("stream_id", "offset").values_list("offset", flat=True)
    assert list(given) == list(range(1, 10)) * len(people)


def test_a_locked_stream_delays_no_other_of_its_part() -> None:
    people = make_old_users(MANY)
    names = [user_stream(user.pk) for user in people]
    ensure(names)
    lock = open_transaction(lambda: list(locked(Stream.objects.filter(name=names[1]))))
    with hints(), lock:
        ids = notify(people, "hello")
        assert Notification.objects.waiting().get().pk == ids[1]
    with hints():
        assert sequence_waiting() == 1
    assert [offsets(name) for name in names] == [[1]] * MANY
    assert streams_of(ids) == names


def test_a_broken_stream_fails_no_other_of_its_part() -> None:
    people = make_old_users(MANY)
    names = [user_stream(user.pk) for user in people]
    broken = fill(names[1], 3)
    Stream.objects.filter(pk=broken.pk).update(top=1)
    with hints():
        ids = notify(people, "hello")
    assert offsets(names[1]) == [1, 2, 3, 4]
    assert [offsets(name) for name in names[2:]] == [[1]] * (MANY - 2)
    assert streams_of(ids) == names


def test_what_waits_in_a_stream_comes_before_a_part() -> None:
    people = make_old_users(MANY)
    first = user_stream(people[0].pk)
    Notification.objects.create(channel=first, title="left")
    with hints():
        notify(people, "hello")
    rows = Notification.objects.filter(stream__name=first).order_by("offset")
    assert [row.title for row in rows] == ["left", "hello"]


def test_an_actor_who_is_deleted_meanwhile_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_old_users(MANY)
    actor = make_user("actor")
    people = everybody().exclude(pk=actor.pk)
    left_behind(lambda: notify(people, "hello", actor=actor), monkeypatch)
    actor.delete()
    forget_owners()
    with hints():
        publish_waiting()
    assert Notification.objects.filter(offset=1, actor=None).count() == MANY


@pytest.mark.parametrize(
    ("values", "error"), [({"level": "x" * 100}, DataError), ({"created_at": "x"}, ValidationError)]
)
def test_a_mailing_that_nobody_can_write_holds_up_no_other(
    values: dict[str, Any], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old_users(MANY)
    left_behind(lambda: notify(everybody(), "hello"), monkeypatch)
    left_behind(lambda: notify(everybody(), "other"), monkeypatch)
    bad = Mailing.objects.earliest("pk")
    bad.notification |= values
    bad.save()
    forget_owners()
    with hints(), pytest.raises(error):
        publish_waiting()
    assert Mailing.objects.get() == bad
    assert Notification.objects.filter(offset__isnull=False).count() == 2 * MANY - SIZE


def test_primary_keys_that_a_copy_of_the_database_gave_away_are_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_old_users(MANY)
    left_behind(lambda: notify(everybody(), "hello"), monkeypatch)
    taken = Mailing.objects.earliest("pk").ids[0]
    Notification.objects.create(pk=taken, channel="broadcast", title="other")
    forget_owners()
    with hints():
        publish_waiting()
        publish_waiting()
    assert Notification.objects.get(pk=taken).title == "other"
    assert Notification.objects.filter(title="hello", offset=1).count() == MANY
    assert not Mailing.objects.exists()


def test_a_part_reads_few_rows_of_other_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    many = 600
    monkeypatch.setattr(mailings, "CHUNK", many)
    names = [user_stream(number) for number in range(3 * many)]
    ensure(names[: 2 * many])
    (first, second, third) = mailings.plan(make_draft("hello"), wanted_names(names))
    with hints():
        for part in (first, second, third):
            assert rows_read(lambda part=part: mailings.write(part.mailing)) < 5 * many  # type: ignore[misc]
    assert Notification.objects.filter(offset=1).count() == 3 * many
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM notifications_mailing")
        assert cursor.fetchone() == (0,)
