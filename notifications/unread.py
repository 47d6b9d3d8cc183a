"""Unread counts of many users at once; the number of queries does not depend on theirs.

What counts as unread is said in :mod:`notifications.inbox`. For a shared stream the part above a
mark is the same for all who have that mark, so it is counted once for all of them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import router
from django.db.models import Count, Exists, F, OuterRef, Q
from django.db.models.functions import Greatest

from .clock import present
from .conf import app_settings
from .inbox import count_unread, read_mark
from .models import Notification, Receipt, Subscription
from .streams import is_private
from .subscriptions import Feed

#: Feeds, by the primary key of their user, that have something above the user's mark.
Ahead = Mapping[Any, list[Feed]]


def unread_counts(users: Iterable[Any], feeds_by_user: Mapping[Any, list[Feed]]) -> dict[Any, int]:
    """How many unread notifications each user has, up to ``MAX_UNREAD_COUNT``.

    Args:
        users: users, any number.
        feeds_by_user: all feeds of each of them, topics included, by primary key.

    Returns:
        Counts by primary key.
    """
    most = app_settings.MAX_UNREAD_COUNT
    near: dict[Any, list[Feed]] = {}
    counts: Counter[Any] = Counter()
    for user in users:
        loud = [feed for feed in feeds_by_user[user.pk] if not feed.muted]
        # Offsets have no gaps, so the distance bounds what there is to count.
        if any(feed.top - read_mark(feed) > most for feed in loud):
            counts[user.pk] = count_unread(user, loud)
        else:
            near[user.pk] = [feed for feed in loud if feed.top > read_mark(feed)]
    counts.update(_above_private_marks(near))
    counts.update(_above_shared_marks(near))
    counts.subtract(_with_receipt_in_shared(near))
    counts.update(_marked_unread(list(near)))
    return {user_id: max(0, min(most, counts[user_id])) for user_id in feeds_by_user}


def _above_private_marks(ahead: Ahead) -> dict[Any, int]:
    streams = _streams(ahead, private=True)
    if not streams:
        return {}
    receipts = Receipt.objects.filter(
        user=OuterRef("user"), notification=OuterRef("stream__notifications")
    )
    rows = Subscription.objects.filter(
        _visible("stream__notifications__"),
        ~Exists(receipts),
        user__in=list(ahead),
        stream__in=streams,
        stream__notifications__offset__gt=Greatest("since", "read", "archived"),
    )
    return dict(rows.values_list("user").annotate(Count("stream__notifications")))


def _above_shared_marks(ahead: Ahead) -> dict[Any, int]:
    counts: dict[tuple[int, int], int] = {}
    found: Counter[Any] = Counter()
    for user_id, feeds in ahead.items():
        for feed in feeds:
            if is_private(feed.name):
                continue
            place = (feed.stream_id, read_mark(feed))
            if place not in counts:
                rows = Notification.objects.visible().filter(stream=place[0], offset__gt=place[1])
                counts[place] = rows.count()
            found[user_id] += counts[place]
    return found


def _with_receipt_in_shared(ahead: Ahead) -> dict[Any, int]:
    streams = _streams(ahead, private=False)
    if not streams:
        return {}
    rows = Receipt.objects.filter(
        _visible("notification__"),
        user__in=list(ahead),
        notification__stream__in=streams,
        notification__stream__subscriptions__user=F("user"),
        notification__stream__subscriptions__muted=False,
        notification__offset__gt=Greatest(
            "notification__stream__subscriptions__since",
            "notification__stream__subscriptions__read",
            "notification__stream__subscriptions__archived",
        ),
    )
    return dict(rows.values_list("user").annotate(Count("pk")))


def _marked_unread(user_ids: list[Any]) -> dict[Any, int]:
    """Receipts that say unread, in streams that their user still reads and has not muted."""
    rows = Receipt.objects.filter(
        _visible("notification__"),
        user__in=user_ids,
        read_at=None,
        archived_at=None,
        notification__stream__subscriptions__user=F("user"),
        notification__stream__subscriptions__muted=False,
        notification__stream__subscriptions__since__lt=F("notification__offset"),
    )
    return dict(rows.values_list("user").annotate(Count("pk")))


def _streams(ahead: Ahead, *, private: bool) -> set[int]:
    return {
        feed.stream_id
        for feeds in ahead.values()
        for feed in feeds
        if is_private(feed.name) is private
    }


def _visible(prefix: str) -> Q:
    """:meth:`NotificationQuerySet.visible`, seen from another model."""
    now = present(router.db_for_read(Notification))
    lasts = Q(**{f"{prefix}expires_at": None}) | Q(**{f"{prefix}expires_at__gt": now})
    return lasts & Q(**{f"{prefix}offset__isnull": False, f"{prefix}withdrawn_at": None})
