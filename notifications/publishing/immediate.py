"""Writing notifications together with their offsets, where the caller has no open transaction.

A caller's transaction may stay open for long, so nothing in it may lock a stream: its rows wait for
their offsets until it has committed (:mod:`notifications.publishing.sequencing`). A call outside of
a transaction makes one of its own, which ends at once. That may lock the streams, as the sequencing
would in a second transaction, and so each row is written once instead of twice.

It waits for nobody. A stream that others have locked is left out, and so is one that does not
exist, has the highest offset, or has due notifications that wait, which must come first. A row for
such a stream is written without an offset, as in a caller's transaction, and is sequenced after the
commit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field
from django.utils import timezone

from ..database.clock import SQL_NOW
from ..database.locks import reads_snapshot
from ..models import Notification, Stream, database_alias
from ..streams import rows as stream_rows
from ..streams.instants import EPOCH, MICROSECOND, instant, moment, sqlite_instant, sqlite_moment
from .hints import hints_each
from .ids import Ids
from .numbering import Batch, Head, Numbered
from .offsets import MAX_OFFSET
from .writing import Wanted, columns_of

NOTIFICATIONS = Notification._meta.db_table
STREAMS = Stream._meta.db_table

#: Streams that one transaction locks at most, where others are not locked out anyway. Those who
#: sequence them meanwhile wait for it.
MAX_LOCKED = 10_000

#: Condition that no notification of a stream is due and waits. It reads the index on streams and
#: offsets, stream by stream: with NOT EXISTS, PostgreSQL might begin with all rows that wait. For
#: the CASE, see :mod:`notifications.publishing.offsets`.
NONE_WAITING = f"""COALESCE((
    SELECT FALSE FROM {NOTIFICATIONS} waiting
    WHERE waiting.stream_id = stream.id AND waiting."offset" IS NULL
    AND waiting.publish_at <= CASE WHEN waiting.withdrawn_at IS NULL THEN {{now}} END LIMIT 1
), TRUE)"""  # noqa: S608 - names of the models, no value

#: Ranges of primary keys that follow each other, of rows that all have their offsets or all wait.
RANGES = """
    SELECT min(id), max(id), has_offset FROM (
        SELECT id, has_offset,
        id - row_number() OVER (PARTITION BY has_offset ORDER BY id) AS before
        FROM (SELECT id, "offset" IS NOT NULL AS has_offset FROM {rows}) AS written
    ) AS placed GROUP BY has_offset, before ORDER BY min(id)
"""

#: :func:`~notifications.streams.instants.instant` on PostgreSQL.
INSTANT = "COALESCE((EXTRACT(EPOCH FROM {}) * 1000000)::bigint, 0)"


def can_write(draft: Notification, *, at_once: bool) -> bool:
    """Return whether a notification may be written here: now, and with what it says.

    Args:
        draft: an unsaved notification. A key is compared under the lock of its stream.
        at_once: it is to be published now.
    """
    if draft.key is not None or not at_once:
        return False
    connection = connections[database_alias()]
    # Autocommit is off in a transaction, and where the caller begins transactions by hand.
    return connection.get_autocommit() and not reads_snapshot(connection)


def write_unlocked(draft: Notification, names: Collection[str]) -> Direct:
    """On PostgreSQL, insert a draft into those of these streams that are free, with one statement.

    The transaction has to end right after this. The statement sees what others have committed
    before it began, and the newest tops.

    Args:
        draft: one for which :func:`can_write`.
        names: names of streams, :data:`MAX_LOCKED` at most.

    Returns:
        The primary keys of the rows by name of their stream, and what is announced of them.

    Raises:
        IntegrityError: the top of a stream is below an offset in use, or the actor is gone.
    """
    connection = connections[database_alias()]
    columns, places, values = columns_of(draft, at_once=True)
    wanted, parameter = among(connection, "name", names)
    actor, held_actor = _held_actor(connection, draft)
    is_described = hints_each(len(names))
    described = ""
    if is_described:
        described = f"""
            , held.id, epoch, top, {INSTANT.format("published_at")},
            {INSTANT.format("moment")}, {INSTANT.format(SQL_NOW)}
        """
    statement = f"""
        WITH held AS (
            SELECT id, name, epoch, top, published_at,
            GREATEST({SQL_NOW}, published_at + INTERVAL '1 microsecond') AS moment
            FROM {STREAMS} stream WHERE {wanted} AND top < {MAX_OFFSET}
            AND {NONE_WAITING.format(now=SQL_NOW)} {actor}
            ORDER BY id FOR NO KEY UPDATE OF stream SKIP LOCKED
        ), written AS (
            INSERT INTO {NOTIFICATIONS} (stream_id, "offset", published_at, {columns})
            SELECT id, top + 1, moment, {places} FROM held RETURNING id, stream_id
        ), moved AS (
            UPDATE {STREAMS} moved SET top = held.top + 1, published_at = moment
            FROM held WHERE moved.id = held.id
        )
        SELECT written.id, name {described} FROM written JOIN held ON held.id = stream_id
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        look_up_rows(connection.alias, len(names))
        cursor.execute(statement, [parameter, *held_actor, *values])
        rows = cursor.fetchall()
    ids = {name: pk for pk, name, *_ in rows}
    numbered = [_numbered(*row) for row in rows] if is_described else None
    return Direct(ids, _batch(list(ids.values()), numbered))


def _on_sqlite(
    connection: BaseDatabaseWrapper, draft: Notification, wanted: Wanted, count: int
) -> Immediate:
    """Few statements on the same rows, because the transaction has locked the database.

    So it can also create the streams that are missing.
    """
    columns, places, values = columns_of(draft, at_once=True)
    # Unplaced notifications come first, too.
    missing = f"""(
        SELECT name AS value FROM wanted
        WHERE NOT EXISTS (SELECT 1 FROM {NOTIFICATIONS} WHERE channel = name)
    )"""  # noqa: S608 - names of the models, no value
    create = stream_rows.INSERT.format(epoch=stream_rows.NEW_EPOCH["sqlite"], wanted=missing)
    insert = f"""
        INSERT INTO {NOTIFICATIONS} (stream_id, channel, "offset", published_at, {columns})
        WITH {wanted.sql}
        SELECT found.id, CASE WHEN found.id IS NULL THEN wanted.name END, stream.top + 1, CASE
            WHEN stream.published_at >= %s THEN {sqlite_moment(f"({sqlite_instant('stream.published_at')} + 1)")}
            WHEN stream.id IS NOT NULL THEN %s
        END, {places}
        FROM wanted LEFT JOIN {STREAMS} found ON found.name = wanted.name
        LEFT JOIN {STREAMS} stream ON stream.id = found.id AND stream.top < {MAX_OFFSET} AND {NONE_WAITING.format(now="%s")} ORDER BY number
    """  # noqa: S608 - names of the models, no value
    # The "+" keeps SQLite from beginning with all streams.
    describe = f"""
        SELECT row.id, stream.id, name, epoch, top, {sqlite_instant("stream.published_at")},
        {sqlite_instant("row.published_at")}, %s
        FROM {NOTIFICATIONS} row JOIN {STREAMS} stream ON stream.id = +row.stream_id
        WHERE row.id BETWEEN %s AND %s AND row."offset" IS NOT NULL
    """  # noqa: S608
    move = f"""
        UPDATE {STREAMS} SET top = row."offset", published_at = row.published_at
        FROM {NOTIFICATIONS} row WHERE {STREAMS}.id = +row.stream_id
        AND row.id BETWEEN %s AND %s AND row."offset" IS NOT NULL
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {wanted.sql} {create}", wanted.parameters)
        # Read when others are locked out.
        now = timezone.now()
        clock = connection.ops.adapt_datetimefield_value(now)
        cursor.execute(insert, [*wanted.parameters, clock, clock, *values, clock])
        # Nobody else writes, so the primary keys follow each other.
        first, last = cursor.lastrowid - cursor.rowcount + 1, cursor.lastrowid
        numbered: list[Numbered] | None = None
        if hints_each(count):
            cursor.execute(describe, [instant(now), first, last])
            numbered = [_numbered(*row) for row in cursor.fetchall()]
        cursor.execute(move, [first, last])
        if cursor.rowcount == last - first + 1:
            return _result([(first, last, True)], numbered)
        cursor.execute(
            RANGES.format(rows=f"{NOTIFICATIONS} WHERE id BETWEEN %s AND %s"), [first, last]
        )
        return _result(cursor.fetchall(), numbered)


def _held_actor(draft: Notification) -> tuple[str, list[Any]]:
    """The condition that the actor cannot be deleted before the commit, and its parameters.

    Else the commit would wait for a transaction that has locked the actor, and all who need one of
    the streams would wait for the commit.
    """
    if draft.actor_id is None:
        return "", []
    field = Notification._meta.get_field("actor")
    key: Field[Any, Any] = field.target_field
    quote = connections[database_alias()].ops.quote_name
    condition = f"""
        AND EXISTS (
            SELECT 1 FROM {quote(key.model._meta.db_table)} WHERE {quote(str(key.column))} = %s
            FOR KEY SHARE SKIP LOCKED
        )
    """  # noqa: S608 - names of a model, no value
    return condition, [draft.actor_id]


def _numbered(
    pk: int, stream_id: int, name: str, epoch: str, top: int, previous: int, at: int, now: int
) -> Numbered:
    head = Head(stream_id, name, epoch, top, moment(previous))
    published_at, moment_of_all = EPOCH + at * MICROSECOND, EPOCH + now * MICROSECOND
    return Numbered(pk, head, top + 1, published_at, moment_of_all, head.published_at)


def _result(
    ranges: Sequence[tuple[int, int, bool]], numbered: list[Numbered] | None = None
) -> Immediate:
    ids = Ids(range(first, last + 1) for first, last, _ in ranges)
    with_offset = Ids(range(first, last + 1) for first, last, has_offset in ranges if has_offset)
    return Immediate(ids, Batch(with_offset, numbered, frozenset(), is_full=False))
