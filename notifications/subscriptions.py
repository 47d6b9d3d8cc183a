"""Where each user stands in each stream: joining, leaving, acknowledged positions."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db.models import Case, Q, Value, When
from django.db.models.functions import Greatest

from . import streams
from .models import Notification, Stream, Subscription


class Feed(NamedTuple):
    """One user's subscription joined with its stream; offsets as in the models."""

    stream_id: int
    name: str
    epoch: str
    top: int
    floor: int
    revision: int
    since: int
    delivered: int
    read: int
    archived: int
    muted: bool


def join(user_ids: Iterable[Any], name: str) -> None:
    """Subscribe users to a shared stream from now on: they see what comes, not what was.

    Users who are subscribed already keep their place.
    """
    stream = streams.ensure([name])[name]
    rows = [_from(user_id, stream, stream.top) for user_id in user_ids]
    Subscription.objects.bulk_create(rows, batch_size=streams.CHUNK, ignore_conflicts=True)


def leave(user_ids: Iterable[Any], name: str) -> None:
    """End the subscriptions of these users to the stream."""
    Subscription.objects.filter(stream__name=name, user__in=list(user_ids)).delete()


def topics(user_id: Any) -> int:
    """How many topics the user is subscribed to."""
    return Subscription.objects.filter(user=user_id, stream__name__startswith="topic:").count()


def load(users: Iterable[Any]) -> dict[Any, list[Feed]]:
    """The feeds of each user: own stream, broadcast, staff, groups. Makes what is missing.

    The number of queries does not depend on the number of users.
    """
    users = list(users)
    names = streams.names_by_user(users)
    known = streams.ensure(name for user_names in names.values() for name in user_names)
    wanted = {
        (user_id, known[name].pk): known[name]
        for user_id, user_names in names.items()
        for name in user_names
    }
    found = _find(wanted)
    missing = [pair for pair in wanted if pair not in found]
    if missing:
        _begin({user.pk: user for user in users}, missing, wanted)
        found = _find(wanted)
    feeds: dict[Any, list[Feed]] = {user.pk: [] for user in users}
    for (user_id, stream_id), stream in wanted.items():
        if (user_id, stream_id) in found:
            feeds[user_id].append(_feed(found[user_id, stream_id], stream))
    return feeds


def load_inbox(user: Any) -> list[Feed]:
    """All feeds of one user: those of :func:`load` and the topics that he may still read."""
    rows = Subscription.objects.filter(user=user.pk, stream__name__startswith="topic:")
    topics = [_feed(row, row.stream) for row in rows.select_related("stream")]
    return load([user])[user.pk] + [feed for feed in topics if streams.may_read(user, feed.name)]


def load_topic(user_id: Any, name: str) -> Feed | None:
    """The feed of a user's subscription to one stream, None without a subscription."""
    row = (
        Subscription.objects.filter(user=user_id, stream__name=name)
        .select_related("stream")
        .first()
    )
    return None if row is None else _feed(row, row.stream)


def acknowledge(positions: Mapping[tuple[Any, int], int]) -> None:
    """Advance ``delivered`` to these offsets, by (user id, stream id); it never goes back."""
    pairs = sorted(positions, key=lambda pair: (pair[1], str(pair[0])))
    for start in range(0, len(pairs), 100):
        chunk = pairs[start : start + 100]
        Subscription.objects.filter(_any_of(chunk)).update(
            delivered=Greatest(
                "delivered",
                Case(
                    *(
                        When(
                            user=user_id,
                            stream=stream_id,
                            then=Value(positions[user_id, stream_id]),
                        )
                        for user_id, stream_id in chunk
                    ),
                    default=Value(0),
                ),
            )
        )


def mute(user_id: Any, name: str, muted: bool) -> bool:
    """Mute or unmute a stream for a user; what passed while muted stays unsent and read.

    Returns:
        False when the user has no such subscription.
    """
    row = (
        Subscription.objects.filter(user=user_id, stream__name=name)
        .select_related("stream")
        .first()
    )
    if row is None:
        return False
    if row.muted and not muted:
        row.delivered = row.read = row.stream.top
    row.muted = muted
    row.save(update_fields=["muted", "delivered", "read"])
    return True


def _find(wanted: Mapping[tuple[Any, int], Stream]) -> dict[tuple[Any, int], Subscription]:
    user_ids = list({user_id for user_id, _ in wanted})
    stream_ids = {stream_id for _, stream_id in wanted}
    found: dict[tuple[Any, int], Subscription] = {}
    for start in range(0, len(user_ids), streams.CHUNK):
        rows = Subscription.objects.filter(user__in=user_ids[start : start + streams.CHUNK])
        for row in rows:
            if row.stream_id in stream_ids:
                found[row.user_id, row.stream_id] = row
    return found


def _begin(
    users: Mapping[Any, Any],
    missing: Iterable[tuple[Any, int]],
    wanted: Mapping[tuple[Any, int], Stream],
) -> None:
    """Subscribe where no signal did: old users of a new app, rows made in bulk.

    A user who was there when something was published is owed it, whether or not he had ever
    connected (P1); ``date_joined`` tells. Without that field he is given what is kept.
    """
    rows = [
        _from(
            user_id,
            wanted[user_id, stream_id],
            _joined_at(users[user_id], wanted[user_id, stream_id]),
        )
        for user_id, stream_id in missing
    ]
    Subscription.objects.bulk_create(rows, batch_size=streams.CHUNK, ignore_conflicts=True)


def _joined_at(user: Any, stream: Stream) -> int:
    joined = getattr(user, "date_joined", None)
    if stream.top == 0 or joined is None or streams.parse(stream.name).kind == "user":
        return 0
    before = Notification.objects.filter(
        stream=stream, offset__isnull=False, published_at__lt=joined
    )
    offset = before.order_by("-published_at", "-id").values_list("offset", flat=True).first()
    return offset or 0


def _from(user_id: Any, stream: Stream, offset: int) -> Subscription:
    return Subscription(user_id=user_id, stream=stream, since=offset, delivered=offset, read=offset)


def _any_of(pairs: Iterable[tuple[Any, int]]) -> Q:
    condition = Q()
    for user_id, stream_id in pairs:
        condition |= Q(user=user_id, stream=stream_id)
    return condition


def _feed(row: Subscription, stream: Stream) -> Feed:
    return Feed(
        stream_id=stream.pk,
        name=stream.name,
        epoch=stream.epoch,
        top=stream.top,
        floor=stream.floor,
        revision=stream.revision,
        since=row.since,
        delivered=row.delivered,
        read=row.read,
        archived=row.archived,
        muted=row.muted,
    )
