"""Changes that a user makes in the inbox: read, unread, archive, mute.

Every change is announced to the user's connections by :mod:`notifications.inbox.announcing`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from .. import signals
from ..database.transactions import after_commit
from ..host.announcements import tell_receivers
from ..models import Notification, Receipt, Stream, Subscription, database_alias
from ..streams import feeds as stream_feeds
from ..streams import rights, subscriptions
from ..streams.feeds import Feed
from .announcing import announce
from .folders import MAX_ID, visible
from .read_state import Entry, entries, has_receipt, is_in, unread_above

#: How many ids one change may have.
MAX_IDS = 1000


class _Changed(NamedTuple):
    """The ids of the changed notifications, and the feeds that they belong to."""

    ids: list[int]
    feeds: list[Feed]


def mark_read(user: AbstractBaseUser, ids: Iterable[int], origin: str = "") -> list[int]:
    """Mark notifications of the user's inbox as read. Ids that are not in it are ignored.

    Args:
        user: the owner of the inbox.
        ids: primary keys, 1000 at most.
        origin: client id of the connection that makes the change. The user's other connections
            are notified.

    Returns:
        The ids that were unread before.

    Raises:
        ValueError: there are too many ids, or one is not an integer.
    """
    now = timezone.now()
    changed = _change(
        user,
        ids,
        keep=lambda entry: not entry.read,
        made=lambda entry: Receipt(read_at=now, archived_at=now if entry.archived else None),
    )
    if changed.ids:
        _advance_read_marks(user, changed.feeds)
        after_commit(database_alias(), _signal_read, user, changed.ids)
        announce(user, "read", changed.ids, origin)
    return changed.ids


def mark_unread(user: AbstractBaseUser, ids: Iterable[int], origin: str = "") -> list[int]:
    """Mark as unread, and move out of the archive.

    Takes the arguments of :func:`mark_read`, and returns the ids that were read or archived.
    """
    changed = _change(
        user, ids, keep=lambda entry: entry.read or entry.archived, made=lambda entry: Receipt()
    )
    if changed.ids:
        announce(user, "unread", changed.ids, origin)
    return changed.ids


def archive(user: AbstractBaseUser, ids: Iterable[int], origin: str = "") -> list[int]:
    """Mark as read, and move to the archive.

    Takes the arguments of :func:`mark_read`, and returns the ids that were not archived.
    """
    now = timezone.now()
    changed = _change(
        user,
        ids,
        keep=lambda entry: not entry.archived,
        made=lambda entry: Receipt(read_at=entry.read_at or now, archived_at=now),
    )
    if changed.ids:
        _advance_read_marks(user, changed.feeds)
        announce(user, "archive", changed.ids, origin)
    return changed.ids


def read_all(user: AbstractBaseUser, origin: str = "") -> None:
    """Mark all notifications that are in the inbox now as read."""
    feeds = _in_order(stream_feeds.load_inbox(user))
    with transaction.atomic(using=database_alias()):
        for feed in feeds:
            if feed.read < feed.top:
                _subscription(user, feed).update(read=Greatest("read", feed.top))
        Receipt.objects.filter(user=user.pk, read_at=None).update(read_at=timezone.now())
    announce(user, "read_all", origin=origin, marks=_tops(feeds))


def archive_all(user: AbstractBaseUser, origin: str = "") -> None:
    """Archive all notifications that are in the inbox now."""
    now = timezone.now()
    feeds = _in_order(stream_feeds.load_inbox(user))
    with transaction.atomic(using=database_alias()):
        for feed in feeds:
            if feed.archived < feed.top:
                _subscription(user, feed).update(
                    read=Greatest("read", feed.top), archived=Greatest("archived", feed.top)
                )
        Receipt.objects.filter(user=user.pk, archived_at=None).update(
            read_at=Coalesce("read_at", now), archived_at=now
        )
    announce(user, "archive_all", origin=origin, marks=_tops(feeds))


def mute(user: AbstractBaseUser, name: str, muted: bool = True) -> bool:
    """Mute or unmute a stream.

    A muted stream is still listed in the inbox, but has no live pushes and no unread count.

    Returns:
        False if the user is not subscribed to the stream.
    """
    if not subscriptions.mute(user.pk, name, muted):
        # Who was created in bulk and has never connected is subscribed now.
        stream_feeds.load_inbox(user)
        if not subscriptions.mute(user.pk, name, muted):
            return False
    rights.changed([user.pk])
    announce(user, "mute" if muted else "unmute", channel=name)
    return True


def _tops(feeds: Iterable[Feed]) -> dict[str, int]:
    return {feed.name: feed.top for feed in feeds}


def _change(
    user: AbstractBaseUser,
    ids: Iterable[int],
    *,
    keep: Callable[[Entry], bool],
    made: Callable[[Entry], Receipt],
) -> _Changed:
    """Write a receipt, which ``made`` returns, for each entry that ``keep`` selects."""
    wanted = _check_ids(ids)
    feeds = _in_order(stream_feeds.load_inbox(user))
    published = Notification.objects.using(database_alias()).published()
    # In the order of primary keys, so that changes from two devices cannot deadlock.
    rows = list(published.filter(is_in(user, feeds), pk__in=wanted).order_by("pk"))
    kept = [entry for entry in entries(user, rows, feeds) if keep(entry)]
    receipts = []
    for entry in kept:
        receipt = made(entry)
        receipt.user_id = user.pk
        receipt.notification = entry.notification
        receipts.append(receipt)
    Receipt.objects.bulk_create(
        receipts,
        update_conflicts=True,
        unique_fields=["user", "notification"],
        update_fields=["read_at", "archived_at"],
    )
    changed_streams = {entry.notification.stream_id for entry in kept}
    return _Changed(
        [entry.notification.pk for entry in kept],
        [feed for feed in feeds if feed.stream_id in changed_streams],
    )


def _in_order(feeds: Iterable[Feed]) -> list[Feed]:
    """Sort feeds by the keys of their streams: the order in which subscriptions are locked."""
    return sorted(feeds, key=lambda feed: feed.stream_id)


def _check_ids(ids: Iterable[int]) -> set[int]:
    """Return the ids that are in the range of primary keys.

    Raises:
        ValueError: there are too many ids, or one is not an integer.
    """
    wanted = set(ids)
    if len(wanted) > MAX_IDS:
        raise ValueError(f"at most {MAX_IDS} ids")
    if not all(isinstance(pk, int) for pk in wanted):
        raise ValueError("ids must be integers")
    return {pk for pk in wanted if 0 < pk <= MAX_ID}


def _advance_read_marks(user: AbstractBaseUser, feeds: Iterable[Feed]) -> None:
    """Move each read mark up to the first unread notification, so that counting stays cheap."""
    for feed in feeds:
        unread = visible().filter(
            ~has_receipt(user), stream=feed.stream_id, offset__gt=unread_above(feed)
        )
        first = unread.order_by("offset").values_list("offset", flat=True).first()
        # The top was loaded earlier, so anything published since then stays above the mark.
        mark = feed.top if first is None else first - 1
        if mark > feed.read:
            _subscription(user, feed).update(read=Greatest("read", mark))


def _subscription(user: AbstractBaseUser, feed: Feed) -> QuerySet[Subscription]:
    """The row behind a feed, unless the stream's epoch has changed since the feed was loaded."""
    same = Stream.objects.filter(pk=feed.stream_id, epoch=feed.epoch)
    return Subscription.objects.filter(Exists(same), user=user.pk, stream=feed.stream_id)


def _signal_read(user: AbstractBaseUser, ids: list[int]) -> None:
    tell_receivers(signals.read, Receipt, user_id=user.pk, ids=ids)
