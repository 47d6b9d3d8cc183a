"""Bulk calls on PostgreSQL: their cost, and others at the same time; run by test_postgres.py."""

import threading
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from notifications import notify
from notifications.models import Notification, Stream
from notifications.publishing.drafts import make_draft
from notifications.publishing.immediate import write_to_free
from notifications.publishing.numbering import give_offsets
from notifications.publishing.writing import CHUNK, write_unplaced
from notifications.streams.names import user_stream
from notifications.streams.rows import ensure
from tests.integration.postgres_keys import rows_read
from tests.integration.postgres_only import open_transaction
from tests.rooms import hints, in_threads, make_old_users, write

pytestmark = pytest.mark.django_db(transaction=True)

#: Streams that fill several pages of their table.
MANY = 600


def test_an_offset_updates_the_row_of_its_stream_in_place() -> None:
    """An update in place adds nothing to the three indexes of the streams."""
    names = [user_stream(number) for number in range(MANY)]
    streams = ensure(names)
    for name in names:
        write(name)
    with transaction.atomic():
        batch = give_offsets([stream.pk for stream in streams.values()], None, MANY)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables "
                "WHERE relname = 'notifications_stream'"
            )
            updated, in_place = cursor.fetchone()
    assert len(batch.ids) == updated == MANY
    assert in_place == MANY


def test_a_batch_of_new_streams_reads_few_of_the_rows_that_wait_unplaced() -> None:
    """The rest of a large call waits there, too: reading it for each batch would take too long."""
    names = [user_stream(number) for number in range(3 * MANY)]
    write_unplaced(make_draft("hello"), names, at_once=True)
    streams = ensure(names[:MANY])
    batch: list[int] = []

    def number() -> None:
        ids = [stream.pk for stream in streams.values()]
        batch.extend(give_offsets(ids, None, MANY, placing=True, described=False).ids)

    assert rows_read(number) < 5 * MANY
    assert len(batch) == MANY
    assert Notification.objects.filter(channel__in=names).count() == 2 * MANY


def test_a_large_call_reads_few_of_the_rows_that_wait_for_other_streams() -> None:
    names = [user_stream(number) for number in range(3 * MANY)]
    ensure(names)
    for name in names[MANY:]:
        write(name)
    draft = make_draft("hello")
    batch: list[int] = []

    def write_some() -> None:
        batch.extend(write_to_free(draft, names[:MANY]).ids)

    assert rows_read(write_some) < 2 * MANY
    assert len(batch) == MANY


def test_large_calls_at_the_same_time_return_their_own_notifications() -> None:
    """Their primary keys are mixed, because all of them take them from one sequence."""
    people = make_old_users(CHUNK + 20)
    ensure(user_stream(user.pk) for user in people[::2])
    everybody = get_user_model().objects.order_by("-pk")
    all_have_begun = threading.Barrier(3)

    def call(number: int) -> Any:
        with transaction.atomic():
            all_have_begun.wait(60)
            ids = notify(everybody, f"call {number}")
            # Nobody commits before all have written, so nobody can have waited for another.
            all_have_begun.wait(60)
        return ids

    with hints():
        answers = in_threads(3, call)
    for number, ids in enumerate(answers):
        rows = Notification.objects.filter(title=f"call {number}").select_related("stream")
        found = {row.pk: row for row in rows}
        assert [found[pk].stream_name for pk in ids] == [
            user_stream(user.pk) for user in reversed(people)
        ]
        assert len(found) == len(people)
    assert set(Stream.objects.filter(name__startswith="user:").values_list("top")) == {(3,)}
    offsets = Notification.objects.order_by("stream_id", "offset").values_list("offset", flat=True)
    assert list(offsets) == [1, 2, 3] * len(people)


def test_a_large_call_does_not_wait_for_a_stream_that_is_being_deleted() -> None:
    people = make_old_users(CHUNK + 1)
    streams = ensure(user_stream(user.pk) for user in people)
    gone = streams[user_stream(people[7].pk)]
    with hints(), open_transaction(gone.delete), transaction.atomic():
        ids = notify(get_user_model().objects.order_by("pk"), "hello")
        row = Notification.objects.get(pk=ids[7])
        assert (row.stream_id, row.channel) == (None, gone.name)
        assert Notification.objects.filter(channel=None).count() == CHUNK
