"""Whether one user has read or archived a notification: the one definition.

If the user has a receipt for the notification, the receipt alone decides. Without a receipt, the
marks of the user's subscription decide. A mark is an offset of the stream:

- ``since``: the user does not see what lies at or below it;
- ``read``: what lies at or below it is read;
- ``archived``: what lies at or below it is archived, and what is archived is read.

A notification is *unread* if it is neither read nor archived. An unread notification *counts*
unless its stream is muted: the unread count, ``Notification.objects.unread(user)`` and the badge
leave muted streams out, while the folders list them.

This module expresses the rule for rows that are in memory, for conditions on querysets, and as
filters that :mod:`notifications.inbox.counts` and :mod:`notifications.admin.reach` compile into
statements for many users.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Greatest

from ..models import Notification, NotificationQuerySet, Receipt, Subscription, database_alias
from ..options import Reader
from ..streams import feeds as stream_feeds
from ..streams.feeds import Feed

#: Filters on receipts: what each of them says about its notification.
SAYS_ARCHIVED = Q(archived_at__isnull=False)
SAYS_READ = Q(read_at__isnull=False) | SAYS_ARCHIVED
SAYS_UNREAD = Q(read_at=None, archived_at=None)

#: Expression on subscriptions: what lies at or below this offset is read, without a receipt.
READ_MARK = Greatest("read", "archived")


class Entry(NamedTuple):
    """A notification in the inbox of one user, and its state for that user."""

    notification: Notification
    read: bool
    archived: bool
    #: When it was read, if a receipt says so; a mark does not keep the time.
    read_at: datetime | None = None


def unread_above(feed: Feed) -> int:
    """The offset above which everything is unread, unless a receipt says otherwise."""
    return max(feed.since, feed.read, feed.archived)


def unmuted(feeds: Iterable[Feed]) -> list[Feed]:
    """Those feeds whose unread notifications count."""
    return [feed for feed in feeds if not feed.muted]


def entries(user: Reader, rows: list[Notification], feeds: list[Feed]) -> list[Entry]:
    """The state of each of these notifications, which lie in these feeds of the user."""
    by_stream = {feed.stream_id: feed for feed in feeds}
    own = Receipt.objects.using(database_alias()).filter(user=user.pk, notification__in=rows)
    receipts = {receipt.notification_id: receipt for receipt in own}
    return [_entry(row, by_stream[row.stream_id or 0], receipts.get(row.pk)) for row in rows]


def _entry(row: Notification, feed: Feed, receipt: Receipt | None) -> Entry:
    if receipt is not None:
        is_archived = receipt.archived_at is not None
        is_read = is_archived or receipt.read_at is not None
        return Entry(row, is_read, is_archived, receipt.read_at)
    offset = row.offset or 0
    is_archived = offset <= feed.archived
    return Entry(row, is_archived or offset <= feed.read, is_archived)


# Conditions on notifications


def has_receipt(user: Reader, says: Q | None = None) -> Exists:
    """The user has a receipt for the notification, which ``says`` this."""
    own = Receipt.objects.filter(user=user.pk, notification=OuterRef("pk"))
    return Exists(own if says is None else own.filter(says))


def is_in(user: Reader, feeds: Iterable[Feed], **marks: Any) -> Exists:
    """The notification lies in one of these feeds of the user, whose marks are as given.

    The condition looks at the subscription. With a plain list of streams, SQLite would walk the
    whole history of these streams instead of the few rows that are asked for.
    """
    return Exists(
        Subscription.objects.filter(
            user=user.pk,
            stream__in=[feed.stream_id for feed in feeds],
            stream=OuterRef("stream"),
            since__lt=OuterRef("offset"),
            **marks,
        )
    )


def is_unread(user: Reader, feeds: Iterable[Feed]) -> Q:
    """The notification, which lies in one of these feeds of the user, is unread."""
    offset = OuterRef("offset")
    above = Q(is_in(user, feeds, read__lt=offset, archived__lt=offset))
    return Q(has_receipt(user, SAYS_UNREAD)) | (above & ~Q(has_receipt(user)))


def is_archived(user: Reader, feeds: Iterable[Feed]) -> Q:
    """The notification, which lies in one of these feeds of the user, is archived."""
    below = Q(is_in(user, feeds, archived__gte=OuterRef("offset")))
    return Q(has_receipt(user, SAYS_ARCHIVED)) | (below & ~Q(has_receipt(user)))


# What the querysets of notifications ask


def _active(user: Reader) -> Q:
    return Q(is_in(user, stream_feeds.load_inbox(user)))


def _unread(user: Reader) -> Q:
    feeds = unmuted(stream_feeds.load_inbox(user))
    return Q(is_in(user, feeds)) & is_unread(user, feeds)


def _read(user: Reader) -> Q:
    feeds = stream_feeds.load_inbox(user)
    return Q(is_in(user, feeds)) & ~is_unread(user, feeds)


def _archived(user: Reader) -> Q:
    feeds = stream_feeds.load_inbox(user)
    return Q(is_in(user, feeds)) & is_archived(user, feeds)


NotificationQuerySet.states = {
    "active": _active,
    "unread": _unread,
    "read": _read,
    "archived": _archived,
}
