"""Whom a broadcast is for, whom it has reached, and who has read it: counts for the admin."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import BigIntegerField, Case, Count, Exists, F, OuterRef, Q, QuerySet, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest, Least

from ..inbox.read_state import READ_MARK, SAYS_READ
from ..models import Notification, Receipt, Subscription
from ..streams import names as stream_names

#: The marks of a subscription that say where its user stands.
MARKS: dict[str, Combinable] = {
    "since": F("since"),
    "delivered": F("delivered"),
    "read": READ_MARK,
}


class Reach(NamedTuple):
    """How many users a notification has arrived at, and how many have read it."""

    reached: int
    read: int


class _Place(NamedTuple):
    """Where ``users`` subscriptions of one stream stand alike; marks as in the model."""

    since: int
    delivered: int
    read: int
    users: int


class _Receipts(NamedTuple):
    """Of one notification: receipts that say read, and those whose mark says so already."""

    read: int
    covered: int


def reach(notifications: Iterable[Notification]) -> dict[int, Reach]:
    """Count for many notifications at once, with two queries however many they are.

    Reached is who is subscribed and has acknowledged it. Read is whose receipt says so or, without
    a receipt, whose read mark lies at it or above. Waiting ones have reached nobody. Positions and
    marks move over what was withdrawn or has expired too, so for these both are upper bounds.

    Args:
        notifications: of any streams, preferably neighbours.

    Returns:
        Counts by primary key.
    """
    rows = list(notifications)
    published = [row for row in rows if row.offset is not None]
    places = _places(published)
    receipts = _receipts(published)
    found = {row.pk: Reach(0, 0) for row in rows}
    for row in published:
        found[row.pk] = _count(row.offset or 0, places[row.stream_id or 0], receipts.get(row.pk))
    return found


def audience_size(name: str) -> int:
    """How many users would get what is published in a shared stream now.

    Raises:
        UnknownStream: see :func:`notifications.streams.names.parse`.
    """
    kind, key = stream_names.parse(name)
    users = _active_users()
    if kind == "topic":
        return Subscription.objects.filter(stream__name=name, user__in=users).count()
    if kind == "staff":
        return users.filter(is_staff=True).count() if _has_field("is_staff") else 0
    if kind == "group":
        return users.filter(groups=int(key)).count() if _has_field("groups") else 0
    return users.count() if kind == "broadcast" else users.filter(pk=key).count()


def _active_users() -> QuerySet[Any]:
    users = get_user_model()._default_manager.all()
    return users.filter(is_active=True) if _has_field("is_active") else users


def _has_field(name: str) -> bool:
    try:
        get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _count(offset: int, places: Iterable[_Place], receipts: _Receipts | None) -> Reach:
    theirs = [place for place in places if place.since < offset]
    reached = sum(place.users for place in theirs if place.delivered >= offset)
    by_mark = sum(place.users for place in theirs if place.read >= offset)
    if receipts is None:
        return Reach(reached, by_mark)
    return Reach(reached, by_mark - receipts.covered + receipts.read)


def _places(published: Iterable[Notification]) -> dict[int, list[_Place]]:
    """The subscriptions of these streams, counted by where they stand.

    Marks are cut to the range of offsets that is asked about. A million readers then stand in
    few places, and one pass over them serves all notifications of a page.
    """
    offsets: dict[int, list[int]] = defaultdict(list)
    for row in published:
        offsets[row.stream_id or 0].append(row.offset or 0)
    places: dict[int, list[_Place]] = defaultdict(list)
    if not offsets:
        return places
    marks = {f"{name}_mark": _clamp(mark, offsets) for name, mark in MARKS.items()}
    rows = Subscription.objects.filter(stream__in=list(offsets)).annotate(**marks)
    counted = rows.values_list("stream", *marks).annotate(users=Count("pk")).order_by()
    for stream_id, *place in counted:
        places[stream_id].append(_Place(*place))
    return places


def _clamp(mark: Combinable, offsets: dict[int, list[int]]) -> Case:
    cases = [
        When(stream=stream_id, then=Least(Greatest(mark, min(asked) - 1), max(asked)))
        for stream_id, asked in offsets.items()
    ]
    return Case(*cases, output_field=BigIntegerField())


def _receipts(published: Iterable[Notification]) -> dict[int, _Receipts]:
    covering = Subscription.objects.alias(read_mark=READ_MARK).filter(
        user=OuterRef("user"),
        stream=OuterRef("notification__stream"),
        since__lt=OuterRef("notification__offset"),
        read_mark__gte=OuterRef("notification__offset"),
    )
    rows = Receipt.objects.filter(notification__in=[row.pk for row in published])
    counted = rows.values_list("notification").annotate(
        said=Count("pk", filter=SAYS_READ), covered=Count("pk", filter=Q(Exists(covering)))
    )
    return {pk: _Receipts(said, covered) for pk, said, covered in counted.order_by()}
