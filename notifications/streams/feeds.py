"""Feeds: each user's subscriptions joined with their streams, and the making of missing ones."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import OuterRef, QuerySet, Subquery

from ..database.locks import limit_waiting
from ..models import Notification, Stream, Subscription, database_alias
from . import access
from . import names as stream_names
from . import rows as stream_rows
from .acknowledging import BRIEFLY
from .instants import Instant
from .topics import PATIENCE

#: Where many users are looked up, so long is waited for what ``TOPIC_PERMISSION`` says; seconds.
BRIEF = 0.5


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
    unmuted: int = 0
    #: When the entry at ``top`` was published; see :func:`notifications.streams.instants.instant`.
    at: int = 0


#: What :class:`Feed` is made of, behind the user.
COLUMNS = (
    "user",
    "stream",
    "stream__name",
    "stream__epoch",
    "stream__top",
    "stream__floor",
    "stream__revision",
    "since",
    "delivered",
    "read",
    "archived",
    "muted",
    "unmuted",
    Instant("stream__published_at"),
)


def load_inbox(user: Any) -> list[Feed]:
    """All feeds of one user: see :func:`load_inboxes`."""
    return load_inboxes([user])[user.pk]


class Inboxes(NamedTuple):
    """The feeds of users by primary key, and pairs of user and stream name without a row.

    Topics that are undecided are not among the feeds.
    """

    feeds: dict[Any, list[Feed]]
    missing: list[tuple[Any, str]]
    #: Topics of which it is not known yet whether they may be read, by user.
    undecided: dict[Any, list[str]] = {}


def load_inboxes(users: Iterable[Any]) -> dict[Any, list[Feed]]:
    """The feeds of each user: own stream, broadcast, staff, groups, and topics still allowed.

    Makes what is missing; inside of a caller's transaction no streams, because others would wait
    for them until it commits, and in a stream that does not exist there is nothing to see. Inactive
    users have none. The number of queries grows with the number of chunks of users, and with the
    shared streams that somebody has to be subscribed to.
    """
    by_pk = {user.pk: user for user in users}
    feeds, missing, _ = read_inboxes(by_pk.values(), PATIENCE)
    if missing and _subscribe(_available({name for _, name in missing}), missing):
        changed = {user_id for user_id, _ in missing}
        feeds |= read_inboxes((by_pk[pk] for pk in changed), PATIENCE).feeds
    return feeds


def read_inboxes(users: Iterable[Any], patience: float = BRIEF) -> Inboxes:
    """:func:`load_inboxes` without writing, so that nobody waits for a row of somebody else.

    Args:
        users: saved users.
        patience: how long to wait for what ``TOPIC_PERMISSION`` says of them; seconds.
    """
    by_pk = {user.pk: user for user in users}
    names = access.names_by_user(by_pk.values())
    found = _find(list(by_pk))
    followed = {pk: [name for name in found[pk] if stream_names.is_topic(name)] for pk in by_pk}
    readable, waiting = access.readable_topics(
        [(user, followed[pk]) for pk, user in by_pk.items()], patience
    )
    feeds: dict[Any, list[Feed]] = {}
    for user_id in by_pk:
        own, topics = found[user_id], readable.get(user_id, ())
        wanted = [*names.get(user_id, ()), *topics]
        feeds[user_id] = [own[name] for name in wanted if name in own]
    missing = [
        (user_id, name)
        for user_id, user_names in names.items()
        for name in user_names
        if name not in found[user_id]
    ]
    return Inboxes(feeds, missing, {pk: followed[pk] for pk in waiting})


def begin(missing: Iterable[tuple[Any, str]]) -> None:
    """Make what :func:`read_inboxes` has found missing: streams and subscriptions.

    Not inside of a caller's transaction: others would wait for the streams until it commits. A row
    that somebody else has not committed is waited for only briefly.

    Raises:
        OperationalError: that was too short.
    """
    pairs = list(missing)
    alias = database_alias()
    with transaction.atomic(using=alias):
        limit_waiting(alias, BRIEFLY)
        _subscribe(stream_rows.ensure({name for _, name in pairs}), pairs)


def load_topic(user_id: Any, name: str) -> Feed | None:
    """The feed of a user's subscription to one stream, None without a subscription."""
    row = subscription_rows().filter(user=user_id, stream__name=name).values_list(*COLUMNS).first()
    return None if row is None else Feed(*row[1:])


def subscription_rows() -> QuerySet[Subscription]:
    # A replica may not know yet what was made just now.
    return Subscription.objects.using(database_alias())


def _find(user_ids: Sequence[Any]) -> defaultdict[Any, dict[str, Feed]]:
    """All subscriptions of these users, by user and name, in the order of their making."""
    found: defaultdict[Any, dict[str, Feed]] = defaultdict(dict)
    for chunk in stream_rows.chunks(user_ids):
        # Tuples, because a model instance for each takes four times as long (15 µs).
        rows = subscription_rows().filter(user__in=chunk).order_by("pk")
        for user_id, *values in rows.values_list(*COLUMNS):
            feed = Feed._make(values)
            found[user_id][feed.name] = feed
    return found


def _available(names: Iterable[str]) -> dict[str, Stream]:
    alias = database_alias()
    if not connections[alias].in_atomic_block:
        return stream_rows.ensure(names)
    return {row.name: row for row in Stream.objects.using(alias).filter(name__in=names)}


def _subscribe(known: Mapping[str, Stream], missing: Iterable[tuple[Any, str]]) -> bool:
    """Subscribe where no signal did: old users of a new app, rows made in bulk.

    A user who was there when something was published is owed it, whether or not he had ever
    connected (P1); ``date_joined`` tells. Without that field he is given what is kept.

    Returns:
        Was there anything to do?
    """
    user_ids: dict[str, list[Any]] = defaultdict(list)
    for user_id, name in missing:
        user_ids[name].append(user_id)
    rows = [
        subscription_from(user_id, stream.pk, offset)
        for name, stream in known.items()
        for user_id, offset in _beginnings(stream, user_ids[name]).items()
    ]
    Subscription.objects.bulk_create(rows, batch_size=stream_rows.CHUNK, ignore_conflicts=True)
    return bool(rows)


def _beginnings(stream: Stream, user_ids: Sequence[Any]) -> dict[Any, int]:
    """After which offset each user's part of a stream begins."""
    offsets = dict.fromkeys(user_ids, 0)
    users = get_user_model()
    is_private = stream_names.parse(stream.name).kind == "user"
    if stream.top == 0 or is_private or not hasattr(users, "date_joined"):
        return offsets
    theirs = Notification.objects.filter(
        stream=stream, offset__isnull=False, published_at__gte=OuterRef("date_joined")
    )
    first = Subquery(theirs.order_by("published_at", "id").values("offset")[:1])
    # A replica may lack what lies below the top: it would be passed over.
    everybody = users._default_manager.using(database_alias())
    for chunk in stream_rows.chunks(user_ids):
        rows = everybody.filter(pk__in=chunk).annotate(notifications_first=first)
        for user_id, offset in rows.values_list("pk", "notifications_first"):
            offsets[user_id] = stream.top if offset is None else offset - 1
    return offsets


def subscription_from(user_id: Any, stream_id: int, offset: int) -> Subscription:
    return Subscription(
        user_id=user_id, stream_id=stream_id, since=offset, delivered=offset, read=offset
    )
