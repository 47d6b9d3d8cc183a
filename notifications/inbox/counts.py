"""Unread counts of many users at once; the number of queries does not depend on theirs.

What counts as unread is defined in :mod:`notifications.inbox.read_state`. For a shared stream, the
newest offsets are read once, and the part above each user's mark is found in them. For the others,
one statement counts for all users, by a limited look at each. The number of queries grows only
with the chunks: of 500 users, and of 100 shared streams.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Exists, Field, OuterRef, Q

from ..conf import app_settings
from ..database.compiled import Compiled, Statement, compiled_moment
from ..database.transactions import table_of
from ..models import Notification, Receipt, database_alias
from ..streams.feeds import Feed
from ..streams.names import is_private
from ..streams.rows import chunks
from .read_state import SAYS_UNREAD, unmuted, unread_above

NOTIFICATIONS = f'"{Notification._meta.db_table}"'
RECEIPTS = f'"{Receipt._meta.db_table}"'

#: Filters for receipts of :func:`_receipts_that`, by what the receipts say.
SAYS = {
    # All of them, as a filter to which conditions can be added.
    "anything": Q(pk__isnull=False),
    "unread": SAYS_UNREAD,
}

#: Shared streams whose newest offsets are read together.
STREAMS_PER_QUERY = 100


class _Place(NamedTuple):
    """A user's place in a stream: what lies above ``after`` is to be counted for him."""

    user_id: Any
    stream_id: int
    after: int


def unread_counts(users: Iterable[Any], feeds_by_user: Mapping[Any, list[Feed]]) -> dict[Any, int]:
    """How many unread notifications each user has, up to ``MAX_UNREAD_COUNT``.

    Args:
        users: users, any number.
        feeds_by_user: all feeds of each of them, topics included, by primary key.

    Returns:
        Counts by primary key.
    """
    most = app_settings.MAX_UNREAD_COUNT
    counts: Counter[Any] = Counter()
    for chunk in chunks([user.pk for user in users]):
        loud = {pk: unmuted(feeds_by_user[pk]) for pk in chunk}
        # Many users have read everything by their marks alone: they need no further look.
        acting = _with_receipts(chunk)
        counts.update(_above_marks(loud, acting, most))
        counts.update(_marked_unread({pk: loud[pk] for pk in acting}, most))
    return {user_id: min(most, counts[user_id]) for user_id in feeds_by_user}


def streams_counted(feeds: Iterable[Feed]) -> int:
    """Which of a user's streams are in the count: a number that is another one for others."""
    return hash(frozenset(feed.name for feed in unmuted(feeds)))


def _with_receipts(user_ids: Sequence[Any]) -> list[Any]:
    """Those of these users who have any receipt."""
    found = {pk for (pk,) in _users_with_receipts().rows(database_alias(), user_ids)}
    return [pk for pk in user_ids if pk in found]


@cache
def _users_with_receipts() -> Compiled:
    users = get_user_model()
    key = users._meta.pk
    return Compiled(
        lambda using, condition: (
            users._base_manager.using(using)
            .filter(condition, Exists(Receipt.objects.using(using).filter(user=OuterRef("pk"))))
            .values_list("pk")
        ),
        lambda: key,
        f'"{users._meta.db_table}"."{key.column}"',
    )


def _above_marks(
    feeds_by_user: Mapping[Any, list[Feed]], acting: Sequence[Any], most: int
) -> Counter[Any]:
    """Above the users' marks, where no receipt says otherwise.

    Args:
        feeds_by_user: the feeds that count, by primary key of the user.
        acting: those of these users who have any receipt.
        most: where counting ends.
    """
    having = set(acting)
    private: list[_Place] = []
    shared: list[_Place] = []
    for user_id, feeds in feeds_by_user.items():
        for feed in feeds:
            place = _Place(user_id, feed.stream_id, unread_above(feed))
            if feed.top > place.after:
                (private if is_private(feed.name) else shared).append(place)
    receipts = _receipts_above([place for place in shared if place.user_id in having], most + 1)
    # Who has more receipts than that is counted by himself, so that the offsets read are bounded.
    alone = [place for place in shared if receipts.get(place, 0) > most]
    together = [place for place in shared if receipts.get(place, 0) <= most]
    found: Counter[Any] = Counter()
    found.update(_by_user(_without_receipt(private + alone, most)))
    found.update(_by_user(_above_shared_marks(together, receipts, most)))
    return found


def _above_shared_marks(
    places: Sequence[_Place], receipts: Mapping[_Place, int], most: int
) -> dict[_Place, int]:
    by_stream: dict[int, list[_Place]] = defaultdict(list)
    for place in places:
        by_stream[place.stream_id].append(place)
    # So many that ``most`` are left for him who has the most receipts.
    enough = most + max((receipts.get(place, 0) for place in places), default=0)
    found: dict[_Place, int] = {}
    for chunk in chunks(list(by_stream), STREAMS_PER_QUERY):
        lowest = {pk: min(place.after for place in by_stream[pk]) for pk in chunk}
        for stream_id, offsets in _newest_offsets(lowest, enough).items():
            for place in by_stream[stream_id]:
                above = len(offsets) - bisect_right(offsets, place.after)
                found[place] = max(0, above - receipts.get(place, 0))
    return found


def _newest_offsets(lowest: Mapping[int, int], limit: int) -> dict[int, list[int]]:
    """The newest visible offsets of each stream, ascending.

    Args:
        lowest: the offset above which they are wanted, by stream.
        limit: how many of each.
    """
    alias = database_alias()
    visible, parameters = _visible(alias, "stream", "offset")
    # Each with its own values, by which PostgreSQL knows how long the stream is: else it might
    # read and sort all of a long one. (The outer query is there because SQLite allows no LIMIT in
    # the parts of a UNION.)
    part = f"""
        SELECT * FROM ({visible} AND {NOTIFICATIONS}."stream_id" = %s
        AND {NOTIFICATIONS}."offset" > %s
        ORDER BY {NOTIFICATIONS}."offset" DESC LIMIT {limit:d}) AS newest
    """  # noqa: S608 - names and a number; all values are parameters
    values = [value for place in lowest.items() for value in (*parameters, *place)]
    found: dict[int, list[int]] = {stream_id: [] for stream_id in lowest}
    with connections[alias].cursor() as cursor:
        cursor.execute(" UNION ALL ".join([part] * len(lowest)), values)
        for stream_id, offset in cursor.fetchall():
            found[stream_id].append(offset)
    return {stream_id: sorted(offsets) for stream_id, offsets in found.items()}


def _without_receipt(places: Sequence[_Place], limit: int) -> dict[_Place, int]:
    """How many visible notifications lie above each place that its user has no receipt for."""
    visible, parameters = _visible(database_alias(), "offset")
    return _count(
        places,
        f"""
            {visible} AND {NOTIFICATIONS}."stream_id" = entry.column3
            AND {NOTIFICATIONS}."offset" > entry.column4 AND NOT EXISTS (
                SELECT 1 FROM {RECEIPTS} WHERE {RECEIPTS}."user_id" = entry.column2
                AND {RECEIPTS}."notification_id" = {NOTIFICATIONS}."id")
        """,  # noqa: S608 - names; all values are parameters
        parameters,
        limit,
    )


def _receipts_above(places: Sequence[_Place], limit: int) -> dict[_Place, int]:
    """How many visible notifications lie above each place that its user has a receipt for."""
    return _count_receipts(places, "anything", limit)


def _marked_unread(feeds_by_user: Mapping[Any, list[Feed]], most: int) -> Counter[Any]:
    """Receipts that say unread, in streams that their user reads and has not muted."""
    places = [
        _Place(user_id, feed.stream_id, feed.since)
        for user_id, feeds in feeds_by_user.items()
        for feed in feeds
    ]
    return _by_user(_count_receipts(places, "unread", most))


def _count_receipts(places: Sequence[_Place], says: str, limit: int) -> dict[_Place, int]:
    """How many receipts of this kind each place's user has for visible notifications above it."""
    if not places:
        return {}
    # From the receipts to what they are for: most users have few of them.
    # (As a value, because the planner may turn an EXISTS round, and read the whole stream.)
    alias = database_alias()
    receipts = _receipts_that(alias, says)
    visible, parameters = _visible(alias, "offset")
    return _count(
        places,
        f"""
            {receipts.sql} AND {RECEIPTS}."user_id" = entry.column2
            AND ({visible} AND {NOTIFICATIONS}."id" = {RECEIPTS}."notification_id"
                AND {NOTIFICATIONS}."stream_id" = entry.column3) > entry.column4
        """,
        [*receipts.parameters(), *parameters],
        limit,
    )


def _count(
    places: Sequence[_Place], query: str, parameters: Sequence[Any], limit: int
) -> dict[_Place, int]:
    """How many rows ``query`` finds for each place, ``limit`` at most, by one statement.

    Args:
        places: columns 2 to 4 of the table ``entry`` that the query may speak of.
        parameters: of the query.
    """
    if not places:
        return {}
    alias = database_alias()
    user = Receipt._meta.get_field("user")
    columns = [_field("offset"), user, _field("stream"), _field("offset")]
    rows = [(number, *place) for number, place in enumerate(places)]
    table, values = table_of(alias, columns, rows)
    statement = f"""
        SELECT entry.column1, (
            SELECT COUNT(*) FROM ({query} LIMIT {limit:d}) AS found
        ) FROM {table}
    """  # noqa: S608 - as above
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, [*parameters, *values])
        return {places[number]: count for number, count in cursor.fetchall()}


def _by_user(counts: Mapping[_Place, int]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for place, count in counts.items():
        found[place.user_id] += count
    return found


def _visible(alias: str, *fields: str) -> tuple[str, Sequence[Any]]:
    """A statement that selects fields of visible notifications, to add conditions to."""
    statement = _visible_statement(alias, fields)
    return statement.sql, statement.parameters()


@cache
def _visible_statement(alias: str, fields: tuple[str, ...]) -> Statement:
    rows = Notification.objects.using(alias).visible(compiled_moment(alias))
    return Statement(rows.values(*fields))


@cache
def _receipts_that(alias: str, says: str) -> Statement:
    return Statement(Receipt.objects.using(alias).filter(SAYS[says]).values("pk"))


def _field(name: str) -> "Field[Any, Any]":
    return cast("Field[Any, Any]", Notification._meta.get_field(name))
