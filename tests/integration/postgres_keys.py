"""The cost of a ``key`` per recipient is bounded on PostgreSQL; run by test_postgres.py."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from notifications import broadcast, notify
from notifications.models import Notification
from notifications.publishing.drafts import make_draft
from notifications.publishing.placing import place
from notifications.publishing.writing import find_known, write_unplaced
from notifications.streams.names import user_stream
from notifications.streams.rows import ensure, ids
from tests.rooms import hints, make_old_users

pytestmark = pytest.mark.django_db(transaction=True)

#: Number of streams in a call, and of rows that may be read for each stream on average.
MANY = 1500
FEW = 100


def rows_read(work: Callable[[], object]) -> int:
    """Run ``work`` in a transaction and return the number of notifications that it reads."""
    with transaction.atomic():
        work()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT COALESCE(idx_tup_fetch, 0) + seq_tup_read FROM pg_stat_xact_user_tables "
                "WHERE relname = %s",
                [Notification._meta.db_table],
            )
            return int(cursor.fetchone()[0])


def analyze_without_keys() -> None:
    """Analyze a table without keys, so that the planner expects that no row has one."""
    for number in range(10):
        broadcast(f"without a key {number}")
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {Notification._meta.db_table}")


def test_a_bulk_call_with_a_key_reads_few_rows_per_recipient() -> None:
    users = make_old_users(MANY)
    with hints():
        analyze_without_keys()
        assert rows_read(lambda: notify(users, "hello", key="k")) < FEW * MANY
        assert rows_read(lambda: notify(users, "again", key="k")) < FEW * MANY
    assert Notification.objects.filter(key="k").count() == MANY


def test_placing_many_notifications_with_a_key_reads_few_rows_per_stream() -> None:
    names = [user_stream(number) for number in range(MANY)]
    ensure(names)
    analyze_without_keys()
    draft = make_draft("hello", key="k")
    write_unplaced(draft, names, at_once=True)
    assert rows_read(lambda: place(names, None, MANY)) < FEW * MANY
    write_unplaced(make_draft("other", key="other"), names, at_once=True)
    assert rows_read(lambda: find_known(names, "k")) < FEW * MANY
    assert rows_read(lambda: place(names, None, MANY)) < FEW * MANY
    assert len(ids(names)) == MANY
