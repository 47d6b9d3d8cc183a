"""Placing: giving unplaced notifications their stream, and dropping duplicates of a key.

If a caller's transaction created a stream, or a row with a unique key, all others who need the same
stream or key would wait until it ends, and two such transactions could deadlock. So a notification
that needs a new stream or has a key is written without a stream, under the stream's name. It is
placed after the commit, under the lock of its stream. The first notification with a key keeps it;
others that were written at the same time are dropped, and refer to the first one.

Scheduled notifications are placed at once too, so that a key is not used twice before they are due.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from django.db import connections
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce

from ..database.clock import SQL_NOW, present
from ..database.transactions import among, update_rows
from ..models import Notification, NotificationQuerySet, Stream, database_alias

TABLE = Notification._meta.db_table


class _Unplaced(NamedTuple):
    id: int
    channel: str
    key: str | None
    #: Primary key of the notification in this stream that has the same key already.
    known: int | None


def find_channels(after: str, passed: Collection[str], limit: int) -> list[str]:
    """Names of streams that have unplaced notifications, sorted.

    Args:
        after: only names greater than this one.
        passed: names to leave out.
        limit: names at most.
    """
    rows = _rows().filter(channel__gt=after)
    if passed:
        rows = rows.exclude(channel__in=passed)
    found = rows.order_by("channel").values_list("channel", flat=True).distinct()
    return [name for name in found[:limit] if name is not None]


def place(names: Collection[str], moment: datetime | None, limit: int) -> int:
    """Place unplaced notifications of these streams, in a transaction that has locked them.

    Those that are due and have no key are left to
    :func:`~notifications.publishing.offsets.number_due`, which places them with their offsets.
    Rows that others have locked, for example to withdraw them, are left to the next call.

    Args:
        names: names of the locked streams.
        moment: decides what is due; None for the present by the database's clock, if it has one.
        limit: notifications at most.

    Returns:
        The number of notifications that were placed or dropped.
    """
    found = _find(names, moment, limit)
    winners, duplicates = _settle(found)
    name = OuterRef("channel")
    stream = Subquery(Stream.objects.filter(name=name).values("pk")[:1])
    if duplicates:
        update_rows(
            database_alias(),
            Notification,
            ["duplicate_of"],
            [(to, pk) for pk, to in duplicates.items()],
        )
        _rows().filter(pk__in=list(duplicates)).update(
            stream=stream,
            channel=None,
            # The original keeps the key.
            key=None,
            withdrawn_at=Coalesce("withdrawn_at", present(database_alias())),
        )
    if winners:
        _rows().filter(pk__in=winners).update(stream=stream, channel=None)
    return len(found)


def _settle(found: Collection[_Unplaced]) -> tuple[list[int], Mapping[int, int]]:
    """Decide which notifications stay: of each key the one in the stream, else the first written.

    Returns:
        Primary keys of the notifications that stay, and the originals of the duplicates, both by
        primary key.
    """
    first: dict[tuple[str, str], int] = {}
    winners: list[int] = []
    duplicates: dict[int, int] = {}
    for row in found:
        if row.key is None:
            winners.append(row.id)
            continue
        kept = first.setdefault((row.channel, row.key), row.known or row.id)
        if kept == row.id:
            winners.append(row.id)
        else:
            duplicates[row.id] = kept
    return winners, duplicates


def _find(names: Collection[str], moment: datetime | None, limit: int) -> list[_Unplaced]:
    if not names:
        return []
    connection = connections[database_alias()]
    features = connection.features
    lock = (
        connection.ops.for_update_sql(
            no_key=features.has_select_for_no_key_update,
            skip_locked=features.has_select_for_update_skip_locked,
            of=("unplaced",) if features.has_select_for_update_of else (),
        )
        if features.has_select_for_update
        else ""
    )
    condition, listed = among(connection, "unplaced.channel", names)
    clock = SQL_NOW if moment is None else "%s"
    asked = [] if moment is None else [connection.ops.adapt_datetimefield_value(moment)]
    # Without the "+ 0", PostgreSQL might read all notifications in this order.
    statement = f"""
        SELECT unplaced.id, unplaced.channel, unplaced.key, (
            SELECT known.id FROM {TABLE} known
            WHERE known.key = unplaced.key AND known.stream_id = (
                SELECT stream.id FROM {Stream._meta.db_table} stream
                WHERE stream.name = unplaced.channel
            )
        )
        FROM {TABLE} unplaced WHERE {condition} AND (
            unplaced.key IS NOT NULL OR withdrawn_at IS NOT NULL OR publish_at > {clock}
        )
        ORDER BY unplaced.id + 0 LIMIT {limit} {lock}
    """  # noqa: S608 - names of the models and numbers, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [listed, *asked])
        return [_Unplaced(*row) for row in cursor.fetchall()]


def _rows() -> NotificationQuerySet:
    return Notification.objects.using(database_alias())
