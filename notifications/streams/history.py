"""Reading streams: pages of publications after a position, ranges of offsets, and tops."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from ..models import Notification, NotificationQuerySet, Stream, database_alias
from .encoding import Publication, encode_rows
from .instants import Instant, instant
from .rows import chunks
from .signatures import signature

#: Streams per statement of :func:`read_tops`.
TOPS_PER_QUERY = 1000

#: Ranges per statement of :func:`read_ranges`; each is one branch of an OR.
RANGES_PER_QUERY = 100

#: Columns of notifications in raw SQL.
STREAM_COLUMN = f'"{Notification._meta.db_table}"."stream_id"'
OFFSET_COLUMN = f'"{Notification._meta.db_table}"."offset"'


#: Seconds for which :class:`Recent` keeps a range, ranges that it keeps, and bytes of a range.
CACHE_SECONDS = 1.0
CACHE_RANGES = 64
CACHE_RANGE_SIZE = 256 * 1024


class Page(NamedTuple):
    """Publications in order, and the position after them.

    ``offset`` is the offset of the last publication or, at the end of the stream, the top that was
    read first, so that the position moves over entries that are not sent (expired, withdrawn,
    pruned). ``more`` says whether further publications follow. ``at`` is the instant at which the
    entry at ``offset`` was published (see :mod:`notifications.streams.instants`); 0 if unknown.
    """

    publications: list[Publication]
    offset: int
    more: bool
    at: int = 0


class Range(NamedTuple):
    """Offsets of one stream, ``after`` < offset <= ``upto``."""

    stream_id: int
    after: int
    upto: int


class Top(NamedTuple):
    """The end of a stream, and its revision.

    ``offset`` is the top of the stream, ``floor`` the offset up to which it was pruned. ``at`` is
    the instant at which the entry at ``offset`` was published (see
    :mod:`notifications.streams.instants`); 0 if unknown. ``signature`` is that of the row (see
    :mod:`notifications.streams.signatures`).
    """

    epoch: str
    offset: int
    revision: int
    floor: int = 0
    at: int = 0
    signature: str = ""


def read_page(stream_id: int, after: int, limit: int, now: datetime | None = None) -> Page:
    """Read up to ``limit`` publications after the offset ``after``.

    The top is read before the rows: a publication that is sequenced in between is in the page or
    after its position, never skipped. A deleted stream gives an empty page.

    Args:
        stream_id: primary key of the stream.
        after: offset after which the page begins.
        limit: publications at most.
        now: the moment that decides what has expired; default the present by the database's clock.
    """
    return read_after(stream_id, read_tops([stream_id]).get(stream_id), after, limit, now)


def read_after(
    stream_id: int, top: Top | None, after: int, limit: int, now: datetime | None = None
) -> Page:
    """:func:`read_page` with a top that was read before; None for a deleted stream."""
    if top is None:
        return Page([], after, more=False)
    rows = list(_rows(stream_id, now).filter(offset__gt=after).order_by("offset")[: limit + 1])
    more = len(rows) > limit
    sent = rows[:limit]
    last = (sent[-1].offset if sent else None) or after
    if not more and top.offset >= last:
        return Page(encode_rows(sent), top.offset, more, top.at)
    return Page(encode_rows(sent), last, more, instant(sent[-1].published_at) if sent else 0)


def read_ranges(
    ranges: Iterable[Range], now: datetime | None = None
) -> dict[Range, list[Publication]]:
    """Read the publications of many ranges, in order, with one query per 100 ranges.

    Offsets have no gaps in the table, so a range bounds the number of rows without a LIMIT.
    """
    wanted = list(dict.fromkeys(ranges))
    found: dict[Range, list[Publication]] = {}
    for start in range(0, len(wanted), RANGES_PER_QUERY):
        found |= _read_ranges(wanted[start : start + RANGES_PER_QUERY], now)
    return found


class Recent:
    """A cache of ranges of shared streams, for one second.

    After a deploy all clients reconnect and need the same few ranges: each of these is read from
    the database once a second, however many clients there are. A notification that is withdrawn
    within that second may still be sent, as it was to connected clients.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cached: dict[tuple[str, Range], tuple[float, list[Publication]]] = {}

    def read(
        self, ranges: Iterable[Range], epochs: Mapping[int, str]
    ) -> dict[Range, list[Publication]]:
        """Return the publications of ranges, reading those that are not cached. Thread-safe.

        Args:
            ranges: ranges of shared streams.
            epochs: epochs of these streams by primary key. In another epoch the same offset stands
                for another entry, so the epoch is part of the key.
        """
        now = self._clock()
        wanted = {entry: (epochs.get(entry.stream_id, ""), entry) for entry in ranges}
        cached = self._cached
        found = {
            entry: cached[key][1]
            for entry, key in wanted.items()
            if key in cached and cached[key][0] > now
        }
        read = read_ranges(wanted.keys() - found.keys())
        self._store({wanted[entry]: publications for entry, publications in read.items()}, now)
        return found | read

    def _store(self, read: Mapping[tuple[str, Range], list[Publication]], now: float) -> None:
        kept = {key: value for key, value in list(self._cached.items()) if value[0] > now}
        kept |= {
            key: (now + CACHE_SECONDS, publications)
            for key, publications in read.items()
            if sum(publication.size for publication in publications) <= CACHE_RANGE_SIZE
        }
        self._cached = dict(list(kept.items())[-CACHE_RANGES:])


def _read_ranges(ranges: list[Range], now: datetime | None) -> dict[Range, list[Publication]]:
    one = f"{STREAM_COLUMN} = %s AND {OFFSET_COLUMN} > %s AND {OFFSET_COLUMN} <= %s"
    rows = _visible(now).filter(_any_of(one, ranges))
    by_stream: dict[int, list[Notification]] = defaultdict(list)
    for row in rows.select_related("actor").order_by("stream", "offset"):
        by_stream[row.stream_id or 0].append(row)
    encoded = {stream_id: encode_rows(rows) for stream_id, rows in by_stream.items()}
    return {
        entry: [
            publication
            for publication in encoded.get(entry.stream_id, ())
            if entry.after < publication.offset <= entry.upto
        ]
        for entry in ranges
    }


def _any_of(one: str, places: Sequence[Sequence[int]]) -> RawSQL:
    """A condition on notifications: ``one`` with the parameters of any of these places.

    Raw SQL, because building it from Q objects takes longer than the query (60 µs of CPU per
    place).
    """
    return RawSQL(  # noqa: S611 - all values are parameters
        "(" + ") OR (".join([one] * len(places)) + ")",
        [value for place in places for value in place],
        output_field=BooleanField(),
    )


def read_back(
    stream_id: int, before: int, since: int, limit: int, now: datetime | None = None
) -> list[Publication]:
    """Read up to ``limit`` publications below ``before`` and above ``since``, newest first."""
    rows = _rows(stream_id, now).filter(offset__lt=before, offset__gt=since)
    return encode_rows(rows.order_by("-offset")[:limit])


def read_tops(stream_ids: Iterable[int]) -> dict[int, Top]:
    """Read the tops of streams, by stream id. Deleted streams are left out."""
    ids = list(stream_ids)
    tops: dict[int, Top] = {}
    fields = ("pk", "epoch", "top", "revision", "floor", Instant("published_at"), signature())
    for start in range(0, len(ids), TOPS_PER_QUERY):
        rows = Stream.objects.using(database_alias()).filter(
            pk__in=ids[start : start + TOPS_PER_QUERY]
        )
        for pk, *values in rows.values_list(*fields):
            tops[pk] = Top._make(values)
    return tops


def read_instants(places: Mapping[int, int]) -> dict[int, int]:
    """Read when entries were published, with one query per 100 entries.

    Args:
        places: the offset of one entry for each stream id.

    Returns:
        The instant of each entry that still exists, visible or not, by stream id; see
        :mod:`notifications.streams.instants`.
    """
    found: dict[int, int] = {}
    for chunk in chunks(list(places.items()), RANGES_PER_QUERY):
        condition = _any_of(f"{STREAM_COLUMN} = %s AND {OFFSET_COLUMN} = %s", chunk)
        rows = Notification.objects.using(database_alias()).filter(condition)
        found |= dict(rows.values_list("stream", Instant("published_at")))
    return found


def _rows(stream_id: int, now: datetime | None) -> NotificationQuerySet:
    return _visible(now).filter(stream=stream_id).select_related("actor")


def _visible(now: datetime | None) -> NotificationQuerySet:
    return Notification.objects.using(database_alias()).visible(now)
