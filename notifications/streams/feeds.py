"""Feeds: each user's subscriptions joined with their streams; missing ones are created here."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.expressions import Combinable

from ..database.compiled import Compiled
from ..database.locks import limit_waiting
from ..host.permissions import ANSWER_TIMEOUT
from ..models import Notification, Stream, Subscription, database_alias
from . import access
from . import names as stream_names
from . import rows as stream_rows
from .acknowledging import MAX_LOCK_WAIT
from .instants import Instant

#: Seconds to wait for ``TOPIC_PERMISSION`` when many users are looked up at once.
BULK_ANSWER_TIMEOUT = 0.5


class Feed(NamedTuple):
    """A user's subscription joined with its stream; offsets as in the models."""

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
    #: When the entry at ``top`` was published, as an instant in microseconds; see
    #: :func:`notifications.streams.instants.instant`.
    at: int = 0


#: The user, then the columns for the fields of :class:`Feed` in their order.
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


#: Columns of a stream for the fields of :class:`Feed` up to ``revision``, and for ``at``.
CHANNEL_COLUMNS = ("pk", "name", "epoch", "top", "floor", "revision", Instant("published_at"))


def load_inbox(user: Any) -> list[Feed]:
    """All feeds of one user; see :func:`load_inboxes`."""
    return load_inboxes([user])[user.pk]


class Inboxes(NamedTuple):
    """The feeds of users by primary key, and the pairs of user id and stream name without a row.

    Undecided topics are not among the feeds.
    """

    feeds: dict[Any, list[Feed]]
    missing: list[tuple[Any, str]]
    #: Topics whose permission is still pending, by primary key of the user.
    undecided: dict[Any, list[str]] = {}


def load_inboxes(users: Iterable[Any]) -> dict[Any, list[Feed]]:
    """The feeds of each user: own stream, broadcast, staff, groups, and topics still allowed.

    Missing rows are created, but no streams inside a caller's transaction: others would wait for
    them until it commits, and a stream that does not exist has nothing to show. Inactive users have
    no feeds. The number of queries grows with the number of chunks of users, and with the number
    of shared streams that users have to be subscribed to.
    """
    by_pk = {user.pk: user for user in users}
    feeds, missing, _ = read_inboxes(by_pk.values(), ANSWER_TIMEOUT)
    if missing and _subscribe(_available({name for _, name in missing}), missing):
        changed = {user_id for user_id, _ in missing}
        feeds |= read_inboxes((by_pk[pk] for pk in changed), ANSWER_TIMEOUT).feeds
    return feeds


def read_inboxes(users: Iterable[Any], patience: float = BULK_ANSWER_TIMEOUT) -> Inboxes:
    """Read the feeds of users as :func:`load_inboxes` does, but report missing rows.

    It writes nothing, so it never waits for the rows of another transaction.

    Args:
        users: saved users.
        patience: seconds to wait for ``TOPIC_PERMISSION``.
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
    """Create the streams and subscriptions that :func:`read_inboxes` reported as missing.

    Do not call it inside a caller's transaction: others would wait for the streams until it
    commits. It waits only briefly for rows that another transaction has not committed.

    Args:
        missing: pairs of a user's primary key and a stream name.

    Raises:
        OperationalError: a row stayed locked for longer than ``MAX_LOCK_WAIT``.
    """
    pairs = list(missing)
    alias = database_alias()
    with transaction.atomic(using=alias):
        limit_waiting(alias, MAX_LOCK_WAIT)
        _subscribe(stream_rows.ensure({name for _, name in pairs}), pairs)


def load_topic(user_id: Any, name: str) -> Feed | None:
    """The feed of a user's subscription to one stream; None without a subscription."""
    row = subscription_rows().filter(user=user_id, stream__name=name).values_list(*COLUMNS).first()
    return None if row is None else Feed(*row[1:])


def load_channel(name: str) -> Feed | None:
    """The feed of a channel of a durable namespace, which is the same for all its readers.

    Readers of channels have no subscription rows. One without a position begins at the top.

    Returns:
        None if nobody has subscribed or published to the channel yet.
    """
    rows = Stream.objects.using(database_alias()).filter(name=name)
    row = rows.values_list(*CHANNEL_COLUMNS).first()
    if row is None:
        return None
    pk, name, epoch, top, floor, revision, at = row
    return Feed(pk, name, epoch, top, floor, revision, 0, top, top, top, muted=False, at=at)


def subscription_rows() -> QuerySet[Subscription]:
    # A replica may lack rows that were created just now.
    return Subscription.objects.using(database_alias())


def _find(user_ids: Sequence[Any]) -> defaultdict[Any, dict[str, Feed]]:
    """All subscriptions of these users, by user and stream name, oldest first."""
    found: defaultdict[Any, dict[str, Feed]] = defaultdict(dict)
    for user_id, *values in _SUBSCRIPTIONS.rows(database_alias(), user_ids):
        feed = Feed._make(values)
        found[user_id][feed.name] = feed
    return found


def _subscriptions(using: str, condition: Combinable) -> QuerySet[Subscription, Any]:
    # Tuples, because model instances take four times as long (15 µs each).
    rows = Subscription.objects.using(using).filter(condition).order_by("pk")
    return rows.values_list(*COLUMNS)


_SUBSCRIPTIONS = Compiled(
    _subscriptions,
    lambda: Subscription._meta.get_field("user"),
    f'"{Subscription._meta.db_table}"."user_id"',
)


def _available(names: Iterable[str]) -> dict[str, Stream]:
    alias = database_alias()
    if not connections[alias].in_atomic_block:
        return stream_rows.ensure(names)
    return {row.name: row for row in Stream.objects.using(alias).filter(name__in=names)}


def _subscribe(known: Mapping[str, Stream], missing: Iterable[tuple[Any, str]]) -> bool:
    """Subscribe users whom no signal has subscribed: older than the app, or created in bulk.

    A user is owed everything published since ``date_joined``, even without ever having connected
    (P1). Without that field, the user gets all that is kept.

    Returns:
        Whether there was anything to create.
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
    """The offset after which each user's part of a stream begins, by primary key."""
    offsets = dict.fromkeys(user_ids, 0)
    users = get_user_model()
    is_private = stream_names.parse(stream.name).kind == "user"
    if stream.top == 0 or is_private or not hasattr(users, "date_joined"):
        return offsets
    theirs = Notification.objects.filter(
        stream=stream, offset__isnull=False, published_at__gte=OuterRef("date_joined")
    )
    first = Subquery(theirs.order_by("published_at", "id").values("offset")[:1])
    # A replica may lack entries below the top; the users would never get them.
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
