"""The ends of streams, by their rows and by their notifications, which may disagree."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from django.db.models import OuterRef, QuerySet, Subquery

from ..models import Notification, NotificationQuerySet, Stream, database_alias

#: Streams per transaction.
STREAMS_PER_TRANSACTION = 100


class Head(NamedTuple):
    """A stream, and the highest offset among its notifications (None if it has none)."""

    id: int
    epoch: str
    top: int
    published_at: datetime | None
    highest: int | None
    highest_at: datetime | None

    @property
    def real_top(self) -> int:
        return max(self.top, self.highest or 0)


def last_common_offset(head: Head, newest: datetime | None) -> int:
    """The highest offset that the old and the present history have in common.

    Args:
        head: of the present history.
        newest: when the newest known entry of the old history was published; None if that is not
            known, and then the result is the top.
    """
    if newest is None:
        return head.real_top
    rows = _published(head.id)
    same = rows.filter(published_at__lte=newest).order_by("-published_at", "-id")
    offset = same.values_list("offset", flat=True).first()
    if offset is not None:
        return offset
    first = rows.order_by("offset").values_list("offset", flat=True).first()
    return head.real_top if first is None else first - 1


def all_heads(since: datetime | None) -> Iterator[list[Head]]:
    after = 0
    while True:
        rows = Stream.objects.using(database_alias()).filter(pk__gt=after).order_by("pk")
        if since is not None:
            rows = rows.filter(published_at__gte=since)
        keys = list(rows.values_list("pk", flat=True)[:STREAMS_PER_TRANSACTION])
        if not keys:
            return
        yield read_heads(streams_of(keys))
        after = keys[-1]


def read_heads(rows: QuerySet[Stream]) -> list[Head]:
    theirs = Notification.objects.filter(stream=OuterRef("pk"), offset__isnull=False)
    last = theirs.order_by("-offset")
    annotated = rows.order_by("pk").annotate(
        highest=Subquery(last.values("offset")[:1]),
        highest_at=Subquery(last.values("published_at")[:1]),
    )
    fields = ("pk", "epoch", "top", "published_at", "highest", "highest_at")
    return [Head(*values) for values in annotated.values_list(*fields)]


def streams_of(keys: Iterable[int]) -> QuerySet[Stream]:
    return Stream.objects.using(database_alias()).filter(pk__in=list(keys))


def _published(stream_id: int) -> NotificationQuerySet:
    return Notification.objects.using(database_alias()).published().filter(stream=stream_id)
