"""One notification into many streams, with one statement."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple, cast

from django.db import connections, router
from django.db.models import Field

from .history import encode_content
from .models import Notification, Stream

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


def write(draft: Notification, stream_ids: Collection[int]) -> dict[int, int]:
    """Insert a draft into each of these streams, except where its ``key`` is there already.

    In the order of the streams: callers with the same key and recipients wait for each other
    instead of locking each other out. (Measured: 10 µs a row, where ``bulk_create`` takes 230.)

    Args:
        draft: an unsaved notification without a stream.
        stream_ids: primary keys of streams, as many as one statement takes.

    Returns:
        The primary key of each new row by that of its stream.
    """
    if not stream_ids:
        return {}
    connection = connections[router.db_for_write(Notification)]
    values = [field.get_db_prep_save(getattr(draft, field.attname), connection) for field in FIELDS]
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in FIELDS)
    places = ", ".join(["%s"] * len(values))
    wanted = ", ".join(["%s"] * len(stream_ids))
    statement = f"""
        INSERT INTO {Notification._meta.db_table} (stream_id, {columns})
        SELECT id, {places} FROM {Stream._meta.db_table} WHERE id IN ({wanted}) ORDER BY id
        ON CONFLICT DO NOTHING RETURNING stream_id, id
    """  # noqa: S608 - names of the models, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*values, *stream_ids])
        return dict(cursor.fetchall())


def written(draft: Notification, ids: Collection[int]) -> Written:
    """What is known of the rows that :func:`write` has made of this draft."""
    return Written(frozenset(ids), encode_content(draft), draft.expires_at)
