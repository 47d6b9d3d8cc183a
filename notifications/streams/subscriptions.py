"""Where each user stands in each stream: joining, leaving, acknowledged positions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Greatest

from ..database.locks import has_row_locks, limit_waiting
from ..database.transactions import after_commit
from ..models import Notification, Stream, Subscription
from . import names as stream_names
from .instants import Instant
from .topics import PATIENCE

ADVANCE = f"""
    UPDATE {Subscription._meta.db_table} SET delivered = %s
    WHERE user_id = %s AND stream_id = %s AND delivered < %s AND EXISTS (
        SELECT 1 FROM {Stream._meta.db_table} WHERE id = %s AND epoch = %s AND top >= %s
    )
"""  # noqa: S608 - names of tables, no value

#: The advisory lock of PostgreSQL that acknowledgements share; it ends with the transaction.
#: Nobody else's number: the first bytes of BLAKE2 of the app's name.
LOCK = 0x75AAC3C5

#: How long :func:`begin` and :func:`acknowledge` wait for a row that somebody else has not
#: committed; seconds.
BRIEFLY = 0.5

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


class Acknowledged(NamedTuple):
    """An offset that a client has, and the epoch of the stream in which it got it."""

    epoch: str
    offset: int


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


def join(user_ids: Iterable[Any], name: str, *, from_start: bool = False) -> None:
    """Subscribe users to a shared stream from now on: they see what comes, not what was.

    Users who are subscribed already keep their place. For code outside of callers' transactions:
    the stream is made if it is missing.

    Args:
        user_ids: primary keys of users, any number.
        name: of the stream.
        from_start: they see everything in it; it was missing when they should have joined.
    """
    members = list(user_ids)
    if join_existing(members, name, from_start=from_start):
        return
    stream_names.ensure([name])
    while not join_existing(members, name, from_start=from_start, wait=True):
        stream_names.ensure([name])


def join_existing(
    user_ids: Iterable[Any], name: str, *, from_start: bool = False, wait: bool = False
) -> bool:
    """:func:`join`, if the stream exists; nobody is waited for, unless ``wait`` says so.

    Returns:
        False if there is no such stream, and nothing was done.
    """
    with transaction.atomic(using=router.db_for_write(Subscription), savepoint=False):
        held = stream_names.hold([name], wait=wait).get(name)
        if held is None:
            return False
        offset = 0 if from_start else held.top
        # In one order over all chunks, so that two calls do not lock each other out.
        rows = [_from(user_id, held.id, offset) for user_id in sorted(set(user_ids))]
        Subscription.objects.bulk_create(rows, batch_size=stream_names.CHUNK, ignore_conflicts=True)
    return True


def leave(user_ids: Iterable[Any], name: str) -> int:
    """End the subscriptions of these users to the stream.

    A topic that nobody has left a trace in goes with the last of them, once this has committed:
    whoever joins it would have to wait for that.

    Returns:
        How many there were.
    """
    alias = router.db_for_write(Subscription)
    count = 0
    with transaction.atomic(using=alias, savepoint=False):
        for chunk in stream_names.chunks(sorted(set(user_ids))):
            rows = _rows().filter(stream__name=name, user__in=chunk).order_by("user_id")
            # In the order of acknowledgements, which may be writing the same rows.
            found = list(rows.select_for_update(of=("self",)).values_list("pk", flat=True))
            if found:
                count += _rows().filter(pk__in=found).delete()[0]
    if stream_names.is_topic(name):
        after_commit(alias, stream_names.remove_unused, name)
    return count


def topics(user_id: Any) -> int:
    """How many topics the user is subscribed to."""
    return _rows().filter(user=user_id, stream__name__startswith="topic:").count()


def topics_of(user_id: Any) -> list[tuple[str, bool]]:
    """The topics the user is subscribed to, by name, and whether each is muted."""
    rows = _rows().filter(user=user_id, stream__name__startswith="topic:")
    return list(rows.order_by("stream__name").values_list("stream__name", "muted"))


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
    names = stream_names.names_by_user(by_pk.values())
    found = _find(list(by_pk))
    followed = {pk: [name for name in found[pk] if stream_names.is_topic(name)] for pk in by_pk}
    readable, waiting = stream_names.readable_topics(
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
    alias = router.db_for_write(Subscription)
    with transaction.atomic(using=alias):
        limit_waiting(alias, BRIEFLY)
        _subscribe(stream_names.ensure({name for _, name in pairs}), pairs)


def load_topic(user_id: Any, name: str) -> Feed | None:
    """The feed of a user's subscription to one stream, None without a subscription."""
    row = _rows().filter(user=user_id, stream__name=name).values_list(*COLUMNS).first()
    return None if row is None else Feed(*row[1:])


def acknowledge(positions: Mapping[tuple[Any, int], Acknowledged]) -> None:
    """Advance ``delivered`` to these offsets, by (user id, stream id); it never goes back.

    What was acknowledged in another epoch, or beyond the top, is dropped: the history has gone
    back since then, and the offset stands for something else.

    One prepared statement for all rows: 3 µs each on SQLite, where an UPDATE with a CASE of a
    hundred branches took 40 µs a row to build.
    """
    if not positions:
        return
    alias = router.db_for_write(Subscription)
    connection = connections[alias]
    user_key = get_user_model()._meta.pk
    # In the same order everywhere, so that two workers wait for each other and not both.
    pairs = sorted(positions, key=lambda pair: (pair[1], pair[0]))
    rows = []
    for user_id, stream_id in pairs:
        epoch, offset = positions[user_id, stream_id]
        user = user_key.get_db_prep_value(user_id, connection)
        rows.append((offset, user, stream_id, offset, stream_id, epoch, offset))
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        # There is a next time; meanwhile others must not wait for somebody's row.
        limit_waiting(alias, BRIEFLY)
        if has_row_locks(alias):
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
        cursor.executemany(ADVANCE, rows)


def stop_acknowledging(using: str) -> None:
    """Let nobody acknowledge until the present transaction ends.

    A statement that began before an epoch was replaced still sees the old one. Only a lock keeps
    it from writing a position of the old history behind the replacement. The stream's own lock
    would do, but then publishing would wait for acknowledgements. SQLite has one writer anyway.
    """
    if has_row_locks(using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def mute(user_id: Any, name: str, muted: bool) -> bool:
    """Mute or unmute a stream for a user.

    What passed while it was muted stays unsent: a position from before that can no longer be
    resumed. Unmuting marks all of it as read, and what was unread in this stream before.

    Returns:
        False when the user has no such subscription.
    """
    rows = Subscription.objects.filter(user=user_id, stream__name=name)
    if muted:
        return bool(rows.update(muted=True))
    top = Subquery(Stream.objects.filter(name=name).values("top"))
    unmuted = rows.filter(muted=True).update(
        muted=False,
        unmuted=Greatest("unmuted", top),
        delivered=Greatest("delivered", top),
        read=Greatest("read", top),
    )
    return bool(unmuted) or rows.exists()


def _rows() -> QuerySet[Subscription]:
    # A replica may not know yet what was made just now.
    return Subscription.objects.using(router.db_for_write(Subscription))


def _find(user_ids: Sequence[Any]) -> defaultdict[Any, dict[str, Feed]]:
    """All subscriptions of these users, by user and name, in the order of their making."""
    found: defaultdict[Any, dict[str, Feed]] = defaultdict(dict)
    for chunk in stream_names.chunks(user_ids):
        # Tuples, because a model instance for each takes four times as long (15 µs).
        for user_id, *values in _rows().filter(user__in=chunk).order_by("pk").values_list(*COLUMNS):
            feed = Feed._make(values)
            found[user_id][feed.name] = feed
    return found


def _available(names: Iterable[str]) -> dict[str, Stream]:
    alias = router.db_for_write(Stream)
    if not connections[alias].in_atomic_block:
        return stream_names.ensure(names)
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
        _from(user_id, stream.pk, offset)
        for name, stream in known.items()
        for user_id, offset in _beginnings(stream, user_ids[name]).items()
    ]
    Subscription.objects.bulk_create(rows, batch_size=stream_names.CHUNK, ignore_conflicts=True)
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
    everybody = users._default_manager.using(router.db_for_write(Subscription))
    for chunk in stream_names.chunks(user_ids):
        rows = everybody.filter(pk__in=chunk).annotate(notifications_first=first)
        for user_id, offset in rows.values_list("pk", "notifications_first"):
            offsets[user_id] = stream.top if offset is None else offset - 1
    return offsets


def _from(user_id: Any, stream_id: int, offset: int) -> Subscription:
    return Subscription(
        user_id=user_id, stream_id=stream_id, since=offset, delivered=offset, read=offset
    )
