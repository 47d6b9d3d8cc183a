"""What deploy/postgresql/partition-notifications.sql makes; run by test_postgres.py."""

import pytest
from django.db import connection

from tests.rooms import rolled_back
from tests.sites import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPT = ROOT / "deploy" / "postgresql" / "partition-notifications.sql"


def indexes() -> dict[str, str]:
    """What the indexes of the table of notifications are of, by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, split_part(indexdef, ' USING ', 2) FROM pg_indexes "
            "WHERE tablename = 'notifications_notification'"
        )
        return dict(cursor.fetchall())


def test_the_partitioned_table_has_the_indexes_of_the_whole_one() -> None:
    whole = indexes()
    del whole["notifications_notification_pkey"]
    with rolled_back():
        with connection.cursor() as cursor:
            cursor.execute(SCRIPT.read_text())
        partitioned = indexes()
    # What takes the place of the primary key.
    assert partitioned.pop("notification_id") == "btree (id, stream_id)"
    assert partitioned.pop("notifications_notification_id") == "btree (id)"
    assert partitioned == whole
