"""Writing notifications together with their offsets on SQLite, which is locked as a whole.

See :mod:`notifications.publishing.immediate`.
"""

from typing import NamedTuple

from django.db import connections
from django.utils import timezone

from ..models import Notification, database_alias
from ..streams import rows as stream_rows
from ..streams.instants import instant, sqlite_instant, sqlite_moment
from ..streams.numbered import Numbered
from .hints import hints_each
from .ids import Ids
from .immediate import NONE_WAITING, NOTIFICATIONS, STREAMS
from .numbering import Batch
from .offsets import MAX_OFFSET
from .wanted import Wanted
from .writing import columns_of

#: The rows in a range of primary keys that have their offsets.
WITH_OFFSET = f"""
    FROM {NOTIFICATIONS} row WHERE row.id BETWEEN %s AND %s AND row."offset" IS NOT NULL
"""


class AllWritten(NamedTuple):
    """The rows of a call, some of which may have no offset.

    Args:
        ids: primary keys, in the order of the call.
        batch: those among them that have their offsets.
    """

    ids: Ids
    batch: Batch


def write_to_all(draft: Notification, wanted: Wanted, count: int) -> AllWritten:
    """On SQLite, insert a draft into these streams, with offsets wherever possible.

    The transaction has locked the database, and has to end right after this. So it can also create
    the streams that are missing.

    Args:
        draft: one for which :func:`can_write`.
        wanted: the streams.
        count: how many they are at least, which decides whether they are described.

    Raises:
        IntegrityError: the top of a stream is below an offset in use.
    """
    connection = connections[database_alias()]
    with connection.cursor() as cursor:
        cursor.execute(_create_missing(wanted), wanted.parameters)
        # Read when others are locked out.
        now = timezone.now()
        clock = connection.ops.adapt_datetimefield_value(now)
        columns, places, values = columns_of(draft, at_once=True)
        parameters = [*wanted.parameters, clock, clock, *values, clock]
        cursor.execute(_insert_all(wanted, columns, places), parameters)
        # Nobody else writes, so the primary keys follow each other.
        first, last = cursor.lastrowid - cursor.rowcount + 1, cursor.lastrowid
        numbered = None
        if hints_each(count, same=True):
            cursor.execute(DESCRIBE, [clock, instant(now), first, last])
            numbered = [Numbered(*row) for row in cursor.fetchall()]
        cursor.execute(MOVE, [first, last])
        ids = given = Ids([range(first, last + 1)])
        if cursor.rowcount < len(ids):
            cursor.execute(f"SELECT id {WITH_OFFSET} ORDER BY id", [first, last])
            given = Ids(range(pk, pk + 1) for (pk,) in cursor.fetchall())
    return AllWritten(ids, Batch(given, numbered, frozenset(), is_full=False, moment=instant(now)))


def _create_missing(wanted: Wanted) -> str:
    """Create streams, except those whose unplaced notifications come first."""
    names = f"""(
        SELECT name AS value FROM wanted
        WHERE NOT EXISTS (SELECT 1 FROM {STREAMS} stream WHERE stream.name = wanted.name)
        AND NOT EXISTS (SELECT 1 FROM {NOTIFICATIONS} WHERE channel = wanted.name)
    )"""  # noqa: S608 - names of the models, no value
    create = stream_rows.INSERT.format(epoch=stream_rows.NEW_EPOCH["sqlite"], wanted=names)
    return f"WITH {wanted.sql} {create}"


def _insert_all(wanted: Wanted, columns: str, places: str) -> str:
    later = sqlite_moment(f"({sqlite_instant('stream.published_at')} + 1)")
    return f"""
        INSERT INTO {NOTIFICATIONS} (stream_id, channel, "offset", published_at, {columns})
        WITH {wanted.sql}
        SELECT found.id, CASE WHEN found.id IS NULL THEN wanted.name END, stream.top + 1,
        CASE WHEN stream.published_at >= %s THEN {later} WHEN stream.id IS NOT NULL THEN %s END,
        {places} FROM wanted LEFT JOIN {STREAMS} found ON found.name = wanted.name
        LEFT JOIN {STREAMS} stream ON stream.id = found.id AND stream.top < {MAX_OFFSET}
        AND {NONE_WAITING.format(now="%s")} ORDER BY number
    """  # noqa: S608 - names of the models, no value


# The "+" keeps SQLite from beginning with all streams.
DESCRIBE = f"""
    SELECT name, epoch, top + 1, written.id,
    CASE written.at WHEN %s THEN %s ELSE {sqlite_instant("written.at")} END,
    {sqlite_instant("stream.published_at")}
    FROM (SELECT id, stream_id, published_at AS at {WITH_OFFSET}) AS written
    JOIN {STREAMS} stream ON stream.id = +written.stream_id
"""  # noqa: S608 - names of the models, no value

MOVE = f"""
    UPDATE {STREAMS} SET top = written."offset", published_at = written.at
    FROM (SELECT stream_id, "offset", published_at AS at {WITH_OFFSET}) AS written
    WHERE {STREAMS}.id = +written.stream_id
"""  # noqa: S608 - names of the models, no value
