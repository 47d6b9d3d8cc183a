"""Waiting notifications become publications: offsets after the caller's commit, then the hint.

An offset cannot be given inside the caller's transaction: a counter locked there would serialize
and deadlock business transactions, and an auto-increment id lets a late commit slip behind a
reader's position. So rows wait with ``offset`` NULL, and whoever comes first (the caller's
``on_commit``, any worker's ticker) gives the next offsets in a short transaction of its own.
Scheduling is the same: ``publish_at`` in the future keeps a row waiting.
"""

import logging
from collections.abc import Iterable
from datetime import datetime

from django.db import DatabaseError, connections, router, transaction
from django.utils import timezone

from .history import publication
from .layer import send_publication
from .metrics import DATABASE_ERRORS, PUBLISHED
from .models import Notification, Stream
from .signals import published

logger = logging.getLogger(__name__)

#: Notifications and streams per transaction: locks stay short.
BATCH = 500


def sequence(stream_ids: Iterable[int], now: datetime | None = None) -> int:
    """Give offsets to what is due in these streams, and announce it.

    Args:
        stream_ids: primary keys of streams, any number.
        now: the moment that decides what is due; default the present.

    Returns:
        The number of notifications published.
    """
    now = now or timezone.now()
    ids = sorted(set(stream_ids))
    count = 0
    for start in range(0, len(ids), BATCH):
        chunk = ids[start : start + BATCH]
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
    """
    now = now or timezone.now()
    count = 0
    while stream_ids := _due_streams(now):
        batch = _give_offsets(stream_ids, now, skip_locked=True)
        announce(batch)
        count += len(batch)
        if len(batch) < BATCH:
            break
    return count


def announce(batch: Iterable[Notification]) -> None:
    """Send the hint and the ``published`` signal for sequenced notifications."""
    for notification in batch:
        offset, data = publication(notification)
        send_publication(notification.stream.name, notification.stream.epoch, offset, data)
        PUBLISHED.inc()
        if published.has_listeners(Notification):
            published.send_robust(Notification, notification=notification)


def _due_streams(now: datetime) -> list[int]:
    due = Notification.objects.waiting().filter(publish_at__lte=now)
    return sorted(set(due.order_by("publish_at", "id").values_list("stream", flat=True)[:BATCH]))


def _give_offsets(stream_ids: list[int], now: datetime, *, skip_locked: bool) -> list[Notification]:
    """One transaction: lock the streams in id order, number what is due, store the tops."""
    alias = router.db_for_write(Notification)
    with transaction.atomic(using=alias):
        streams = _lock(stream_ids, alias, skip_locked)
        due = _due(list(streams), now, alias)
        if not due:
            return []
        for notification in due:
            stream = streams[notification.stream_id]
            stream.top += 1
            notification.stream = stream
            notification.offset = stream.top
            notification.published_at = now
        Notification.objects.using(alias).bulk_update(due, ["offset", "published_at"])
        changed = {notification.stream_id for notification in due}
        Stream.objects.using(alias).bulk_update([streams[pk] for pk in changed], ["top"])
    return due


def _lock(stream_ids: list[int], alias: str, skip_locked: bool) -> dict[int, Stream]:
    # SQLite locks the whole database when the transaction begins (BEGIN IMMEDIATE).
    can_skip = connections[alias].features.has_select_for_update_skip_locked
    rows = Stream.objects.using(alias).select_for_update(skip_locked=skip_locked and can_skip)
    return {stream.pk: stream for stream in rows.filter(pk__in=stream_ids).order_by("pk")}


def _due(stream_ids: list[int], now: datetime, alias: str) -> list[Notification]:
    due = Notification.objects.using(alias).waiting()
    due = due.filter(stream__in=stream_ids, publish_at__lte=now).select_related("actor")
    return list(due.order_by("publish_at", "id")[:BATCH])
