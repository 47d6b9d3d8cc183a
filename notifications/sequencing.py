"""Waiting notifications become publications: offsets after the caller's commit, then the hint.

An offset cannot be given inside the caller's transaction: a counter locked there would serialize
and deadlock business transactions, and an auto-increment id lets a late commit slip behind a
reader's position. So rows wait with ``offset`` NULL, and whoever comes first (the caller's
``on_commit``, any worker's ticker) gives the next offsets in a short transaction of its own.
Scheduling is the same: ``publish_at`` in the future keeps a row waiting.

Within a stream ``published_at`` ascends strictly with the offset, whatever the clocks of the
workers say: so both orders are one, and the inbox may use either index.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import connections, router, transaction
from django.utils import timezone

from .database import update_rows
from .history import encode_content, instant
from .layer import send_check, send_publication
from .metrics import DATABASE_ERRORS, PUBLISHED
from .models import Notification, Stream
from .signals import published
from .streams import chunks, locked
from .writing import Written

logger = logging.getLogger(__name__)

#: Streams per transaction: locks stay short.
BATCH = 500

#: Notifications per transaction. More than streams, so that a chunk of a bulk call, which has one
#: for each stream, is known to be done without a second look.
MOST = 1000

#: In more streams than this at once one hint for all goes out: each costs 0.1 ms of CPU here and
#: in every hub, whether or not anybody who reads the stream is there.
MANY = 100

TICK = timedelta(microseconds=1)

HEAD = ("pk", "name", "epoch", "top", "published_at")


class Head(NamedTuple):
    """Where a locked stream ends."""

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
    #: Of the entry before it.
    previous: datetime | None = None


def sequence(
    stream_ids: Iterable[int], now: datetime | None = None, written: Written | None = None
) -> int:
    """Give offsets to what is due in these streams, and announce it.

    Args:
        stream_ids: primary keys of streams, any number.
        now: the moment that decides what is due; default the present.
        written: what need not be read again, because it was written just now.

    Returns:
        The number of notifications published.
    """
    count = 0
    for chunk in chunks(sorted(set(stream_ids)), BATCH):
        while batch := _give_offsets(chunk, now, skip_locked=False):
            announce(batch, written)
            count += len(batch)
            if len(batch) < MOST:
                break
    return count


def sequence_after_commit(stream_ids: Iterable[int], written: Written) -> None:
    """The caller's ``on_commit``. A database that fails now is met again by the tickers."""
    try:
        sequence(stream_ids, written=written)
    except DatabaseError as error:
        DATABASE_ERRORS.inc()
        logger.warning(
            "Committed notifications wait for a worker (%s on sequencing).", type(error).__name__
        )


def sequence_waiting(now: datetime | None = None) -> int:
    """The ticker's part: what a dead process left waiting and what has become due.

    Streams that another worker is sequencing are skipped, not waited for.

    Args:
        now: the moment that decides what is due; default the present.

    Returns:
        The number of notifications published.
    """
    count = 0
    while stream_ids := _due_streams(now or timezone.now()):
        batch = _give_offsets(stream_ids, now, skip_locked=True)
        announce(batch)
        count += len(batch)
        if len(batch) < BATCH:
            break
    return count


def announce(batch: Sequence[Numbered], written: Written | None = None) -> None:
    """Send the hint and the ``published`` signal for sequenced notifications."""
    PUBLISHED.inc(len(batch))
    if len({entry.stream.id for entry in batch}) > MANY:
        send_check()
    else:
        _hint_each(batch, written)
    if published.has_listeners(Notification):
        for row in _load(entry.id for entry in batch).values():
            published.send_robust(Notification, notification=row)


def _hint_each(batch: Sequence[Numbered], written: Written | None) -> None:
    known: Collection[int] = written.ids if written else ()
    rows = _load(entry.id for entry in batch if entry.id not in known)
    for entry in batch:
        if written is not None and entry.id in known:
            _hint(entry, written.data(entry.id), written.expires_at)
        elif entry.id in rows:  # or deleted since
            _hint_row(entry, rows[entry.id])


def _load(ids: Iterable[int]) -> dict[int, Notification]:
    wanted = list(ids)
    if not wanted:
        return {}
    rows = Notification.objects.using(_alias()).select_related("actor", "stream")
    return {row.pk: row for row in rows.filter(pk__in=wanted).order_by("stream", "offset")}


def _hint_row(entry: Numbered, row: Notification) -> None:
    try:
        _hint(entry, encode_content(row), row.expires_at)
    except ValueError as error:  # written past the checks of publishing
        logger.error("A publication is left out: %s", error)  # noqa: TRY400 - no bug of ours


def _hint(entry: Numbered, data: bytes, expires_at: datetime | None) -> None:
    if expires_at and expires_at <= timezone.now():
        return  # too late for everybody: readers move over its offset
    at, previous = instant(entry.published_at), instant(entry.previous)
    send_publication(entry.stream.name, entry.stream.epoch, entry.offset, data, at, previous)


def _due_streams(now: datetime) -> list[int]:
    due = Notification.objects.using(_alias()).waiting().filter(publish_at__lte=now)
    return sorted(set(due.order_by("publish_at", "id").values_list("stream", flat=True)[:BATCH]))


def _give_offsets(
    stream_ids: Iterable[int], now: datetime | None, *, skip_locked: bool
) -> list[Numbered]:
    """One transaction: lock the streams in id order, number what is due, store the tops."""
    alias = _alias()
    with transaction.atomic(using=alias):
        rows = locked(
            Stream.objects.using(alias).filter(pk__in=stream_ids), skip_locked=skip_locked
        )
        heads = {row[0]: Head(*row) for row in rows.values_list(*HEAD)}
        # Not before the locks are held: another worker may have published while this one waited.
        moment = now or timezone.now()
        numbered = _number(_due(heads, moment), heads, moment)
        _store(alias, numbered)
    return numbered


def _due(stream_ids: Iterable[int], moment: datetime) -> list[tuple[int, int]]:
    """What is due in these streams, locked: it cannot be withdrawn while it is published.

    A row that somebody is withdrawing or editing right now is left to the next tick.

    Returns:
        Primary keys of notifications, each with that of its stream, in their order.
    """
    ids = list(stream_ids)
    if not ids:
        return []
    connection = connections[_alias()]
    features, operations = connection.features, connection.ops
    lock = (
        operations.for_update_sql(
            no_key=features.has_select_for_no_key_update,
            skip_locked=features.has_select_for_update_skip_locked,
        )
        if features.has_select_for_update
        else ""
    )
    # Written out: built by the ORM it took a third of a notify(), 1 ms.
    statement = f"""
        SELECT id, stream_id FROM {Notification._meta.db_table}
        WHERE {operations.quote_name("offset")} IS NULL AND withdrawn_at IS NULL
        AND publish_at <= %s AND stream_id IN ({", ".join(["%s"] * len(ids))})
        ORDER BY publish_at, id LIMIT {MOST} {lock}
    """  # noqa: S608 - names of the model and numbers, no value
    with connection.cursor() as cursor:
        cursor.execute(statement, [operations.adapt_datetimefield_value(moment), *ids])
        return list(cursor.fetchall())


def _number(
    due: Iterable[tuple[int, int]], heads: dict[int, Head], moment: datetime
) -> list[Numbered]:
    numbered = []
    for pk, stream_id in due:
        head = heads[stream_id]
        previous = head.published_at
        published_at = moment if previous is None else max(moment, previous + TICK)
        head = heads[stream_id] = head._replace(top=head.top + 1, published_at=published_at)
        numbered.append(Numbered(pk, head, head.top, published_at, previous))
    return numbered


def _store(alias: str, numbered: Sequence[Numbered]) -> None:
    rows = [(entry.offset, entry.published_at, entry.id) for entry in numbered]
    update_rows(alias, Notification, ["offset", "published_at"], rows)
    tops = {entry.stream.id: (entry.offset, entry.published_at) for entry in numbered}
    update_rows(
        alias, Stream, ["top", "published_at"], [(*values, pk) for pk, values in tops.items()]
    )


def _alias() -> str:
    return router.db_for_write(Notification)
