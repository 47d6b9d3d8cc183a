"""Deletion of old notifications, unused streams and dead workers.

It takes many short transactions, so that publishing goes on meanwhile. A notification disappears in
one of them: it is withdrawn, and the floor of its stream is raised to its offset. Its receipts, of
which a broadcast may have very many, and the row itself are deleted after that. If a run is killed
in between, nobody sees a half deleted notification, and the next run deletes the rest.

Streams and their tops stay, because offsets are never given twice. Only topics without subscribers
that never had a notification are deleted, channels that never had a publication, and the streams of
users and groups that no longer exist.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connections, transaction
from django.db.models import Exists, OuterRef, Q

from ..conf import app_settings
from ..database.clock import read_clock
from ..database.transactions import update_rows
from ..models import (
    Notification,
    NotificationQuerySet,
    Receipt,
    Stream,
    Subscription,
    Worker,
    database_alias,
)
from . import access
from . import names as stream_names
from . import rows as stream_rows
from .rows import CHUNK

#: Rows of workers are kept for this time: one that is cut off from the database may come back.
DEAD_WORKER_AGE = timedelta(days=1)


@dataclass
class Pruned:
    """How much a run has deleted, or would delete."""

    published: int = 0
    #: Private notifications among them that the recipient was still owed: visible, not read, and
    #: not acknowledged by any device.
    undelivered: int = 0
    withdrawn: int = 0
    #: Streams without subscriptions and notifications: topics that never had any, and streams of
    #: users and groups that no longer exist.
    streams: int = 0
    workers: int = 0


class _Candidate(NamedTuple):
    pk: int
    stream_id: int
    offset: int


class _Hidden(NamedTuple):
    """The notifications that one transaction has hidden.

    Args:
        ids: primary keys of the notifications.
        undelivered: how many of them were still owed to their recipient.
        locked: ids of streams with a locked notification, which are left to the next run.
    """

    ids: list[int]
    undelivered: int
    locked: set[int]


def prune(before: datetime, *, dry_run: bool = False, now: datetime | None = None) -> Pruned:
    """Delete notifications that were published, or withdrawn while waiting, before a time.

    Waiting notifications that were not withdrawn stay, however old they are. A client whose
    position is below the floor gets ``recovered: false`` and has to fetch the inbox. The ``key`` of
    a deleted notification can be used again.

    Args:
        before: an aware datetime.
        dry_run: only count.
        now: the moment that decides what has expired and which workers are dead; default the
            present by the database's clock.

    Returns:
        How much was deleted, or would be.
    """
    now = now or read_clock(database_alias())
    pruned = Pruned()
    for stream_ids in _streams():
        if dry_run:
            _count(pruned, stream_ids, before, now)
        else:
            _prune_published(pruned, stream_ids, before, now)
            _prune_withdrawn(pruned, _withdrawn(stream_ids, before))
            pruned.streams += sum(_remove(name) for name in _unused(stream_ids))
    unplaced = _rows().filter(channel__isnull=False, withdrawn_at__lt=before)
    if dry_run:
        pruned.withdrawn += unplaced.count()
    else:
        _prune_withdrawn(pruned, unplaced)
    silence = max(DEAD_WORKER_AGE, timedelta(seconds=app_settings.WORKER_TIMEOUT))
    dead = Worker.objects.using(database_alias()).filter(seen_at__lt=now - silence)
    pruned.workers = dead.count()
    if not dry_run:
        dead.delete()
    return pruned


def _rows() -> NotificationQuerySet:
    return Notification.objects.using(database_alias())


def _streams() -> Iterator[list[int]]:
    rows = Stream.objects.using(database_alias()).order_by("pk").values_list("pk", flat=True)
    chunk = list(rows[:CHUNK])
    while chunk:
        yield chunk
        chunk = list(rows.filter(pk__gt=chunk[-1])[:CHUNK])


def _published(stream_ids: list[int], before: datetime) -> NotificationQuerySet:
    return _rows().published().filter(stream__in=stream_ids, published_at__lt=before)


def _withdrawn(stream_ids: list[int], before: datetime) -> NotificationQuerySet:
    return _rows().filter(stream__in=stream_ids, offset=None, withdrawn_at__lt=before)


def _undelivered(rows: NotificationQuerySet, now: datetime) -> int:
    """How many of these notifications are private and still owed to their recipient."""
    met = Subscription.objects.filter(
        Q(delivered__gte=OuterRef("offset")) | Q(read__gte=OuterRef("offset")),
        stream=OuterRef("stream"),
    )
    read = Receipt.objects.filter(notification=OuterRef("pk"), read_at__isnull=False)
    private = rows.visible(now).filter(stream__name__startswith=stream_names.USER_PREFIX)
    return private.filter(~Exists(met), ~Exists(read)).count()


def _count(pruned: Pruned, stream_ids: list[int], before: datetime, now: datetime) -> None:
    published = _published(stream_ids, before)
    pruned.published += published.count()
    pruned.undelivered += _undelivered(published, now)
    pruned.withdrawn += _withdrawn(stream_ids, before).count()
    pruned.streams += len(_unused(stream_ids))


def _prune_published(
    pruned: Pruned, stream_ids: list[int], before: datetime, now: datetime
) -> None:
    left = stream_ids
    while old := _oldest(left, before):
        hidden = _hide(old, now)
        _delete(hidden.ids)
        pruned.published += len(hidden.ids)
        pruned.undelivered += hidden.undelivered
        left = [pk for pk in left if pk not in hidden.locked]


def _oldest(stream_ids: list[int], before: datetime) -> list[_Candidate]:
    """The oldest rows, in order of their offsets within each stream."""
    rows = _published(stream_ids, before).order_by("stream", "offset")
    values = rows.values_list("pk", "stream", "offset")[:CHUNK]
    return [_Candidate(pk, stream_id, offset or 0) for pk, stream_id, offset in values]


def _hide(old: Sequence[_Candidate], now: datetime) -> _Hidden:
    """Raise the floors and withdraw, in one transaction that locks the streams in id order.

    A locked notification and those after it in its stream are left to the next run: waiting for it
    while the streams are locked would block publishing.
    """
    alias = database_alias()
    features = connections[alias].features
    with transaction.atomic(using=alias):
        rows = _rows().filter(pk__in=[row.pk for row in old]).order_by("pk")
        free = rows.select_for_update(
            no_key=features.has_select_for_no_key_update,
            skip_locked=features.has_select_for_update_skip_locked,
        )
        hidden, locked = _before_locked(old, set(free.values_list("pk", flat=True)))
        ids = [row.pk for row in hidden]
        undelivered = _undelivered(_rows().filter(pk__in=ids), now)
        floors: dict[int, int] = defaultdict(int)
        for row in hidden:
            floors[row.stream_id] = max(floors[row.stream_id], row.offset)
        found = list(stream_rows.locked(Stream.objects.using(alias).filter(pk__in=list(floors))))
        for stream in found:
            stream.floor = max(stream.floor, floors[stream.pk])
        update_rows(alias, Stream, ["floor"], [(stream.floor, stream.pk) for stream in found])
        _rows().filter(pk__in=ids, withdrawn_at=None).update(withdrawn_at=now)
    return _Hidden(ids, undelivered, locked)


def _before_locked(
    old: Iterable[_Candidate], free: Collection[int]
) -> tuple[list[_Candidate], set[int]]:
    """Split off the rows before the first locked one of each stream.

    Returns:
        These rows, and the ids of the streams that have a locked row.
    """
    found: list[_Candidate] = []
    locked: set[int] = set()
    for row in old:
        if row.pk not in free:
            locked.add(row.stream_id)
        elif row.stream_id not in locked:
            found.append(row)
    return found, locked


def _prune_withdrawn(pruned: Pruned, rows: NotificationQuerySet) -> None:
    keys = rows.order_by("pk").values_list("pk", flat=True)
    while ids := list(keys[:CHUNK]):
        _delete(ids)
        pruned.withdrawn += len(ids)


def _unused(stream_ids: list[int]) -> list[str]:
    """Names of streams that can be deleted; :func:`_is_unused` confirms each under its lock."""
    rows = Stream.objects.using(database_alias()).filter(
        ~Exists(Subscription.objects.filter(stream=OuterRef("pk"))),
        ~Exists(Notification.objects.filter(stream=OuterRef("pk"))),
        pk__in=stream_ids,
    )
    return [stream.name for stream in rows.order_by("pk") if _is_obsolete(stream)]


def _is_obsolete(stream: Stream) -> bool:
    """Return whether nothing was ever published in it, or whether its owner is gone.

    The stream of a user or group stays as long as its owner, even if it is empty.
    """
    if stream_names.is_channel(stream.name):
        return stream.top == 0
    try:
        kind = stream_names.parse(stream.name).kind
    except stream_names.UnknownStream:
        return False
    if kind == "topic":
        return stream.top == 0
    return kind in {"user", "group"} and not access.has_audience(stream.name)


def _is_unused(stream: Stream) -> bool:
    """Return whether a locked stream, which nobody can begin to use, can be deleted."""
    return stream_rows.is_empty(stream) and _is_obsolete(stream)


def _remove(name: str) -> bool:
    return stream_rows.remove_if(name, _is_unused)


def _delete(ids: list[int]) -> None:
    """Delete notifications that are hidden already: first their receipts, in chunks."""
    alias = database_alias()
    receipts = Receipt.objects.using(alias)
    theirs = receipts.filter(notification__in=ids).order_by("pk").values_list("pk", flat=True)
    while chunk := list(theirs[:CHUNK]):
        receipts.filter(pk__in=chunk).delete()
    with transaction.atomic(using=alias):
        # FOR UPDATE waits for transactions that are writing receipts, and lets no new ones begin.
        rows = _rows().filter(pk__in=ids).order_by("pk").select_for_update()
        _rows().filter(pk__in=list(rows.values_list("pk", flat=True))).delete()
