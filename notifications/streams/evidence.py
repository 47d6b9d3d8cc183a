"""Detection of histories that have gone back: what a process has seen, compared with the tables.

After a backup was restored, or a replica that lacks the last transactions took over, offsets are
given a second time. The tops alone do not show it, because they pass the old ones again. So an
entry is compared, identified by its offset and the time at which it was published.
"""

from collections.abc import Mapping
from typing import NamedTuple

from .encoding import Publication
from .history import Page, Range, Top, read_after, read_instants, read_ranges, read_tops


class Seen(NamedTuple):
    """What a process knows of a stream before it is read again.

    Args:
        epoch: epoch of the stream.
        top: highest offset that was read or announced; only committed entries are announced.
        revision: revision of the stream.
        offset: offset of the newest entry whose time is known.
        at: when that entry was published, as an instant in microseconds (see
            :func:`notifications.streams.instants.instant`); 0 if no time is known.
    """

    epoch: str
    top: int
    revision: int
    offset: int
    at: int


class WentBack(Exception):
    """The history has gone back, or has another epoch by now."""


class Pruned(Exception):
    """Entries after the position were pruned, up to the offset ``floor``."""

    def __init__(self, floor: int) -> None:
        super().__init__(floor)
        self.floor = floor


class Found(NamedTuple):
    """Tops by stream id, and the ids of the streams whose history has gone back."""

    tops: dict[int, Top]
    gone_back: set[int]


class Read(NamedTuple):
    """Publications by range, tops by stream id, and the streams that were not read.

    ``refused`` has a :class:`WentBack` or :class:`Pruned` for each of these, by stream id.
    """

    publications: dict[Range, list[Publication]]
    tops: dict[int, Top]
    refused: dict[int, Exception]


def look(seen: Mapping[int, Seen]) -> Found:
    """Compare streams with the tables.

    It takes one query per 1000 streams, and one per 100 streams with new entries.

    Args:
        seen: what the process knew of each stream before this call, by stream id.
    """
    tops = read_tops(seen)
    return Found(tops, _gone_back(seen, tops))


def read_on(stream_id: int, after: int, limit: int, seen: Seen) -> Page:
    """Read a page like :func:`notifications.streams.history.read_page`, if ``seen`` still holds.

    Args:
        stream_id: primary key of the stream.
        after: offset after which the page begins.
        limit: publications at most.
        seen: what the process knew of the stream before this call.

    Raises:
        WentBack: the history is another one.
        Pruned: entries after ``after`` were pruned.
    """
    found = look({stream_id: seen})
    top = found.tops.get(stream_id)
    refusal = _refusal(stream_id, after, seen, found)
    if refusal is not None:
        raise refusal
    return read_after(stream_id, top, after, limit)


def read_ranges_on(ranges: Mapping[int, Range], seen: Mapping[int, Seen]) -> Read:
    """Read one range of each stream for which ``seen`` still holds; the others are refused.

    Args:
        ranges: the ranges by stream id.
        seen: what the process knew of each of these streams before this call, by stream id.
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
        return None  # the stream was deleted, so there is nothing to read
    if top.epoch != seen.epoch or stream_id in found.gone_back:
        return WentBack()
    return Pruned(top.floor) if after < top.floor else None


def _gone_back(seen: Mapping[int, Seen], tops: Mapping[int, Top]) -> set[int]:
    gone_back: set[int] = set()
    #: Streams with new entries, and the offset of the known entry, whose time must be the same.
    entries: dict[int, int] = {}
    for stream_id, top in tops.items():
        known = seen[stream_id]
        if top.epoch != known.epoch:
            continue  # a new epoch is noticed without this comparison
        if top.offset < known.top or top.revision < known.revision:
            gone_back.add(stream_id)
        elif known.at and top.offset > known.offset:
            entries[stream_id] = known.offset
        elif known.at and top.at and top.at != known.at:
            gone_back.add(stream_id)
    # An entry that is missing was pruned.
    found = read_instants(entries)
    return gone_back | {pk for pk, at in found.items() if at != seen[pk].at}
