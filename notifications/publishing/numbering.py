"""Giving offsets to waiting notifications, in one short transaction that locks their streams.

Within a stream ``published_at`` ascends strictly with the offset, even if a clock goes back. So
both orders are the same, and the inbox can use either index.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connections, transaction
from django.utils import timezone

from ..database.clock import SQL_NOW, has_clock
from ..database.locks import limit_waiting
from ..database.transactions import update_rows
from ..models import Notification, NotificationQuerySet, Stream, database_alias
from ..streams.epochs import Old, renew
from ..streams.rows import locked
from .placing import place

TICK = timedelta(microseconds=1)

HEAD_FIELDS = ("pk", "name", "epoch", "top", "published_at")


class Head(NamedTuple):
    """The end of a locked stream."""

    id: int
    name: str
    epoch: str
    top: int
    published_at: datetime | None


class Numbered(NamedTuple):
    """A notification that has just got its offset."""

    id: int
    stream: Head
    offset: int
    published_at: datetime
    #: When it was found due, by the clock that decides.
    moment: datetime
    #: When the previous entry of the stream was published; None if there is none.
    previous: datetime | None = None


class Batch(NamedTuple):
    """The result of one transaction."""

    numbered: list[Numbered]
    #: Primary keys of the streams that it could lock.
    locked: frozenset[int]
    #: Whether there may be more in these streams than one transaction takes.
    is_full: bool


def give_offsets(
    stream_ids: Collection[int],
    now: datetime | None,
    limit: int,
    *,
    wait: float | None = None,
    placing: bool = False,
) -> Batch:
    """Lock streams in id order, give offsets to their due notifications, and store the tops.

    Args:
        stream_ids: primary keys of streams.
        now: the moment that decides what is due; default the present by the database's clock.
        limit: notifications at most.
        wait: seconds to wait for each lock; by default locked streams are skipped.
        placing: first place the unplaced notifications of these streams.

    Raises:
        OperationalError: a lock was not available in time (see
            :func:`notifications.database.locks.was_locked`), or the database fails.
    """
    alias = database_alias()
    with transaction.atomic(using=alias):
        if wait is not None:
            limit_waiting(alias, wait)
        rows = locked(
            Stream.objects.using(alias).filter(pk__in=stream_ids), skip_locked=wait is None
        )
        heads = {row[0]: Head(*row) for row in rows.values_list(*HEAD_FIELDS)}
        placed = place([head.name for head in heads.values()], limit) if placing else 0
        # After the locks are held, because others may have published while this waited for them.
        moment, due = _due(heads, now, limit)
        numbered = _number(due, heads, moment)
        _store(alias, numbered)
    return Batch(numbered, frozenset(heads), max(len(due), placed) >= limit)


def repair(stream_id: int) -> bool:
    """Renew a stream whose top is below an offset in use, so that it cannot publish anything.

    Returns:
        Whether that was the case, and the stream is repaired.
    """
    stream = Stream.objects.using(database_alias()).filter(pk=stream_id).first()
    newest = _rows().published().filter(stream=stream_id).order_by("-offset").first()
    if stream is None or newest is None or (newest.offset or 0) <= stream.top:
        return False
    # Offsets above the top may have been given to other entries, so the epoch must change.
    return stream_id in renew({stream_id: Old(stream.epoch)}).settled


def _due(
    stream_ids: Iterable[int], now: datetime | None, limit: int
) -> tuple[datetime, list[tuple[int, int]]]:
    """Find and lock the due notifications of these streams.

    The lock keeps them from being withdrawn while they are published. Rows that others have locked,
    to withdraw or edit them, are left to the next tick.

    Returns:
        The moment that decided what is due; pairs of the primary keys of a notification and of its
        stream, in the order of publication.
    """
    moment = now or timezone.now()
    ids = list(stream_ids)
    if not ids:
        return moment, []
    alias = database_alias()
    connection = connections[alias]
    features, operations = connection.features, connection.ops
    lock = (
        operations.for_update_sql(
            no_key=features.has_select_for_no_key_update,
            skip_locked=features.has_select_for_update_skip_locked,
        )
        if features.has_select_for_update
        else ""
    )
    asks_clock = now is None and has_clock(alias)
    clock = SQL_NOW if asks_clock else "%s"
    asked = [] if asks_clock else [operations.adapt_datetimefield_value(moment)]
    # Raw SQL, because building it with the ORM took 1 ms, a third of a notify().
    statement = f"""
        SELECT id, stream_id, {SQL_NOW if asks_clock else "NULL"}
        FROM {Notification._meta.db_table}
        WHERE {operations.quote_name("offset")} IS NULL AND withdrawn_at IS NULL
        AND publish_at <= {clock} AND stream_id IN ({", ".join(["%s"] * len(ids))})
        ORDER BY publish_at, id LIMIT {limit} {lock}
    """  # noqa: S608 - names of the model and numbers, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [*asked, *ids])
        rows = cursor.fetchall()
    if asks_clock and rows:
        moment = rows[0][2]
    return moment, [(pk, stream_id) for pk, stream_id, _ in rows]


def _number(
    due: Iterable[tuple[int, int]], heads: dict[int, Head], moment: datetime
) -> list[Numbered]:
    numbered = []
    for pk, stream_id in due:
        head = heads[stream_id]
        previous = head.published_at
        published_at = moment if previous is None else max(moment, previous + TICK)
        head = heads[stream_id] = head._replace(top=head.top + 1, published_at=published_at)
        numbered.append(Numbered(pk, head, head.top, published_at, moment, previous))
    return numbered


def _store(alias: str, numbered: Sequence[Numbered]) -> None:
    rows = [(entry.offset, entry.published_at, entry.id) for entry in numbered]
    update_rows(alias, Notification, ["offset", "published_at"], rows)
    tops = {entry.stream.id: (entry.offset, entry.published_at) for entry in numbered}
    update_rows(
        alias, Stream, ["top", "published_at"], [(*values, pk) for pk, values in tops.items()]
    )


def _rows() -> NotificationQuerySet:
    return Notification.objects.using(database_alias())
