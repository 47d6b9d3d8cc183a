"""The read side of streams: pages of publications after a position, and tops."""

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

#: Streams per statement of :func:`read_tops`.
TOPS = 1000

#: Ranges per statement of :func:`read_ranges`; each is a branch of one OR.
RANGES = 100

#: Columns of notifications, for conditions that are written out.
STREAM = f'"{Notification._meta.db_table}"."stream_id"'
OFFSET = f'"{Notification._meta.db_table}"."offset"'


#: Seconds for which a range is remembered, how many ranges, and bytes of a range at most.
REMEMBERED = 1.0
REMEMBERED_RANGES = 64
REMEMBERED_SIZE = 256 * 1024


class Page(NamedTuple):
    """Publications in order, and the position they lead to.

    ``offset`` is the position after the page: the last publication's offset or, at the end of
    the stream, the top that was read first, so that the position moves over what is not sent
    (expired, withdrawn, pruned). ``more`` tells that further publications lie behind it.
    ``at`` tells when the entry at ``offset`` was published, see
    :mod:`notifications.streams.instants`; 0 if that is not known.
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
    """Where a stream ends, and how often its user's state has changed.

    ``floor`` is the offset up to which it was pruned; ``at`` tells when the entry at ``offset`` was
    published, see :mod:`notifications.streams.instants`, 0 if that is not known.
    """

    epoch: str
    offset: int
    revision: int
    floor: int = 0
    at: int = 0


def read_page(stream_id: int, after: int, limit: int, now: datetime | None = None) -> Page:
    """The next ``limit`` publications after the offset ``after``.

    The top is read before the rows: a publication sequenced in between is in the page or lies
    behind it, never under its position. A stream that is gone has nothing more.
    """
    return read_after(stream_id, read_tops([stream_id]).get(stream_id), after, limit, now)


def read_after(
    stream_id: int, top: Top | None, after: int, limit: int, now: datetime | None = None
) -> Page:
    """:func:`read_page` where the top has been read already; None for a stream that is gone."""
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
    """The publications of many ranges, each in order, at a query per hundred ranges.

    Offsets have no gaps, so a range bounds what it holds without a LIMIT.
    """
    wanted = list(dict.fromkeys(ranges))
    found: dict[Range, list[Publication]] = {}
    for start in range(0, len(wanted), RANGES):
        found |= _read_ranges(wanted[start : start + RANGES], now)
    return found


class Recent:
    """Ranges of shared streams, remembered for a moment.

    After a deploy everybody comes back to the same few ranges: this asks the database for each
    of them once a second, however many clients there are. What is withdrawn meanwhile may still
    be given for that second, as to those who were connected.

    Args:
        clock: tells monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[tuple[str, Range], tuple[float, list[Publication]]] = {}

    def read(
        self, ranges: Iterable[Range], epochs: Mapping[int, str]
    ) -> dict[Range, list[Publication]]:
        """:func:`read_ranges`, unless it was read a moment ago. Safe in any thread.

        Args:
            ranges: of shared streams.
            epochs: of these streams, by primary key. In another epoch an offset is something else.
        """
        now = self._clock()
        wanted = {entry: (epochs.get(entry.stream_id, ""), entry) for entry in ranges}
        remembered = self._found
        found = {
            entry: remembered[key][1]
            for entry, key in wanted.items()
            if key in remembered and remembered[key][0] > now
        }
        read = read_ranges(wanted.keys() - found.keys())
        self._remember({wanted[entry]: publications for entry, publications in read.items()}, now)
        return found | read

    def _remember(self, read: Mapping[tuple[str, Range], list[Publication]], now: float) -> None:
        kept = {key: value for key, value in list(self._found.items()) if value[0] > now}
        kept |= {
            key: (now + REMEMBERED, publications)
            for key, publications in read.items()
            if sum(len(publication.data) for publication in publications) <= REMEMBERED_SIZE
        }
        self._found = dict(list(kept.items())[-REMEMBERED_RANGES:])


def _read_ranges(ranges: list[Range], now: datetime | None) -> dict[Range, list[Publication]]:
    one = f"{STREAM} = %s AND {OFFSET} > %s AND {OFFSET} <= %s"
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
    """A condition on notifications: what ``one`` says holds for one of these places.

    Written out, because building it from Q objects takes longer than the query (60 µs of CPU for
    each place).
    """
    return RawSQL(  # noqa: S611 - all values are parameters
        "(" + ") OR (".join([one] * len(places)) + ")",
        [value for place in places for value in place],
        output_field=BooleanField(),
    )


def read_back(
    stream_id: int, before: int, since: int, limit: int, now: datetime | None = None
) -> list[Publication]:
    """Up to ``limit`` publications below ``before`` and above ``since``, newest first."""
    rows = _rows(stream_id, now).filter(offset__lt=before, offset__gt=since)
    return encode_rows(rows.order_by("-offset")[:limit])


def read_tops(stream_ids: Iterable[int]) -> dict[int, Top]:
    """Where streams end, by stream id. Streams that are gone are left out."""
    ids = list(stream_ids)
    tops: dict[int, Top] = {}
    fields = ("pk", "epoch", "top", "revision", "floor", Instant("published_at"))
    for start in range(0, len(ids), TOPS):
        rows = Stream.objects.using(database_alias()).filter(pk__in=ids[start : start + TOPS])
        for pk, *values in rows.values_list(*fields):
            tops[pk] = Top._make(values)
    return tops


def read_instants(places: Mapping[int, int]) -> dict[int, int]:
    """When the entries at these offsets were published, by stream id, at a query per hundred.

    Args:
        places: an offset by stream id.

    Returns:
        For each entry that is still there, whether or not it is visible; see
        :mod:`notifications.streams.instants`.
    """
    found: dict[int, int] = {}
    for chunk in chunks(list(places.items()), RANGES):
        condition = _any_of(f"{STREAM} = %s AND {OFFSET} = %s", chunk)
        rows = Notification.objects.using(database_alias()).filter(condition)
        found |= dict(rows.values_list("stream", Instant("published_at")))
    return found


def _rows(stream_id: int, now: datetime | None) -> NotificationQuerySet:
    return _visible(now).filter(stream=stream_id).select_related("actor")


def _visible(now: datetime | None) -> NotificationQuerySet:
    return Notification.objects.using(database_alias()).visible(now)
