"""What bulk calls cost PostgreSQL; run by test_postgres.py."""

import pytest
from django.db import connection, transaction

from notifications.publishing.numbering import give_offsets
from notifications.streams.names import user_stream
from notifications.streams.rows import ensure
from tests.rooms import write

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
