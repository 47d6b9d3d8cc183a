"""Read state of one user: unread count, pages of the inbox, read, unread, archive.

Every change is told to the user's other connections by a ``message`` push and leaves a mark
(the revision of the user's own stream) for workers that a lost hint did not reach.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial, reduce
from operator import or_
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from django.db import router, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from . import signals, streams, subscriptions
from .conf import app_settings
from .layer import send_message
from .models import Notification, NotificationQuerySet, Receipt, Subscription
from .subscriptions import Feed

Folder = Literal["unread", "all", "archived"]
FOLDERS: tuple[Folder, ...] = get_args(Folder)

#: Largest page, and most ids in one change.
MAX_PAGE = 100
MAX_IDS = 1000


class Entry(NamedTuple):
    notification: Notification
    read: bool
    archived: bool


class Entries(NamedTuple):
    """A page of the inbox, newest first. ``next`` asks for the following page, "" for none."""

    entries: list[Entry]
    next: str


def unread_count(user: Any) -> int:
    """How many visible notifications the user has not read; muted streams do not count.

    Counted up to the setting ``MAX_UNREAD_COUNT``.
    """
    feeds = [feed for feed in subscriptions.load_inbox(user) if not feed.muted]
    if not feeds:
        return 0
    most = app_settings.MAX_UNREAD_COUNT
    fresh = reduce(or_, (Q(stream=f.stream_id, offset__gt=_read_mark(f)) for f in feeds))
    count = _visible().filter(fresh, ~_receipt(user))[:most].count()
    return int(min(most, count + _marked_unread(user, feeds)[:most].count()))


def list_entries(user: Any, folder: Folder = "all", before: str = "", limit: int = 20) -> Entries:
    """A page of a folder.

    Args:
        user: whose inbox.
        folder: ``unread``, ``all`` (all but archived) or ``archived``.
        before: the ``next`` of the page before, "" for the newest.
        limit: entries per page, 1 to 100.

    Raises:
        ValueError: ``folder``, ``before`` or ``limit`` is not one of these.
    """
    if folder not in FOLDERS:
        raise ValueError(f"folder must be one of {', '.join(FOLDERS)}")
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit must be 1 to {MAX_PAGE}")
    older = _older_than(before)
    feeds = subscriptions.load_inbox(user)
    parts = [part.filter(older) for part in _folder(user, folder, feeds)]
    if not parts:
        return Entries([], "")
    ids = (
        Q(pk__in=part.order_by("-published_at", "-id").values("pk")[: limit + 1]) for part in parts
    )
    found = Notification.objects.filter(reduce(or_, ids)).select_related("actor", "stream")
    rows = list(found.order_by("-published_at", "-id")[: limit + 1])
    page = rows[:limit]
    return Entries(_entries(user, page, feeds), _cursor(page[-1]) if len(rows) > limit else "")


def mark_read(user: Any, ids: Iterable[int], origin: str = "") -> list[int]:
    """Mark notifications of the user's inbox as read; ids of others' are passed over.

    Args:
        user: whose inbox.
        ids: primary keys, 1000 at most.
        origin: the client that asks; its other connections are told.

    Returns:
        The ids that were unread before.

    Raises:
        ValueError: too many ids.
    """
    now = timezone.now()
    changed = _change(
        user,
        ids,
        keep=lambda entry: not entry.read,
        fresh=lambda entry: Receipt(read_at=now, archived_at=now if entry.archived else None),
        update={"read_at": Coalesce("read_at", now)},
    )
    if changed:
        _advance_read_marks(user)
        signals.read.send_robust(Receipt, user_id=user.pk, ids=changed)
        _announce(user, "read", changed, origin)
    return changed


def mark_unread(user: Any, ids: Iterable[int], origin: str = "") -> list[int]:
    """Mark as unread, and take out of the archive. Arguments and result as :func:`mark_read`."""
    changed = _change(
        user,
        ids,
        keep=lambda entry: entry.read or entry.archived,
        fresh=lambda entry: Receipt(),
        update={"read_at": None, "archived_at": None},
    )
    if changed:
        _announce(user, "unread", changed, origin)
    return changed


def archive(user: Any, ids: Iterable[int], origin: str = "") -> list[int]:
    """Move to the archive, as read. Arguments and result as :func:`mark_read`."""
    now = timezone.now()
    changed = _change(
        user,
        ids,
        keep=lambda entry: not entry.archived,
        fresh=lambda entry: Receipt(read_at=now, archived_at=now),
        update={"read_at": Coalesce("read_at", now), "archived_at": now},
    )
    if changed:
        _advance_read_marks(user)
        _announce(user, "archive", changed, origin)
    return changed


def read_all(user: Any, origin: str = "") -> None:
    """Mark all that is in the inbox now as read."""
    feeds = subscriptions.load_inbox(user)
    with transaction.atomic():
        for feed in feeds:
            _subscription(user, feed).update(read=Greatest("read", feed.top))
        Receipt.objects.filter(user=user.pk, read_at=None).update(read_at=timezone.now())
    _announce(user, "read_all", [], origin)


def archive_all(user: Any, origin: str = "") -> None:
    """Archive all that is in the inbox now."""
    now = timezone.now()
    feeds = subscriptions.load_inbox(user)
    with transaction.atomic():
        for feed in feeds:
            _subscription(user, feed).update(
                read=Greatest("read", feed.top), archived=Greatest("archived", feed.top)
            )
        Receipt.objects.filter(user=user.pk, archived_at=None).update(
            read_at=Coalesce("read_at", now), archived_at=now
        )
    _announce(user, "archive_all", [], origin)


def mute(user: Any, name: str, muted: bool = True) -> bool:
    """Mute or unmute a stream: no live pushes and no unread count from it, but still listed.

    Returns:
        False when the user is not subscribed to the stream.
    """
    if not subscriptions.mute(user.pk, name, muted):
        return False
    _announce(user, "mute" if muted else "unmute", [], "")
    return True


def _visible() -> NotificationQuerySet:
    return Notification.objects.visible()


def _read_mark(feed: Feed) -> int:
    return max(feed.since, feed.read, feed.archived)


def _receipt(user: Any, **having: Any) -> Exists:
    return Exists(Receipt.objects.filter(user=user.pk, notification=OuterRef("pk"), **having))


def _marked_unread(user: Any, feeds: list[Feed]) -> NotificationQuerySet:
    marked = Receipt.objects.filter(user=user.pk, read_at=None, archived_at=None)
    return _visible().filter(
        pk__in=marked.values("notification"), stream__in=[feed.stream_id for feed in feeds]
    )


def _folder(user: Any, folder: Folder, feeds: list[Feed]) -> list[NotificationQuerySet]:
    """Querysets whose union is the folder; each can be cut after the newest few."""
    parts = []
    for feed in feeds:
        rows = _visible().filter(stream=feed.stream_id, offset__gt=feed.since)
        if folder == "unread":
            parts.append(rows.filter(~_receipt(user), offset__gt=_read_mark(feed)))
        elif folder == "all":
            archived = _receipt(user, archived_at__isnull=False)
            parts.append(
                rows.filter(~archived).filter(Q(offset__gt=feed.archived) | Q(_receipt(user)))
            )
        elif feed.archived > feed.since:
            parts.append(rows.filter(~_receipt(user), offset__lte=feed.archived))
    if folder == "unread":
        parts.append(_marked_unread(user, feeds))
    if folder == "archived":
        marked = Receipt.objects.filter(user=user.pk, archived_at__isnull=False)
        own = [feed.stream_id for feed in feeds]
        parts.append(_visible().filter(pk__in=marked.values("notification"), stream__in=own))
    return parts


def _entries(user: Any, rows: list[Notification], feeds: list[Feed]) -> list[Entry]:
    by_stream = {feed.stream_id: feed for feed in feeds}
    receipts = {
        receipt.notification_id: receipt
        for receipt in Receipt.objects.filter(user=user.pk, notification__in=rows)
    }
    return [_entry(row, by_stream[row.stream_id], receipts.get(row.pk)) for row in rows]


def _entry(row: Notification, feed: Feed, receipt: Receipt | None) -> Entry:
    if receipt is not None:
        return Entry(row, receipt.read_at is not None, receipt.archived_at is not None)
    offset = row.offset or 0
    archived = offset <= feed.archived
    return Entry(row, archived or offset <= feed.read, archived)


def _change(
    user: Any,
    ids: Iterable[int],
    *,
    keep: Callable[[Entry], bool],
    fresh: Callable[[Entry], Receipt],
    update: dict[str, Any],
) -> list[int]:
    """Update the receipts of those entries that ``keep`` selects; make ``fresh`` ones."""
    wanted = set(ids)
    if len(wanted) > MAX_IDS:
        raise ValueError(f"at most {MAX_IDS} ids")
    feeds = subscriptions.load_inbox(user)
    own = reduce(or_, (Q(stream=f.stream_id, offset__gt=f.since) for f in feeds), Q(pk=None))
    rows = list(Notification.objects.published().filter(own, pk__in=wanted).order_by("pk"))
    entries = [entry for entry in _entries(user, rows, feeds) if keep(entry)]
    changed = [entry.notification.pk for entry in entries]
    if not changed:
        return []
    with transaction.atomic():
        Receipt.objects.filter(user=user.pk, notification__in=changed).update(**update)
        Receipt.objects.bulk_create(
            [_made_out(fresh(entry), user, entry) for entry in entries], ignore_conflicts=True
        )
    return changed


def _made_out(receipt: Receipt, user: Any, entry: Entry) -> Receipt:
    receipt.user_id = user.pk
    receipt.notification = entry.notification
    return receipt


def _advance_read_marks(user: Any) -> None:
    """Move each read mark up to the first unread notification, so that counting stays short."""
    for feed in subscriptions.load_inbox(user):
        unread = _visible().filter(
            ~_receipt(user), stream=feed.stream_id, offset__gt=_read_mark(feed)
        )
        first = unread.order_by("offset").values_list("offset", flat=True).first()
        mark = feed.top if first is None else first - 1
        if mark > feed.read:
            _subscription(user, feed).update(read=Greatest("read", mark))


def _subscription(user: Any, feed: Feed) -> Any:
    return Subscription.objects.filter(user=user.pk, stream=feed.stream_id)


def _announce(user: Any, change: str, ids: list[int], origin: str) -> None:
    transaction.on_commit(
        partial(_tell, user, change, ids, origin),
        using=router.db_for_write(Receipt),
        robust=True,
    )


def _tell(user: Any, change: str, ids: list[int], origin: str) -> None:
    own = streams.user_stream(user.pk)
    streams.touch([own])
    message = {"type": change, "ids": ids, "unread": unread_count(user)}
    send_message(own, msgspec.json.encode(message), origin)


def _older_than(cursor: str) -> Q:
    if not cursor:
        return Q()
    moment, _, pk = cursor.partition("_")
    try:
        published_at, last = datetime.fromisoformat(moment), int(pk)
    except ValueError:
        raise ValueError("before is not a position in the inbox") from None
    if timezone.is_naive(published_at):
        raise ValueError("before is not a position in the inbox")
    return Q(published_at__lt=published_at) | Q(published_at=published_at, pk__lt=last)


def _cursor(row: Notification) -> str:
    assert row.published_at is not None, "the inbox lists published notifications"
    return f"{row.published_at.isoformat().replace('+00:00', 'Z')}_{row.pk}"
