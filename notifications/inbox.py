"""Read state of one user: unread count, pages of the inbox, read, unread, archive.

Every change is told to the user's other connections by a ``message`` push and leaves a mark
(the revision of the user's own stream) for workers that a lost hint did not reach.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

import msgspec
from django.db import router, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from . import rights, signals, streams, subscriptions
from .conf import app_settings
from .database import after_commit
from .layer import send_message
from .models import (
    Notification,
    NotificationQuerySet,
    Receipt,
    Subscription,
    receipt_of,
)
from .subscriptions import Feed

Folder = Literal["unread", "all", "archived"]
FOLDERS: tuple[Folder, ...] = get_args(Folder)

#: Largest page, and most ids in one change.
MAX_PAGE = 100
MAX_IDS = 1000

#: Largest primary key that a database column holds.
MAX_ID = 2**63 - 1


class Entry(NamedTuple):
    notification: Notification
    read: bool
    archived: bool


class Entries(NamedTuple):
    """A page of the inbox, newest first. ``next`` asks for the following page, "" for none."""

    entries: list[Entry]
    next: str


class _Position(NamedTuple):
    """The last entry of a page."""

    published_at: datetime
    pk: int


class _State(NamedTuple):
    entry: Entry
    read_at: datetime | None


class _Changed(NamedTuple):
    """What a change has met: ids of notifications, and the feeds they are in."""

    ids: list[int]
    feeds: list[Feed]


def unread_count(user: Any) -> int:
    """How many visible notifications the user has not read; muted streams do not count.

    Counted up to the setting ``MAX_UNREAD_COUNT``.
    """
    return count_unread(user, subscriptions.load_inbox(user))


def count_unread(user: Any, feeds: Iterable[Feed]) -> int:
    """:func:`unread_count` for feeds that have been loaded already."""
    loud = [feed for feed in feeds if not feed.muted]
    most = app_settings.MAX_UNREAD_COUNT
    return _newest(_unread_parts(user, loud, None), most)[:most].count()


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
    position = _parse(before)
    feeds = subscriptions.load_inbox(user)
    found = _newest(_folder(user, folder, feeds, position), limit + 1)
    found = found.select_related("actor", "stream").order_by("-published_at", "-id")
    rows = list(found[: limit + 1])
    page = [state.entry for state in _states(user, rows[:limit], feeds)]
    return Entries(page, _cursor(rows[limit - 1]) if len(rows) > limit else "")


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
        made=lambda state: Receipt(read_at=now, archived_at=now if state.entry.archived else None),
    )
    if changed.ids:
        _advance_read_marks(user, changed.feeds)
        after_commit(_alias(), _signal_read, user, changed.ids)
        _announce(user, "read", changed.ids, origin)
    return changed.ids


def mark_unread(user: Any, ids: Iterable[int], origin: str = "") -> list[int]:
    """Mark as unread, and take out of the archive. Arguments and result as :func:`mark_read`."""
    changed = _change(
        user, ids, keep=lambda entry: entry.read or entry.archived, made=lambda state: Receipt()
    )
    if changed.ids:
        _announce(user, "unread", changed.ids, origin)
    return changed.ids


def archive(user: Any, ids: Iterable[int], origin: str = "") -> list[int]:
    """Move to the archive, as read. Arguments and result as :func:`mark_read`."""
    now = timezone.now()
    changed = _change(
        user,
        ids,
        keep=lambda entry: not entry.archived,
        made=lambda state: Receipt(read_at=state.read_at or now, archived_at=now),
    )
    if changed.ids:
        _advance_read_marks(user, changed.feeds)
        _announce(user, "archive", changed.ids, origin)
    return changed.ids


def read_all(user: Any, origin: str = "") -> None:
    """Mark all that is in the inbox now as read."""
    feeds = subscriptions.load_inbox(user)
    with transaction.atomic(using=_alias()):
        for feed in feeds:
            if feed.read < feed.top:
                _subscription(user, feed).update(read=Greatest("read", feed.top))
        Receipt.objects.filter(user=user.pk, read_at=None).update(read_at=timezone.now())
    _announce(user, "read_all", [], origin)


def archive_all(user: Any, origin: str = "") -> None:
    """Archive all that is in the inbox now."""
    now = timezone.now()
    feeds = subscriptions.load_inbox(user)
    with transaction.atomic(using=_alias()):
        for feed in feeds:
            if feed.archived < feed.top:
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
    rights.changed([user.pk])
    _announce(user, "mute" if muted else "unmute", [], "")
    return True


def _alias() -> str:
    return router.db_for_write(Receipt)


def _visible() -> NotificationQuerySet:
    # A replica may not know yet what the user has just done.
    return Notification.objects.using(_alias()).visible()


def read_mark(feed: Feed) -> int:
    return max(feed.since, feed.read, feed.archived)


def _is_own(user: Any, feeds: Iterable[Feed], **having: Any) -> Exists:
    """Condition on a notification: it lies in one of these feeds.

    By a look at the subscription, and not by the streams' ids: with those SQLite would rather go
    through the whole history of the streams than through the few rows that are asked for.
    """
    return Exists(
        Subscription.objects.filter(
            user=user.pk,
            stream__in=[feed.stream_id for feed in feeds],
            stream=OuterRef("stream"),
            since__lt=OuterRef("offset"),
            **having,
        )
    )


def _newest(parts: Iterable[NotificationQuerySet], most: int) -> QuerySet[Notification]:
    """The newest ``most`` of each part, together.

    Each part is cut by itself, along an index, before they are put together: so the cost grows
    with the page and the number of parts, not with the history. (Conditions joined by OR would
    make PostgreSQL read the whole table.) The inner query is there because SQLite allows no
    LIMIT in the parts of a UNION.
    """
    rows = Notification.objects.using(_alias())
    cut = [rows.filter(pk__in=part.values("pk")[:most]).values("pk") for part in parts]
    if not cut:
        return rows.none()
    return rows.filter(pk__in=cut[0].union(*cut[1:], all=True) if cut[1:] else cut[0])


def _folder(
    user: Any, folder: Folder, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    """Querysets, newest first, whose union is the folder after ``position``."""
    if folder == "unread":
        return _unread_parts(user, feeds, position)
    if folder == "all":
        return _current_parts(user, feeds, position)
    return _archived_parts(user, feeds, position)


def _unread_parts(
    user: Any, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    by_marks = [
        _part(feed, position).filter(~receipt_of(user), offset__gt=read_mark(feed))
        for feed in feeds
        if feed.top > read_mark(feed)
    ]
    by_receipts = _marked(user, feeds, position, read_at=None, archived_at=None)
    return [*by_marks, by_receipts]


def _current_parts(
    user: Any, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    archived = receipt_of(user, archived_at__isnull=False)
    by_marks = [
        _part(feed, position).filter(~archived, offset__gt=max(feed.since, feed.archived))
        for feed in feeds
        if feed.top > max(feed.since, feed.archived)
    ]
    below = [feed for feed in feeds if feed.archived > feed.since]
    if not below:
        return by_marks
    # Taken out of the archive again: at or below the mark, where only a receipt can say so.
    is_below = _is_own(user, below, archived__gte=OuterRef("offset"))
    return [*by_marks, _marked(user, below, position, archived_at=None).filter(is_below)]


def _archived_parts(
    user: Any, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    by_marks = [
        _part(feed, position).filter(
            ~receipt_of(user), offset__gt=feed.since, offset__lte=feed.archived
        )
        for feed in feeds
        if feed.archived > feed.since
    ]
    by_receipts = _marked(user, feeds, position, archived_at__isnull=False)
    return [*by_marks, by_receipts]


def _part(feed: Feed, position: _Position | None) -> NotificationQuerySet:
    """One feed, newest first, after ``position``.

    By offset, because the marks are offsets. ``published_at`` ascends with it (see
    :mod:`notifications.sequencing`), so a position is an offset too: that of the newest older one.
    """
    rows = _visible().filter(stream=feed.stream_id).order_by("-offset")
    if position is None:
        return rows
    older = Notification.objects.published().filter(_older_than(position), stream=feed.stream_id)
    newest = older.order_by("-published_at", "-id").values("offset")[:1]
    return rows.filter(offset__lte=Subquery(newest))


def _marked(
    user: Any, feeds: list[Feed], position: _Position | None, **having: Any
) -> NotificationQuerySet:
    """Notifications of these feeds that the user has such receipts for, newest first."""
    receipts = Receipt.objects.filter(user=user.pk, **having)
    rows = _visible().filter(_is_own(user, feeds), pk__in=receipts.values("notification"))
    if position is not None:
        rows = rows.filter(_older_than(position))
    return rows.order_by("-published_at", "-id")


def _states(user: Any, rows: list[Notification], feeds: list[Feed]) -> list[_State]:
    by_stream = {feed.stream_id: feed for feed in feeds}
    own = Receipt.objects.using(_alias()).filter(user=user.pk, notification__in=rows)
    receipts = {receipt.notification_id: receipt for receipt in own}
    return [_state(row, by_stream[row.stream_id], receipts.get(row.pk)) for row in rows]


def _state(row: Notification, feed: Feed, receipt: Receipt | None) -> _State:
    if receipt is not None:
        is_read, is_archived = receipt.read_at is not None, receipt.archived_at is not None
        return _State(Entry(row, is_read, is_archived), receipt.read_at)
    offset = row.offset or 0
    archived = offset <= feed.archived
    return _State(Entry(row, archived or offset <= feed.read, archived), None)


def _change(
    user: Any,
    ids: Iterable[int],
    *,
    keep: Callable[[Entry], bool],
    made: Callable[[_State], Receipt],
) -> _Changed:
    """Write the receipts that ``made`` gives for those entries that ``keep`` selects."""
    wanted = _check_ids(ids)
    feeds = subscriptions.load_inbox(user)
    published = Notification.objects.using(_alias()).published()
    # In the order of their keys, so that two devices wait for each other and not both.
    rows = list(published.filter(_is_own(user, feeds), pk__in=wanted).order_by("pk"))
    states = [state for state in _states(user, rows, feeds) if keep(state.entry)]
    receipts = []
    for state in states:
        receipt = made(state)
        receipt.user_id = user.pk
        receipt.notification = state.entry.notification
        receipts.append(receipt)
    Receipt.objects.bulk_create(
        receipts,
        update_conflicts=True,
        unique_fields=["user", "notification"],
        update_fields=["read_at", "archived_at"],
    )
    met = {state.entry.notification.stream_id for state in states}
    return _Changed(
        [state.entry.notification.pk for state in states],
        [feed for feed in feeds if feed.stream_id in met],
    )


def _check_ids(ids: Iterable[int]) -> set[int]:
    """The ids that can exist.

    Raises:
        ValueError: too many, or something else than integers.
    """
    wanted = set(ids)
    if len(wanted) > MAX_IDS:
        raise ValueError(f"at most {MAX_IDS} ids")
    if not all(isinstance(pk, int) for pk in wanted):
        raise ValueError("ids must be integers")
    return {pk for pk in wanted if 0 < pk <= MAX_ID}


def _advance_read_marks(user: Any, feeds: Iterable[Feed]) -> None:
    """Move each read mark up to the first unread notification, so that counting stays short."""
    for feed in feeds:
        unread = _visible().filter(
            ~receipt_of(user), stream=feed.stream_id, offset__gt=read_mark(feed)
        )
        first = unread.order_by("offset").values_list("offset", flat=True).first()
        # The top was read before this, so what is published meanwhile stays above the mark.
        mark = feed.top if first is None else first - 1
        if mark > feed.read:
            _subscription(user, feed).update(read=Greatest("read", mark))


def _subscription(user: Any, feed: Feed) -> QuerySet[Subscription]:
    return Subscription.objects.filter(user=user.pk, stream=feed.stream_id)


def _signal_read(user: Any, ids: list[int]) -> None:
    signals.read.send_robust(Receipt, user_id=user.pk, ids=ids)


def _announce(user: Any, change: str, ids: list[int], origin: str) -> None:
    after_commit(_alias(), _tell, user, change, ids, origin)


def _tell(user: Any, change: str, ids: list[int], origin: str) -> None:
    own = streams.user_stream(user.pk)
    streams.touch([own])
    message = {"type": change, "ids": ids, "unread": unread_count(user)}
    send_message(own, msgspec.json.encode(message), origin)


def _older_than(position: _Position) -> Q:
    older = Q(published_at__lt=position.published_at) | Q(pk__lt=position.pk)
    return Q(published_at__lte=position.published_at) & older


def _parse(cursor: str) -> _Position | None:
    if not cursor:
        return None
    moment, _, pk = cursor.partition("_")
    try:
        published_at, last = datetime.fromisoformat(moment), int(pk)
        if timezone.is_aware(published_at) and 0 < last <= MAX_ID:
            return _Position(published_at.astimezone(UTC), last)
    except (ValueError, OverflowError):
        pass
    raise ValueError("before is not a position in the inbox")


def _cursor(row: Notification) -> str:
    assert row.published_at is not None, "the inbox lists published notifications"
    return f"{row.published_at.isoformat().replace('+00:00', 'Z')}_{row.pk}"
