"""What one user's inbox shows: the unread count, and pages of its folders.

:mod:`notifications.inbox.read_state` defines what is read and what is archived. Here each folder
is a union of parts that can be read along an index: a part for each feed, by its marks, and a
part for the user's receipts.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from ..conf import app_settings
from ..models import Notification, NotificationQuerySet, Receipt, database_alias
from ..options import Reader
from ..streams import feeds as stream_feeds
from ..streams.feeds import Feed
from .read_state import (
    SAYS_ARCHIVED,
    SAYS_UNREAD,
    Entry,
    entries,
    has_receipt,
    is_in,
    unmuted,
    unread_above,
)

Folder = Literal["unread", "all", "archived"]
FOLDERS: tuple[Folder, ...] = get_args(Folder)

#: Largest page.
MAX_PAGE = 100

#: Largest primary key that a database column holds.
MAX_ID = 2**63 - 1


class Entries(NamedTuple):
    """A page of the inbox, newest first. ``next`` asks for the following page, "" for none."""

    entries: list[Entry]
    next: str


class Counts(NamedTuple):
    """How many entries each folder has, up to ``MAX_UNREAD_COUNT``; see :func:`count_folders`."""

    unread: int
    all: int
    archived: int


class _Position(NamedTuple):
    """The last entry of a page."""

    published_at: datetime
    pk: int


def unread_count(user: Reader) -> int:
    """How many visible notifications the user has not read; muted streams do not count.

    Counted up to the setting ``MAX_UNREAD_COUNT``.
    """
    return count_unread(user, stream_feeds.load_inbox(user))


def count_unread(user: Reader, feeds: Iterable[Feed]) -> int:
    """:func:`unread_count` for feeds that have been loaded already, up to their tops."""
    return _count(_unread_parts(user, unmuted(feeds), None))


def _count(parts: Iterable[NotificationQuerySet]) -> int:
    most = app_settings.MAX_UNREAD_COUNT
    return _newest(parts, most)[:most].count()


def count_entries(user: Reader, folder: Folder = "all") -> int:
    """How many entries a folder has, muted streams included; up to ``MAX_UNREAD_COUNT``.

    Raises:
        ValueError: there is no such folder.
    """
    if folder not in FOLDERS:
        raise ValueError(f"folder must be one of {', '.join(FOLDERS)}")
    return _count(_folder(user, folder, stream_feeds.load_inbox(user), None))


def count_folders(user: Reader) -> Counts:
    """Count ``all`` and ``archived`` as :func:`count_entries` does, and ``unread`` for the badge.

    So ``unread`` leaves out muted streams, as :func:`unread_count` does.
    """
    feeds = stream_feeds.load_inbox(user)
    return Counts(
        unread=count_unread(user, feeds),
        all=_count(_folder(user, "all", feeds, None)),
        archived=_count(_folder(user, "archived", feeds, None)),
    )


def list_entries(
    user: Reader, folder: Folder = "all", before: str = "", limit: int = 20
) -> Entries:
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
    feeds = stream_feeds.load_inbox(user)
    found = _newest(_folder(user, folder, feeds, position), limit + 1)
    found = found.select_related("actor", "stream").order_by("-published_at", "-id")
    rows = list(found[: limit + 1])
    page = entries(user, rows[:limit], feeds)
    return Entries(page, cursor(page[-1]) if len(rows) > limit else "")


def find_entry(user: Reader, pk: int) -> Entry | None:
    """The entry of one notification, in whichever folder it is.

    Args:
        user: whose inbox.
        pk: primary key of the notification.

    Returns:
        None if the notification is not in the user's inbox or archive.
    """
    if not 0 < pk <= MAX_ID:
        return None
    feeds = stream_feeds.load_inbox(user)
    rows = visible().filter(is_in(user, feeds), pk=pk).select_related("actor", "stream")
    found = entries(user, list(rows), feeds)
    return found[0] if found else None


def cursor(entry: Entry) -> str:
    """What asks for the page behind this entry: see :class:`Entries`."""
    row = entry.notification
    assert row.published_at is not None, "the inbox lists published notifications"
    return f"{row.published_at.isoformat().replace('+00:00', 'Z')}_{row.pk}"


def visible() -> NotificationQuerySet:
    # A replica may not know yet what the user has just done.
    return Notification.objects.using(database_alias()).visible()


def _newest(parts: Iterable[NotificationQuerySet], most: int) -> QuerySet[Notification]:
    """The newest ``most`` of each part, together.

    Each part is cut by itself, along an index, before they are put together: so the cost grows
    with the page and the number of parts, not with the history. (Conditions joined by OR would
    make PostgreSQL read the whole table.) The inner query is there because SQLite allows no
    LIMIT in the parts of a UNION.
    """
    rows = Notification.objects.using(database_alias())
    cut = [rows.filter(pk__in=part.values("pk")[:most]).values("pk") for part in parts]
    if not cut:
        return rows.none()
    return rows.filter(pk__in=cut[0].union(*cut[1:], all=True) if cut[1:] else cut[0])


def _folder(
    user: Reader, folder: Folder, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    """Querysets, newest first, whose union is the folder after ``position``."""
    if folder == "unread":
        return _unread_parts(user, feeds, position)
    if folder == "all":
        return _current_parts(user, feeds, position)
    return _archived_parts(user, feeds, position)


def _unread_parts(
    user: Reader, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    by_marks = [
        _part(feed, position).filter(
            ~has_receipt(user), offset__gt=unread_above(feed), offset__lte=feed.top
        )
        for feed in feeds
        if feed.top > unread_above(feed)
    ]
    by_receipts = _marked(user, feeds, position, SAYS_UNREAD)
    return [*by_marks, by_receipts]


def _current_parts(
    user: Reader, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    archived = has_receipt(user, SAYS_ARCHIVED)
    by_marks = [
        _part(feed, position).filter(~archived, offset__gt=max(feed.since, feed.archived))
        for feed in feeds
        if feed.top > max(feed.since, feed.archived)
    ]
    below = [feed for feed in feeds if feed.archived > feed.since]
    if not below:
        return by_marks
    # Taken out of the archive again: at or below the mark, where only a receipt can say so.
    is_below = is_in(user, below, archived__gte=OuterRef("offset"))
    return [*by_marks, _marked(user, below, position, ~SAYS_ARCHIVED).filter(is_below)]


def _archived_parts(
    user: Reader, feeds: list[Feed], position: _Position | None
) -> list[NotificationQuerySet]:
    by_marks = [
        _part(feed, position).filter(
            ~has_receipt(user), offset__gt=feed.since, offset__lte=feed.archived
        )
        for feed in feeds
        if feed.archived > feed.since
    ]
    by_receipts = _marked(user, feeds, position, SAYS_ARCHIVED)
    return [*by_marks, by_receipts]


def _part(feed: Feed, position: _Position | None) -> NotificationQuerySet:
    """One feed, newest first, after ``position``.

    By offset, because the marks are offsets. ``published_at`` ascends with it (see
    :mod:`notifications.publishing.sequencing`), so a position is an offset too: that of the
    newest older one.
    """
    rows = visible().filter(stream=feed.stream_id).order_by("-offset")
    if position is None:
        return rows
    older = Notification.objects.published().filter(_older_than(position), stream=feed.stream_id)
    newest = older.order_by("-published_at", "-id").values("offset")[:1]
    return rows.filter(offset__lte=Subquery(newest))


def _marked(
    user: Reader, feeds: list[Feed], position: _Position | None, says: Q
) -> NotificationQuerySet:
    """Notifications of these feeds that the user has such receipts for, newest first."""
    receipts = Receipt.objects.filter(says, user=user.pk)
    rows = visible().filter(is_in(user, feeds), pk__in=receipts.values("notification"))
    if position is not None:
        rows = rows.filter(_older_than(position))
    return rows.order_by("-published_at", "-id")


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
