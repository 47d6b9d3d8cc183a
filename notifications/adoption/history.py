"""Imported notifications become the beginning of their recipient's stream.

Within a stream ``published_at`` ascends strictly with the offset, so what is older comes first. In
a stream where something was published already, that moves up behind the imported ones. The stream
gets a new epoch, because its offsets stand for something else then: a client that is connected
comes back and fetches the inbox. Nothing that is imported is sent to anybody: all of it counts as
delivered.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F, Min

from ..database.transactions import update_rows
from ..models import Notification, NotificationQuerySet, Receipt, Stream, Subscription, new_epoch
from ..streams.instants import MICROSECOND


class Beginning(NamedTuple):
    """Places for what is imported into one stream, in their order.

    Args:
        times: when each counts as published.
        receipts: which of them need a receipt, because the marks of the user say otherwise.
    """

    times: list[datetime]
    receipts: list[bool]


def times(stamps: Sequence[datetime], before: datetime) -> list[datetime]:
    """Strictly ascending times, as near to these as that allows.

    Args:
        stamps: in their order.
        before: all times lie before this one.
    """
    found: list[datetime] = []
    for number, stamp in enumerate(stamps):
        least = found[-1] + MICROSECOND if found else stamp
        found.append(min(max(stamp, least), before - (len(stamps) - number) * MICROSECOND))
    return found


def best_mark(unread: Sequence[bool]) -> int:
    """The read mark that needs the fewest receipts: all up to it is read, all behind it is not."""
    first = next((number for number, is_unread in enumerate(unread) if is_unread), len(unread))
    last = max((number for number, is_unread in enumerate(unread, 1) if not is_unread), default=0)
    read_behind = sum(not is_unread for is_unread in unread[first:])
    unread_below = sum(unread[:last])
    return first if read_behind <= unread_below else last


class Rewriting:
    """Prepends to streams that are locked, as are the subscriptions to them.

    Args:
        alias: of the database.
        now: by the clock that decides.
    """

    def __init__(self, alias: str, now: datetime) -> None:
        self._alias = alias
        self._now = now
        self._streams: list[tuple[object, ...]] = []
        self._published: list[tuple[object, ...]] = []
        self._subscriptions: list[tuple[object, ...]] = []

    def make_room(
        self,
        stream: Stream,
        subscription: Subscription,
        stamps: Sequence[datetime],
        unread: Sequence[bool],
    ) -> Beginning:
        """Move up what is in a stream, and say what goes before it.

        Args:
            stream: of one user.
            subscription: the user's.
            stamps: when each of those that are imported happened, ascending.
            unread: which of them are unread.
        """
        count = len(stamps)
        before = self._oldest(stream) or self._now
        if stream.top:
            self._move_up(stream, count)
        ready = times(stamps, before)
        # Where a user has read or archived since then, the marks have moved behind all of these.
        read = subscription.read + count if subscription.read else best_mark(unread)
        archived = subscription.archived + count if subscription.archived else 0
        receipts = [
            bool(archived) or is_unread == (offset <= read)
            for offset, is_unread in enumerate(unread, 1)
        ]
        floor = stream.floor + count if stream.floor else 0
        self._streams.append(
            (stream.top + count, floor, new_epoch(), stream.revision + 1, stream.pk)
        )
        if stream.published_at is None and ready:
            self._published.append((ready[-1], stream.pk))
        self._subscriptions.append(
            (
                subscription.since + count if subscription.since else 0,
                subscription.delivered + count,
                read,
                archived,
                subscription.unmuted + count if subscription.unmuted else 0,
                subscription.pk,
            )
        )
        return Beginning(ready, receipts)

    def store(self) -> None:
        """Write the new ends of the streams, and the marks of the users."""
        fields = ["top", "floor", "epoch", "revision"]
        update_rows(self._alias, Stream, fields, self._streams)
        update_rows(self._alias, Stream, ["published_at"], self._published)
        marks = ["since", "delivered", "read", "archived", "unmuted"]
        update_rows(self._alias, Subscription, marks, self._subscriptions)

    def _oldest(self, stream: Stream) -> datetime | None:
        if not stream.top:
            return None
        oldest: datetime | None = self._rows(stream).aggregate(at=Min("published_at"))["at"]
        return oldest or stream.published_at

    def _move_up(self, stream: Stream, count: int) -> None:
        """In two steps, so that no offset is given twice meanwhile."""
        self._rows(stream).update(offset=F("offset") + stream.top + count)
        self._rows(stream).update(offset=F("offset") - stream.top)

    def _rows(self, stream: Stream) -> NotificationQuerySet:
        return Notification.objects.using(self._alias).published().filter(stream=stream)


class Entry(NamedTuple):
    """A notification to insert, and whether its user needs a receipt; ``unread`` is its state."""

    notification: Notification
    user_id: Any
    needs_receipt: bool
    unread: bool


def insert(alias: str, entries: Iterator[Entry], now: datetime, size: int) -> None:
    """Write notifications that have their places, and receipts.

    Args:
        alias: of the database.
        entries: any number.
        now: when those that are read count as read, which nobody has written down.
        size: how many are in memory at once.
    """
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == size:
            _insert(alias, batch, now)
            batch = []
    _insert(alias, batch, now)


def _insert(alias: str, batch: Sequence[Entry], now: datetime) -> None:
    Notification.objects.using(alias).bulk_create([entry.notification for entry in batch])
    receipts = [
        Receipt(
            user_id=entry.user_id,
            notification=entry.notification,
            read_at=None if entry.unread else now,
        )
        for entry in batch
        if entry.needs_receipt
    ]
    Receipt.objects.using(alias).bulk_create(receipts)
