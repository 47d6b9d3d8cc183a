"""Unplaced notifications get their stream, and those with one key become one.

Making a stream in a caller's transaction, or a row whose key must be unique, would let everybody
else who needs the same wait until that transaction ends, and two of them lock each other out. So
what needs a new stream, or has a key, is written without a stream, under the stream's name. After
the commit it is placed under the lock of its stream. There the first with a key keeps it; others
that were written at the same time are dropped and lead to it.

What is scheduled is placed at once too: a key must not be taken twice until tomorrow.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from django.db import connections
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce

from ..database.clock import present
from ..database.transactions import update_rows
from ..models import Notification, NotificationQuerySet, Stream, database_alias

TABLE = Notification._meta.db_table


class _Unplaced(NamedTuple):
    id: int
    channel: str
    key: str | None
    #: The notification that is placed in this stream with the same key.
    known: int | None


def find_channels(after: str, passed: Collection[str], limit: int) -> list[str]:
    """Names of streams that something is to be placed in, in their order.

    Args:
        after: names up to this one are left out.
        passed: these too.
        limit: how many at most.
    """
    rows = _rows().filter(channel__gt=after)
    if passed:
        rows = rows.exclude(channel__in=passed)
    found = rows.order_by("channel").values_list("channel", flat=True).distinct()
    return [name for name in found[:limit] if name is not None]


def place(names: Collection[str], limit: int) -> int:
    """Place what is written for these streams, in a transaction that has locked them.

    A row that somebody is withdrawing right now is left to the next time.

    Args:
        names: of streams that are locked.
        limit: notifications at most.

    Returns:
        How many notifications were placed or dropped.
    """
    found = _find(names, limit)
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
            # It is the other one's now.
            key=None,
            withdrawn_at=Coalesce("withdrawn_at", present(database_alias())),
        )
    if winners:
        _rows().filter(pk__in=winners).update(stream=stream, channel=None)
    return len(found)


def _settle(found: Collection[_Unplaced]) -> tuple[list[int], Mapping[int, int]]:
    """Who keeps the key: what is placed already, else the one that was written first.

    Returns:
        Primary keys of those that stay, and of duplicates with that of the one that they lead to.
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


def _find(names: Collection[str], limit: int) -> list[_Unplaced]:
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
    statement = f"""
        SELECT unplaced.id, unplaced.channel, unplaced.key, (
            SELECT known.id FROM {TABLE} known
            WHERE known.key = unplaced.key AND known.stream_id = (
                SELECT stream.id FROM {Stream._meta.db_table} stream
                WHERE stream.name = unplaced.channel
            )
        )
        FROM {TABLE} unplaced WHERE unplaced.channel IN ({", ".join(["%s"] * len(names))})
        ORDER BY unplaced.id LIMIT {limit} {lock}
    """  # noqa: S608 - names of the models and numbers, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, list(names))
        return [_Unplaced(*row) for row in cursor.fetchall()]


def _rows() -> NotificationQuerySet:
    return Notification.objects.using(database_alias())
