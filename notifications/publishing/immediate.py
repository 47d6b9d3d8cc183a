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
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field
from django.utils import timezone

from ..database.clock import SQL_NOW
from ..database.locks import has_row_locks, reads_snapshot
from ..database.transactions import among
from ..models import Notification, Stream, database_alias
from ..streams import rows as stream_rows
from ..streams.instants import instant, instant_of, sqlite_instant, sqlite_moment
from ..streams.numbered import Numbered
from .hints import hints_each
from .ids import Ids
from .numbering import Batch
from .offsets import FEW, MAX_OFFSET
from .wanted import Wanted
from .writing import columns_of

NOTIFICATIONS = Notification._meta.db_table
STREAMS = Stream._meta.db_table

#: Streams that one transaction locks at most, where others are not locked out anyway. Those who
#: sequence them meanwhile wait for it.
MAX_LOCKED = 10_000

#: Statements of each kind that are kept: one for names, and one for each form of a queryset.
MAX_STATEMENTS = 16

#: Condition that no notification of a stream is due and waits. It reads the index on streams and
#: offsets, stream by stream: with NOT EXISTS, PostgreSQL might begin with all rows that wait. For
#: the CASE, see :mod:`notifications.publishing.offsets`.
NONE_WAITING = f"""COALESCE((
    SELECT FALSE FROM {NOTIFICATIONS} waiting
    WHERE waiting.stream_id = stream.id AND waiting."offset" IS NULL
    AND waiting.publish_at <= CASE WHEN waiting.withdrawn_at IS NULL THEN {{now}} END LIMIT 1
), TRUE)"""  # noqa: S608 - names of the models, no value

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


def can_write(draft: Notification, count: int, *, at_once: bool) -> bool:
    """Return whether a notification may be written here.

    Args:
        draft: an unsaved notification. A key is compared under the lock of its stream, later.
        count: the number of streams.
        at_once: it is to be published now.
    """
    if draft.key is not None or not at_once:
        return False
    if has_row_locks(database_alias()) and count > MAX_LOCKED:
        return False
    connection = connections[database_alias()]
    # Autocommit is off in a transaction, and where the caller begins transactions by hand.
    return connection.get_autocommit() and not reads_snapshot(connection)


def write_to_free(draft: Notification, names: Sequence[str]) -> Batch:
    """On PostgreSQL, insert a draft into those of these streams that are free, with one statement.

    The transaction, if there is one, has to end right after this. The statement sees what others
    have committed before it began, and the newest tops.

    Args:
        draft: one for which :func:`can_write`.
        names: names of streams.

    Returns:
        A description of the rows that were written.

    Raises:
        IntegrityError: the top of a stream is below an offset in use, or the actor is gone.
    """
    connection = connections[database_alias()]
    columns, places, values = columns_of(draft, at_once=True)
    wanted, parameter = among(connection, "name", names)
    actor, held_actor = _held_actor(connection, draft)
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
        SELECT name, epoch, top + 1, written.id, {instant_of(connection, "moment")},
        {instant_of(connection, "published_at")} FROM written JOIN held ON held.id = stream_id
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        if len(names) > FEW:
            # Compiling it would take longer than running it.
            cursor.execute("SET LOCAL jit = off")
        cursor.execute(statement, [parameter, *held_actor, *values])
        numbered = [Numbered(*row) for row in cursor.fetchall()]
    # Each one is published at the moment, unless the entry before it is later.
    moment = min((entry.at for entry in numbered), default=0)
    ids = [entry.id for entry in numbered]
    return Batch(ids, numbered, frozenset(), is_full=False, moment=moment)


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
        cursor.execute(_create_missing(wanted.sql), wanted.parameters)
        # Read when others are locked out.
        now = timezone.now()
        clock = connection.ops.adapt_datetimefield_value(now)
        columns, places, values = columns_of(draft, at_once=True)
        parameters = [*wanted.parameters, clock, clock, *values, clock]
        cursor.execute(_insert_all(wanted.sql, columns, places), parameters)
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


@lru_cache(maxsize=MAX_STATEMENTS)
def _create_missing(wanted: str) -> str:
    """Create streams, except those whose unplaced notifications come first."""
    names = f"""(
        SELECT name AS value FROM wanted
        WHERE NOT EXISTS (SELECT 1 FROM {STREAMS} stream WHERE stream.name = wanted.name)
        AND NOT EXISTS (SELECT 1 FROM {NOTIFICATIONS} WHERE channel = wanted.name)
    )"""  # noqa: S608 - names of the models, no value
    create = stream_rows.INSERT.format(epoch=stream_rows.NEW_EPOCH["sqlite"], wanted=names)
    return f"WITH {wanted} {create}"


@lru_cache(maxsize=MAX_STATEMENTS)
def _insert_all(wanted: str, columns: str, places: str) -> str:
    later = sqlite_moment(f"({sqlite_instant('stream.published_at')} + 1)")
    return f"""
        INSERT INTO {NOTIFICATIONS} (stream_id, channel, "offset", published_at, {columns})
        WITH {wanted}
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


def _held_actor(connection: BaseDatabaseWrapper, draft: Notification) -> tuple[str, list[Any]]:
    """The condition that the actor cannot be deleted before the commit, and its parameters.

    Else the commit would wait for a transaction that has locked the actor, and all who need one of
    the streams would wait for the commit.
    """
    if draft.actor_id is None:
        return "", []
    key: Field[Any, Any] = Notification._meta.get_field("actor").target_field
    table, column = map(connection.ops.quote_name, (key.model._meta.db_table, str(key.column)))
    condition = f"""
        AND EXISTS (SELECT 1 FROM {table} WHERE {column} = %s FOR KEY SHARE SKIP LOCKED)
    """  # noqa: S608 - names of a model, no value
    return condition, [key.get_db_prep_value(draft.actor_id, connection)]
