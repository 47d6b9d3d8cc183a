"""Has a history gone back? What a process has seen of streams, held against the tables.

After a backup was restored, or a replica took over that lacks the last transactions, offsets are
given a second time. The tops alone do not tell: they pass the old ones again. So what is compared
is an entry, named by its offset and the time at which it was published.
"""

from collections.abc import Mapping
from typing import NamedTuple

from .encoding import Publication
from .history import Page, Range, Top, read_after, read_instants, read_ranges, read_tops


class Seen(NamedTuple):
    """What is known of a stream before it is read again.

    Args:
        epoch: of the stream.
        top: highest offset that was read or announced; announced is only what was committed.
        revision: of the stream.
        offset: of the newest entry that is known by its time.
        at: when that was published; see :func:`notifications.streams.instants.instant`. 0 for none.
    """

    epoch: str
    top: int
    revision: int
    offset: int
    at: int


class WentBack(Exception):
    """The history is not the one that was seen, or has another epoch by now."""


class Pruned(Exception):
    """What lies behind the position was pruned, up to ``floor``."""

    def __init__(self, floor: int) -> None:
        super().__init__(floor)
        self.floor = floor


class Found(NamedTuple):
    """Tops by stream id, and those among the streams whose history has gone back."""

    tops: dict[int, Top]
    gone_back: set[int]


class Read(NamedTuple):
    """Publications, tops by stream id, and streams that were not read.

    ``refused`` holds a :class:`WentBack` or :class:`Pruned` by stream id.
    """

    publications: dict[Range, list[Publication]]
    tops: dict[int, Top]
    refused: dict[int, Exception]


def look(seen: Mapping[int, Seen]) -> Found:
    """Compare streams with the tables: one query, and one per hundred that have gone on.

    Args:
        seen: by stream id; taken before this is called.
    """
    tops = read_tops(seen)
    return Found(tops, _gone_back(seen, tops))


def read_on(stream_id: int, after: int, limit: int, seen: Seen) -> Page:
    """:func:`notifications.streams.history.read_page`, if it is the history that was seen.

    Raises:
        WentBack: it is another one.
        Pruned: there is a hole behind ``after``.
    """
    found = look({stream_id: seen})
    top = found.tops.get(stream_id)
    refusal = _refusal(stream_id, after, seen, found)
    if refusal is not None:
        raise refusal
    return read_after(stream_id, top, after, limit)


def read_ranges_on(ranges: Mapping[int, Range], seen: Mapping[int, Seen]) -> Read:
    """:func:`notifications.streams.history.read_ranges` of those histories that were seen.

    Args:
        ranges: one by stream id.
        seen: by stream id.
    """
    found = look(seen)
    refused: dict[int, Exception] = {}
    for stream_id, entry in ranges.items():
        refusal = _refusal(stream_id, entry.after, seen[stream_id], found)
        if refusal is not None:
            refused[stream_id] = refusal
    wanted = [entry for stream_id, entry in ranges.items() if stream_id not in refused]
    return Read(read_ranges(wanted), found.tops, refused)


def _refusal(stream_id: int, after: int, seen: Seen, found: Found) -> Exception | None:
    top = found.tops.get(stream_id)
    if top is None:
        return None  # gone, and with it all that could be read
    if top.epoch != seen.epoch or stream_id in found.gone_back:
        return WentBack()
    return Pruned(top.floor) if after < top.floor else None


def _gone_back(seen: Mapping[int, Seen], tops: Mapping[int, Top]) -> set[int]:
    gone_back: set[int] = set()
    #: Streams that have gone on, and the offset of the entry that must still be there.
    entries: dict[int, int] = {}
    for stream_id, top in tops.items():
        known = seen[stream_id]
        if top.epoch != known.epoch:
            continue  # of that, everybody is told anyway
        if top.offset < known.top or top.revision < known.revision:
            gone_back.add(stream_id)
        elif known.at and top.offset > known.offset:
            entries[stream_id] = known.offset
        elif known.at and top.at and top.at != known.at:
            gone_back.add(stream_id)
    # One that is not there any more was pruned.
    found = read_instants(entries)
    return gone_back | {pk for pk, at in found.items() if at != seen[pk].at}
