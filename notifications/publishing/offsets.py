"""The statements that give waiting notifications their offsets, on PostgreSQL and on SQLite.

The rows stay in the database, because reading them and writing them back costs far more. The k-th
due notification of a stream gets the k-th offset after its top. The first one is published at the
moment, or one microsecond after the previous entry if that is later; each other one is published a
microsecond after the one before it.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..database.clock import SQL_NOW
from ..database.transactions import among
from ..models import Notification, Stream
from ..streams.instants import instant, sqlite_instant, sqlite_moment

NOTIFICATIONS = Notification._meta.db_table
STREAMS = Stream._meta.db_table

#: The highest offset that its column can hold.
MAX_OFFSET = 2**63 - 1

#: Streams up to which PostgreSQL plans well by itself.
FEW = 100

#: Makes PostgreSQL look up each row for the rest of the transaction, and compile no statement for
#: it, which would take longer than the look-ups.
ROW_BY_ROW = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; "
    "SET LOCAL enable_mergejoin = off; SET LOCAL jit = off"
)

#: The order of publication in a stream.
IN_ORDER = "PARTITION BY stream_id ORDER BY publish_at, id"

#: The stream of an unplaced notification. Not a join, because PostgreSQL might begin that with all
#: unplaced notifications. For the same reason their conditions do not say that they have no offset.
STREAM = f"(SELECT stream.id FROM {STREAMS} stream WHERE stream.name = channel)"  # noqa: S608

#: What places a notification.
PLACE = ", stream_id = numbered.stream_id, channel = NULL"


class Given(NamedTuple):
    """An offset that a notification has got."""

    id: int
    stream_id: int
    offset: int


class Offsets(NamedTuple):
    """The moment that decided what was due, and the offsets, in any order."""

    moment: datetime | None
    given: list[Given]


def look_up_rows(using: str, streams: int) -> None:
    """Have the rest of the transaction look up each row of so many streams in an index.

    PostgreSQL knows too little of a table that has just grown, and might read all of it for each
    batch. It has no effect on SQLite.
    """
    if streams > FEW and connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(ROW_BY_ROW)


def number_due(
    using: str,
    stream_ids: Collection[int],
    moment: datetime | None,
    limit: int,
    *,
    placing: Collection[str] = (),
) -> Offsets:
    """Number the due notifications of locked streams, and store the tops.

    Rows that others have locked, to withdraw or edit them, are left to the next call.

    Args:
        using: alias of the database.
        stream_ids: primary keys of the streams.
        moment: decides what is due; None for the present by the database's clock, if it has one.
        limit: notifications at most.
        placing: names of those of the streams whose due unplaced notifications are placed and
            numbered, too. So these rows are written once less. A key excludes them, because they
            may be duplicates.

    Returns:
        The offsets; without any, the moment may be None.
    """
    if not stream_ids:
        return Offsets(moment, [])
    connection = connections[using]
    number = _on_postgresql if connection.vendor == "postgresql" else _on_sqlite
    return number(connection, stream_ids, moment, limit, placing)


def _on_postgresql(
    connection: BaseDatabaseWrapper,
    stream_ids: Collection[int],
    moment: datetime | None,
    limit: int,
    placing: Collection[str],
) -> Offsets:
    """One statement, so that what is due is read and locked once."""
    clock = SQL_NOW if moment is None else "%s::timestamptz"
    asked = [] if moment is None else [moment]
    # The CASE keeps PostgreSQL from reading the index on all waiting rows of the table, which it
    # takes for small: it finds those of each stream in the index on streams and offsets.
    is_due = f"publish_at <= CASE WHEN withdrawn_at IS NULL THEN {clock} END"
    first = f"ORDER BY publish_at, id LIMIT {limit}"
    lock = connection.ops.for_update_sql(no_key=True, skip_locked=True, of=("due",))
    condition, keys = among(connection, "stream_id", stream_ids)
    due = f"""
        SELECT id, stream_id, publish_at FROM {NOTIFICATIONS} due
        WHERE {condition} AND "offset" IS NULL AND {is_due} {first} {lock}
    """  # noqa: S608 - names of the models and numbers, no value
    parameters: list[Any] = [keys, *asked]
    if placing:
        condition, names = among(connection, "channel", placing)
        unplaced = f"""
            SELECT id, {STREAM} AS stream_id, publish_at FROM {NOTIFICATIONS} due
            WHERE {condition} AND key IS NULL AND {is_due} {first} {lock}
        """  # noqa: S608
        due = f"SELECT * FROM ({due}) AS a UNION ALL SELECT * FROM ({unplaced}) AS b {first}"  # noqa: S608
        parameters += [names, *asked]
    statement = f"""
        WITH due AS ({due}), ranked AS (
            SELECT id, stream_id, row_number() OVER ({IN_ORDER}) AS number FROM due
        ), numbered AS (
            SELECT ranked.id, stream_id, top + number AS "offset",
            GREATEST({clock}, published_at + INTERVAL '1 microsecond')
            + (number - 1) * INTERVAL '1 microsecond' AS published_at
            FROM ranked JOIN {STREAMS} stream ON stream.id = stream_id
        ), stored AS (
            UPDATE {NOTIFICATIONS} AS stored
            SET "offset" = numbered."offset", published_at = numbered.published_at
            {PLACE if placing else ""}
            FROM numbered WHERE stored.id = numbered.id
        ), ends AS (
            SELECT stream_id, max("offset") AS top, max(published_at) AS published_at
            FROM numbered GROUP BY stream_id
        ), moved AS (
            UPDATE {STREAMS} AS moved SET top = ends.top, published_at = ends.published_at
            FROM ends WHERE moved.id = ends.stream_id
        )
        SELECT id, stream_id, "offset", CASE row_number() OVER () WHEN 1 THEN {clock} END
        FROM numbered
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [*parameters, *asked, *asked])
        rows = cursor.fetchall()
    # Only the first row has the moment, because psycopg takes 5 µs to read a time.
    return Offsets(rows[0][3] if rows else moment, [Given(*row[:3]) for row in rows])


def _on_sqlite(
    connection: BaseDatabaseWrapper,
    stream_ids: Collection[int],
    moment: datetime | None,
    limit: int,
    placing: Collection[str],
) -> Offsets:
    """Two statements that find the same rows, because the transaction has locked the database."""
    if moment is None:
        raise ValueError("SQLite has no clock")
    now = str(connection.ops.adapt_datetimefield_value(moment))
    condition, keys = among(connection, "stream_id", stream_ids)
    # Without the "+", SQLite might read all waiting rows of the database in this order.
    is_due = "withdrawn_at IS NULL AND +publish_at <= %s"
    due = f"""
        SELECT id, stream_id, +publish_at AS publish_at FROM {NOTIFICATIONS}
        WHERE {condition} AND "offset" IS NULL AND {is_due}
    """  # noqa: S608 - names of the models and numbers, no value
    parameters = [keys, now]
    if placing:
        condition, names = among(connection, "channel", placing)
        due += f"""
            UNION ALL SELECT id, {STREAM}, +publish_at FROM {NOTIFICATIONS}
            WHERE {condition} AND key IS NULL AND {is_due}
        """  # noqa: S608
        parameters += [names, now]
    due += f" ORDER BY publish_at, id LIMIT {limit}"
    # An offset that is too high would become a float; NULL is refused, for this stream alone.
    move = f"""
        UPDATE {STREAMS} SET
        top = CASE WHEN top <= {MAX_OFFSET} - ends.number THEN top + ends.number END,
        published_at = {sqlite_moment("ends.instant")}
        FROM (
            SELECT stream.id, number,
            max(%s, {sqlite_instant("published_at")} + 1) + number - 1 AS instant
            FROM (SELECT stream_id, count(*) AS number FROM ({due}) GROUP BY stream_id)
            JOIN {STREAMS} stream ON stream.id = stream_id
        ) AS ends WHERE {STREAMS}.id = ends.id
    """  # noqa: S608
    store = f"""
        UPDATE {NOTIFICATIONS} SET "offset" = numbered."offset",
        published_at = {sqlite_moment("numbered.instant")} {PLACE if placing else ""}
        FROM (
            SELECT ranked.id, stream_id, top - later AS "offset",
            {sqlite_instant("published_at")} - later AS instant
            FROM (
                SELECT id, stream_id,
                count(*) OVER (PARTITION BY stream_id) - row_number() OVER ({IN_ORDER}) AS later
                FROM ({due})
            ) AS ranked JOIN {STREAMS} stream ON stream.id = stream_id
        ) AS numbered
        WHERE {NOTIFICATIONS}.id = numbered.id
        RETURNING id, stream_id, "offset"
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(move, [instant(datetime.fromisoformat(now)), *parameters])
        if not cursor.rowcount:
            return Offsets(moment, [])
        cursor.execute(store, parameters)
        return Offsets(moment, [Given(*row) for row in cursor.fetchall()])
