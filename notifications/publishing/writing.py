"""One notification into many streams, with one statement that waits for nobody."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field

from ..database.clock import SQL_NOW, has_clock
from ..database.locks import hold_clause
from ..models import Notification, Stream, database_alias

TABLE = Notification._meta.db_table

#: What is the same in all streams.
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
    )
)

#: The notification with a key that is placed in the stream of this name. Not with a join, which
#: PostgreSQL may begin with all that has the key.
KNOWN_PLACED = f"""
    SELECT known.id FROM {TABLE} known WHERE known.key = %s AND known.stream_id = (
        SELECT stream.id FROM {Stream._meta.db_table} stream WHERE stream.name = wanted.column1
    )
"""  # noqa: S608 - names of the models, no value

#: That an unplaced one has the key, by database. PostgreSQL has another index with keys, and before
#: it knows how many rows have one it may read all of these; it serves no comparison of rows.
HAS_KEY = {
    "postgresql": "(known.channel, known.key) "
    "BETWEEN (wanted.column1, %s) AND (wanted.column1, %s)",
    "sqlite": "known.key BETWEEN %s AND %s",
}


class Written(NamedTuple):
    """What is known of rows just written, so that they need not be read to be announced.

    Args:
        ids: their primary keys.
        content: encoded, without the primary key, which comes first in it.
        expires_at: of all of them.
    """

    ids: frozenset[int]
    content: bytes
    expires_at: datetime | None

    def data(self, pk: int) -> bytes:
        """The encoded content of one of them."""
        return b'{"id":%d,%b' % (pk, self.content.removeprefix(b"{"))


def write_placed(
    draft: Notification, stream_ids: Collection[int], *, at_once: bool
) -> dict[int, int]:
    """Insert a draft without a key into each of these streams.

    No other transaction is waited for. A stream that somebody is deleting is left out.
    (Measured: 10 µs a row, where ``bulk_create`` takes 230.)

    Args:
        draft: an unsaved notification without a stream.
        stream_ids: primary keys of streams, as many as one statement takes.
        at_once: it is due now, whatever the caller's clock says.

    Returns:
        The primary key of each new row by that of its stream.
    """
    if not stream_ids:
        return {}
    connection = _connection()
    columns, places, values = _content(draft, at_once)
    wanted = ", ".join(["%s"] * len(stream_ids))
    statement = f"""
        INSERT INTO {TABLE} (stream_id, {columns})
        SELECT id, {places} FROM {Stream._meta.db_table} WHERE id IN ({wanted})
        ORDER BY id {hold_clause(connection)} RETURNING stream_id, id
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, *stream_ids])
        return dict(cursor.fetchall())


def write_unplaced(draft: Notification, names: Sequence[str], *, at_once: bool) -> dict[str, int]:
    """Insert a draft for each of these streams, except where its ``key`` is known already.

    Known is what was committed, or written by this transaction. What others write with the same
    key at the same time is not waited for: :mod:`notifications.publishing.placing` settles it.

    Args:
        draft: an unsaved notification without a stream.
        names: of streams, which need not exist; as many as one statement takes.
        at_once: it is due now, whatever the caller's clock says.

    Returns:
        The primary key of each new row by the name of its stream.
    """
    if not names:
        return {}
    connection = _connection()
    columns, places, values = _content(draft, at_once)
    wanted, parameters = _wanted(connection, names)
    unknown, keys = "", list[str]()
    if draft.key is not None:
        # Not as NOT EXISTS: for that PostgreSQL may read all keys there are.
        placed, unplaced, keys = _known(connection, draft.key)
        unknown = f"WHERE ({placed}) IS NULL AND ({unplaced}) IS NULL"
    statement = f"""
        INSERT INTO {TABLE} (channel, {columns})
        SELECT wanted.column1, {places} FROM {wanted} {unknown} RETURNING channel, id
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, *parameters, *keys])
        return dict(cursor.fetchall())


def find_known(names: Sequence[str], key: str) -> dict[str, int]:
    """Primary keys of the notifications with this key, by the name of their stream.

    With one statement, so that what is being placed meanwhile is seen before or after.
    """
    if not names:
        return {}
    connection = _connection()
    wanted, parameters = _wanted(connection, names)
    placed, unplaced, keys = _known(connection, key)
    statement = f"""
        SELECT wanted.column1, COALESCE(({placed}), ({unplaced})) FROM {wanted}
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*keys, *parameters])
        return {name: pk for name, pk in cursor.fetchall() if pk is not None}


def _content(draft: Notification, at_once: bool) -> tuple[str, str, list[Any]]:
    """Columns, places and values of what is the same in all streams."""
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
    """Queries for what has this key and is placed, or is not, in a row of :func:`_wanted`.

    Returns:
        Both queries, and the parameters of both.
    """
    unplaced = f"""
        SELECT known.id FROM {TABLE} known
        WHERE known.channel = wanted.column1 AND {HAS_KEY[connection.vendor]}
        ORDER BY known.id LIMIT 1
    """  # noqa: S608 - names of the models, no value
    return KNOWN_PLACED, unplaced, [key] * 3


def _wanted(connection: BaseDatabaseWrapper, names: Sequence[str]) -> tuple[str, list[Any]]:
    """These names as a table; psycopg fills in one array much quicker than many values."""
    if connection.vendor == "postgresql":
        return "unnest(%s::text[]) AS wanted (column1)", [list(names)]
    return f"(VALUES {', '.join(['(%s)'] * len(names))}) AS wanted", list(names)


def _connection() -> BaseDatabaseWrapper:
    return connections[database_alias()]
