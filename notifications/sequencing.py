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
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db import Error as DatabaseError
from django.db import connections, router, transaction
from django.db.models import F
from django.utils import timezone

from .database import update_rows
from .history import publication
from .layer import send_publication
from .metrics import DATABASE_ERRORS, PUBLISHED
from .models import Notification, Stream
from .signals import published
from .streams import chunks, locked

logger = logging.getLogger(__name__)

#: Notifications and streams per transaction: locks stay short.
BATCH = 500

TICK = timedelta(microseconds=1)


def sequence(stream_ids: Iterable[int], now: datetime | None = None) -> int:
    """Give offsets to what is due in these streams, and announce it.

    Args:
        stream_ids: primary keys of streams, any number.
        now: the moment that decides what is due; default the present.

    Returns:
        The number of notifications published.
    """
    count = 0
    for chunk in chunks(sorted(set(stream_ids)), BATCH):
        while batch := _give_offsets(chunk, now, skip_locked=False):
            announce(batch)
            count += len(batch)
            if len(batch) < BATCH:
                break
    return count


def sequence_after_commit(stream_ids: Iterable[int]) -> None:
    """The caller's ``on_commit``. A database that fails now is met again by the tickers."""
    try:
        sequence(stream_ids)
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


def announce(batch: Iterable[Notification]) -> None:
    """Send the hint and the ``published`` signal for sequenced notifications."""
    for notification in batch:
        PUBLISHED.inc()
        _hint(notification)
        if published.has_listeners(Notification):
            published.send_robust(Notification, notification=notification)


def _hint(notification: Notification) -> None:
    if notification.expires_at and notification.expires_at <= timezone.now():
        return  # too late for everybody: readers move over its offset
    try:
        offset, data = publication(notification)
    except ValueError as error:  # written past the checks of publishing
        logger.error("A publication is left out: %s", error)  # noqa: TRY400 - no bug of ours
        return
    send_publication(notification.stream.name, notification.stream.epoch, offset, data)


def _due_streams(now: datetime) -> list[int]:
    due = Notification.objects.using(_alias()).waiting().filter(publish_at__lte=now)
    return sorted(set(due.order_by("publish_at", "id").values_list("stream", flat=True)[:BATCH]))


def _give_offsets(
    stream_ids: Iterable[int], now: datetime | None, *, skip_locked: bool
) -> list[Notification]:
    """One transaction: lock the streams in id order, number what is due, store the tops."""
    alias = _alias()
    with transaction.atomic(using=alias):
        rows = Stream.objects.using(alias).filter(pk__in=stream_ids)
        streams = {stream.pk: stream for stream in locked(rows, skip_locked=skip_locked)}
        # Not before the locks are held: another worker may have published while this one waited.
        moment = now or timezone.now()
        due = _due(streams, moment)
        if not due:
            return []
        _number(due, streams, moment)
        update_rows(alias, due, ["offset", "published_at"])
        changed = {notification.stream_id for notification in due}
        update_rows(alias, [streams[pk] for pk in changed], ["top"])
    return due


def _due(stream_ids: Iterable[int], moment: datetime) -> list[Notification]:
    """What is due in these streams, locked: it cannot be withdrawn while it is published.

    A row that somebody is withdrawing or editing right now is left to the next tick.
    """
    alias = _alias()
    features = connections[alias].features
    waiting = Notification.objects.using(alias).waiting()
    due = waiting.filter(stream__in=list(stream_ids), publish_at__lte=moment)
    rows = due.select_related("actor").select_for_update(
        of=("self",) if features.has_select_for_update_of else (),
        no_key=features.has_select_for_no_key_update,
        skip_locked=features.has_select_for_update_skip_locked,
    )
    return list(rows.order_by("publish_at", "id")[:BATCH])


def _number(due: Iterable[Notification], streams: Mapping[int, Stream], moment: datetime) -> None:
    last = _last_published(streams.values())
    for notification in due:
        stream = streams[notification.stream_id]
        stream.top += 1
        previous = last.get(stream.pk)
        last[stream.pk] = moment if previous is None else max(moment, previous + TICK)
        notification.stream = stream
        notification.offset = stream.top
        notification.published_at = last[stream.pk]


def _last_published(streams: Iterable[Stream]) -> dict[int, datetime | None]:
    used = [stream.pk for stream in streams if stream.top]
    rows = Notification.objects.using(_alias()).filter(stream__in=used, offset=F("stream__top"))
    return dict(rows.values_list("stream", "published_at")) if used else {}


def _alias() -> str:
    return router.db_for_write(Notification)
