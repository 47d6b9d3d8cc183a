"""Writing notifications together with their offsets, where the caller has no open transaction.

A caller's transaction may stay open for long, so nothing in it may lock a stream: its rows wait for
their offsets until it has committed (:mod:`notifications.publishing.sequencing`). A call outside of
a transaction makes one of its own, which ends at once. That may lock the streams, as the sequencing
would in a second transaction, and so each row is written once instead of twice.

It waits for no stream. One that others have locked is left out, and so is one that has the highest
offset, or has due notifications that wait, which must come first. A row for such a stream is
written without an offset, as in a caller's transaction, and is sequenced after the commit. Streams
that are missing are created: others who create one of them wait for each other, and all of them
commit at once.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field

from ..database.clock import SQL_NOW
from ..database.locks import limit_waiting, reads_snapshot
from ..database.transactions import among, listed
from ..models import Notification, Stream, database_alias
from ..streams import rows as stream_rows
from ..streams.instants import instant_of
from ..streams.numbered import Numbered
from .numbering import Batch
from .offsets import FEW, MAX_OFFSET, look_up_rows
from .writing import columns_of

NOTIFICATIONS = Notification._meta.db_table
STREAMS = Stream._meta.db_table

#: Streams that one transaction locks at most on PostgreSQL. Those who sequence them meanwhile wait
#: for it. On SQLite others are locked out anyway.
MAX_LOCKED = 10_000

#: Condition that no notification of a stream is due and waits. It reads the index on streams and
#: offsets, stream by stream: with NOT EXISTS, PostgreSQL might begin with all rows that wait. For
#: the CASE, see :mod:`notifications.publishing.offsets`.
NONE_WAITING = f"""COALESCE((
    SELECT FALSE FROM {NOTIFICATIONS} waiting
    WHERE waiting.stream_id = stream.id AND waiting."offset" IS NULL
    AND waiting.publish_at <= CASE WHEN waiting.withdrawn_at IS NULL THEN {{now}} END LIMIT 1
), TRUE)"""  # noqa: S608 - names of the models, no value

#: The next primary key of a notification. It is known before the row is written, so that rows need
#: not be joined with their streams afterwards.
NEXT_ID = f"nextval((SELECT pg_get_serial_sequence('{NOTIFICATIONS}', 'id')::regclass))"


def can_write(draft: Notification, *, at_once: bool) -> bool:
    """Return whether a notification may be written here, to at most :data:`MAX_LOCKED` streams.

    Args:
        draft: an unsaved notification. A key is compared under the lock of its stream, later.
        at_once: it is to be published now.
    """
    if draft.key is not None or not at_once:
        return False
    connection = connections[database_alias()]
    # Autocommit is off in a transaction, and where the caller begins transactions by hand.
    return connection.get_autocommit() and not reads_snapshot(connection)


def write_to_free(
    draft: Notification, names: Sequence[str], ids: Sequence[int] | None = None
) -> Batch:
    """On PostgreSQL, insert a draft into those of these streams that are free, with one statement.

    The transaction, if there is one, has to end right after this. The statement sees what others
    have committed before it began, and the newest tops.

    Args:
        draft: one for which :func:`can_write`.
        names: names of streams.
        ids: a primary key for the row of each of them; by default the database chooses.

    Returns:
        A description of the rows that were written.

    Raises:
        IntegrityError: one of the primary keys is in use, the top of a stream is below an offset in
            use, or the actor is gone.
    """
    connection = connections[database_alias()]
    columns, places, values = columns_of(draft, at_once=True)
    source, wanted, parameters = _chosen(connection, names, ids)
    actor, held_actor = _held_actor(connection, draft)
    statement = f"""
        WITH held AS (
            SELECT {NEXT_ID if ids is None else "row_id"} AS row_id, stream.id, name, epoch, top,
            published_at, GREATEST({SQL_NOW}, published_at + INTERVAL '1 microsecond') AS moment
            FROM {source} WHERE {wanted} AND top < {MAX_OFFSET}
            AND {NONE_WAITING.format(now=SQL_NOW)} {actor}
            ORDER BY stream.id FOR NO KEY UPDATE OF stream SKIP LOCKED
        ), written AS (
            INSERT INTO {NOTIFICATIONS} (id, stream_id, "offset", published_at, {columns})
            SELECT row_id, id, top + 1, moment, {places} FROM held
        ), moved AS (
            UPDATE {STREAMS} moved SET top = held.top + 1, published_at = moment
            FROM held WHERE moved.id = held.id
        )
        SELECT name, epoch, top + 1, row_id, {instant_of(connection, "moment")},
        {instant_of(connection, "published_at")} FROM held
    """  # noqa: S608 - names of the models, no value
    look_up_rows(database_alias(), len(names))
    with connection.cursor() as cursor:
        cursor.execute(statement, [*parameters, *held_actor, *values])
        return _batch(Numbered(*row) for row in cursor.fetchall())


def write_to_new(
    draft: Notification, names: Sequence[str], ids: Sequence[int] | None = None
) -> Batch:
    """On PostgreSQL, create those of these streams that do not exist, and insert a draft into them.

    It leaves out those whose unplaced notifications come first, and all of them while the actor is
    locked: the commit waits for that, and nobody must wait for the commit. It may follow
    :func:`write_to_free` in the same transaction.

    Args:
        draft: one for which :func:`can_write`.
        names: names of streams.
        ids: a primary key for the row of each of them; by default the database chooses.

    Returns:
        A description of the rows that were written.

    Raises:
        IntegrityError: one of the primary keys is in use, or the actor is gone.
        OperationalError: another transaction that creates one of the streams does not end in time.
    """
    limit_waiting(database_alias(), stream_rows.CREATE_TIMEOUT)
    connection = connections[database_alias()]
    columns, places, values = columns_of(draft, at_once=True)
    wanted, parameters = listed(connection, names, ids)
    actor, held_actor = _held_actor(connection, draft)
    joined = "" if ids is None else "JOIN missing ON missing.value = name"
    # Subqueries and no joins, because PostgreSQL might begin one with all rows of a table. Created
    # in the order of their names, as by all others, so that nobody deadlocks.
    statement = f"""
        WITH missing AS MATERIALIZED (
            SELECT * FROM {wanted}
            WHERE (SELECT TRUE FROM {STREAMS} WHERE name = value) IS NULL
            AND (SELECT TRUE FROM {NOTIFICATIONS} WHERE channel = value LIMIT 1) IS NULL {actor}
            ORDER BY value COLLATE "C"
        ), created AS (
            INSERT INTO {STREAMS} (name, epoch, top, floor, revision, published_at)
            SELECT value, {stream_rows.NEW_EPOCH["postgresql"]}, 1, 0, 0, {SQL_NOW} FROM missing
            ON CONFLICT DO NOTHING RETURNING id, name, epoch
        ), placed AS MATERIALIZED (
            SELECT {NEXT_ID if ids is None else "row_id"} AS row_id, id, name, epoch
            FROM created {joined}
        ), written AS (
            INSERT INTO {NOTIFICATIONS} (id, stream_id, "offset", published_at, {columns})
            SELECT row_id, id, 1, {SQL_NOW}, {places} FROM placed
        )
        SELECT name, epoch, 1, row_id, {instant_of(connection, SQL_NOW)} FROM placed
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        if len(names) > FEW:
            # The only join is one of temporary tables, which PostgreSQL takes for small.
            cursor.execute(
                "SET LOCAL enable_hashjoin = on; SET LOCAL enable_nestloop = off; "
                "SET LOCAL jit = off"
            )
        cursor.execute(statement, [*parameters, *held_actor, *values])
        return _batch(Numbered(*row) for row in cursor.fetchall())


def _batch(numbered: Iterable[Numbered]) -> Batch:
    entries = list(numbered)
    # Each one is published at the moment, unless the entry before it is later.
    moment = min((entry.at for entry in entries), default=0)
    ids = [entry.id for entry in entries]
    return Batch(ids, entries, frozenset(), is_full=False, moment=moment)


def _chosen(
    connection: BaseDatabaseWrapper, names: Sequence[str], ids: Sequence[int] | None
) -> tuple[str, str, list[Any]]:
    """The table of the streams with these names, its condition, and the parameters of both."""
    if ids is None:
        condition, parameter = among(connection, "name", names)
        return f"{STREAMS} stream", condition, [parameter]
    wanted, parameters = listed(connection, names, ids)
    return f"{wanted} JOIN {STREAMS} stream ON name = value", "TRUE", parameters


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
