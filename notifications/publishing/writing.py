"""Inserting one notification into many streams, with one statement that never waits for locks."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, QuerySet
from django.dispatch import Signal

from ..database.clock import SQL_NOW, has_clock
from ..database.locks import hold_clause
from ..database.transactions import among, listed
from ..models import Notification, Stream, database_alias
from ..streams.encoding import encode_content
from ..streams.numbered import with_id
from .ids import Ids
from .wanted import wanted_users

TABLE = Notification._meta.db_table

#: Sent in the caller's transaction, for :mod:`notifications.testing`. ``draft``: the notification,
#: ``ids``: the primary key of each new row by the name of its stream, ``callback``: the
#: :class:`~notifications.database.transactions.AfterCommit` that sequences them.
rows_written = Signal()

#: Fields that have the same value in all streams.
FIELDS = tuple(
    cast("Field[Any, Any]", Notification._meta.get_field(name))
    for name in (
        "kind",
        "level",
        "title",
        "body",
        "url",
        "data",
        "actor",
        "key",
        "created_at",
        "publish_at",
        "expires_at",
        "publication",
    )
)

#: Query for the placed notification with a key in the stream of this name. Not a join, because
#: PostgreSQL might begin that with all rows that have the key.
KNOWN_PLACED = f"""
    SELECT known.id FROM {TABLE} known WHERE known.key = %s AND known.stream_id = (
        SELECT stream.id FROM {Stream._meta.db_table} stream WHERE stream.name = wanted.value
    )
"""  # noqa: S608 - names of the models, no value

#: Condition that an unplaced notification has the key, by database vendor. PostgreSQL compares
#: rows here, so that it cannot use the index on streams and keys: without statistics it might
#: choose that one, and read all of it.
HAS_KEY = {
    "postgresql": "(known.channel, known.key) BETWEEN (wanted.value, %s) AND (wanted.value, %s)",
    "sqlite": "known.key BETWEEN %s AND %s",
}


#: Recipients that are sequenced in one transaction, and written by one statement if they come from
#: the caller.
CHUNK = 2000


class Written(NamedTuple):
    """What is known of rows just written, so that they can be announced without reading them.

    Args:
        ids: primary keys of the rows.
        content: their encoded content without ``id``, which is the first member of the object.
        expires_at: when all of them expire; None for never.
        has_id: whether the content of a row has an id, as that of a notification.
    """

    ids: Collection[int]
    content: bytes
    expires_at: datetime | None
    has_id: bool = True

    @classmethod
    def of(cls, draft: Notification, ids: Collection[int]) -> Self:
        """What is known of the rows of a draft, which have these primary keys."""
        has_id = draft.publication is None
        return cls(ids, encode_content(draft), draft.expires_at, has_id)

    def data(self, pk: int) -> bytes:
        """The encoded content of the row with this primary key."""
        if not self.has_id:
            return self.content
        return with_id(self.content, pk)


def write_placed(
    draft: Notification, stream_ids: Collection[int], *, at_once: bool
) -> dict[int, int]:
    """Insert a draft without a key into each of these streams.

    It does not wait for other transactions: a stream that one of them is deleting is left out.
    It takes 10 µs per row, where ``bulk_create`` takes 230 µs.

    Args:
        draft: an unsaved notification without a stream.
        stream_ids: primary keys of streams, as many as one statement takes.
        at_once: the notification is due now by the database's clock, if it has one.

    Returns:
        The primary key of each new row, by primary key of its stream.
    """
    if not stream_ids:
        return {}
    connection = _connection()
    columns, places, values = columns_of(draft, at_once=at_once)
    wanted, keys = among(connection, "id", stream_ids)
    statement = f"""
        INSERT INTO {TABLE} (stream_id, {columns})
        SELECT id, {places} FROM {Stream._meta.db_table} WHERE {wanted}
        ORDER BY id {hold_clause(connection)} RETURNING stream_id, id
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, keys])
        return dict(cursor.fetchall())


def write_unplaced(
    draft: Notification, names: Sequence[str], ids: Sequence[int] | None = None, *, at_once: bool
) -> dict[str, int]:
    """Insert a draft for each of these streams, except where its ``key`` is known already.

    A key is known if a visible row has it: one that was committed, or written by this transaction.
    It does not wait for others that write the same key at the same time;
    :mod:`notifications.publishing.placing` drops the duplicates.

    Args:
        draft: an unsaved notification without a stream.
        names: names of streams, which need not exist; as many as one statement takes.
        ids: a primary key for the row of each of them; by default the database chooses.
        at_once: the notification is due now by the database's clock, if it has one.

    Returns:
        The primary key of each new row, by name of its stream.

    Raises:
        IntegrityError: one of the primary keys is in use.
    """
    if not names:
        return {}
    connection = _connection()
    columns, places, values = columns_of(draft, at_once=at_once)
    own_id, its_id = ("id, ", "wanted.row_id, ") if ids is not None else ("", "")
    wanted, parameters = listed(connection, names, ids)
    unknown, keys = "", list[str]()
    if draft.key is not None:
        # Not with NOT EXISTS, for which PostgreSQL may read all keys.
        placed, unplaced, keys = _known(connection, draft.key)
        unknown = f"WHERE ({placed}) IS NULL AND ({unplaced}) IS NULL"
    statement = f"""
        INSERT INTO {TABLE} ({own_id}channel, {columns})
        SELECT {its_id}wanted.value, {places} FROM {wanted} {unknown} RETURNING channel, id
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, *parameters, *keys])
        return dict(cursor.fetchall())


def write_for_users(draft: Notification, users: QuerySet[Any], *, at_once: bool) -> Ids:
    """Insert a draft without a key for each user of a queryset, with one statement.

    It does not wait for other transactions. As in :func:`write_placed`, a row gets the stream of
    its user unless that does not exist or is being deleted; then it is unplaced.

    Args:
        draft: an unsaved notification without a stream.
        users: see :func:`notifications.publishing.recipients.count_in_database`.
        at_once: the notification is due now by the database's clock, if it has one.

    Returns:
        The primary keys of the rows, in the order of the users.
    """
    connection = _connection()
    columns, places, values = columns_of(draft, at_once=at_once)
    wanted = wanted_users(users)
    statement = f"""
        INSERT INTO {TABLE} (stream_id, channel, {columns})
        WITH {wanted.sql}, held AS (
            SELECT stream.id, number FROM wanted
            JOIN {Stream._meta.db_table} stream ON stream.name = wanted.name
            {hold_clause(connection)}
        )
        SELECT held.id, CASE WHEN held.id IS NULL THEN name END, {places}
        FROM wanted LEFT JOIN held ON held.number = wanted.number ORDER BY wanted.number
    """  # noqa: S608 - names of the models, and a query of Django; no value
    write = _on_postgresql if connection.vendor == "postgresql" else _on_sqlite
    return write(connection, statement, [*wanted.parameters, *values])


def _on_postgresql(connection: BaseDatabaseWrapper, insert: str, parameters: list[Any]) -> Ids:
    """Run the statement. Other transactions may take primary keys in between."""
    statement = f"""
        WITH written AS ({insert} RETURNING id),
        placed AS (SELECT id, id - row_number() OVER (ORDER BY id) AS before FROM written)
        SELECT min(id), max(id) FROM placed GROUP BY before ORDER BY before
    """  # noqa: S608 - no value
    with connection.cursor() as cursor:
        # PostgreSQL overestimates the join of the temporary tables, and would compile the statement
        # for up to a second.
        cursor.execute("SELECT current_setting('jit'), set_config('jit', 'off', true)")
        (before, _) = cursor.fetchone()
        cursor.execute(statement, parameters)
        ids = Ids(range(first, last + 1) for first, last in cursor.fetchall())
        cursor.execute("SELECT set_config('jit', %s, true)", [before])
        return ids


def _on_sqlite(connection: BaseDatabaseWrapper, insert: str, parameters: list[Any]) -> Ids:
    """Run the statement. Nobody else writes, so the primary keys follow each other."""
    with connection.cursor() as cursor:
        cursor.execute(insert, parameters)
        return Ids([range(cursor.lastrowid - cursor.rowcount + 1, cursor.lastrowid + 1)])


def find_known(names: Sequence[str], key: str) -> dict[str, int]:
    """Primary keys of the notifications with this key, by name of their stream.

    One statement reads both placed and unplaced rows, so that it cannot miss one that is being
    placed meanwhile.
    """
    if not names:
        return {}
    connection = _connection()
    wanted, parameters = listed(connection, names)
    placed, unplaced, keys = _known(connection, key)
    statement = f"""
        SELECT wanted.value, COALESCE(({placed}), ({unplaced})) FROM {wanted}
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*keys, *parameters])
        return {name: pk for name, pk in cursor.fetchall() if pk is not None}


def columns_of(draft: Notification, *, at_once: bool) -> tuple[str, str, list[Any]]:
    """Columns, placeholders and values of :data:`FIELDS`, as parts of an INSERT.

    Args:
        draft: the notification.
        at_once: it is due now by the database's clock, if that has one.
    """
    connection = _connection()
    columns, places, values = [], [], []
    for field in FIELDS:
        columns.append(connection.ops.quote_name(str(field.column)))
        if field.name == "publish_at" and at_once and has_clock(connection.alias):
            places.append(SQL_NOW)
            continue
        places.append("%s")
        values.append(field.get_db_prep_save(getattr(draft, field.attname), connection))
    return ", ".join(columns), ", ".join(places), values


def _known(connection: BaseDatabaseWrapper, key: str) -> tuple[str, str, list[str]]:
    """Subqueries for the placed and the unplaced notification with this key.

    They refer to the table of :func:`~notifications.database.transactions.listed`.

    Returns:
        Both subqueries, and the parameters of both together.
    """
    unplaced = f"""
        SELECT known.id FROM {TABLE} known
        WHERE known.channel = wanted.value AND {HAS_KEY[connection.vendor]}
        ORDER BY known.id LIMIT 1
    """  # noqa: S608 - names of the models, no value
    return KNOWN_PLACED, unplaced, [key] * 3


def _connection() -> BaseDatabaseWrapper:
    return connections[database_alias()]
