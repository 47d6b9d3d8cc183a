"""Recovery of a connecting client: where each stream resumes, and the first page from there."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from ..metrics import POSITIONS_AHEAD
from .encoding import Publication
from .feeds import Feed
from .history import Page, Range, Recent, read_ranges
from .names import is_private
from .positions import Position, is_ahead, resume_at

#: Bytes of one reply at most; the rest follows as pushes, or on the next page. Some clients close
#: the connection at a frame of 1 MiB, and would do so again after each reconnect.
MAX_REPLY_SIZE = 256 * 1024

#: Bytes that a reply spends on a publication besides its data, and on a stream besides its name.
PUBLICATION_COST = 40
STREAM_COST = 160


class Recovered(NamedTuple):
    """Where a stream resumes for one client, and the first page.

    ``asked`` says whether the client sent a position. ``recovered`` is False if that cannot be
    resumed (see :mod:`notifications.streams.positions`): the stream then resumes at the top, and
    the client has to fetch the inbox.
    """

    feed: Feed
    page: Page
    asked: bool
    recovered: bool


class _Start(NamedTuple):
    feed: Feed
    after: int
    asked: bool
    recovered: bool


def recover(
    feeds: Iterable[Feed], positions: Mapping[str, Position], limit: int
) -> list[Recovered]:
    """Resume each feed after the client's position, or else after what the user acknowledged.

    The result fits into one reply. A stream for which there is no room left gets an empty page with
    ``more`` set.

    Args:
        feeds: loaded after the layer groups were joined ("join, then read").
        positions: the client's positions by stream name; a feed without one resumes after the
            ``delivered`` mark of its user.
        limit: offsets per feed at most.
    """
    return recover_many([(feeds, positions)], limit)[0]


def recover_many(
    clients: Iterable[tuple[Iterable[Feed], Mapping[str, Position]]],
    limit: int,
    recent: Recent | None = None,
) -> list[list[Recovered]]:
    """:func:`recover` for many clients; a page that several of them need is read once.

    Args:
        clients: for each client its feeds, and the positions that it sent.
        limit: offsets per feed at most.
        recent: cache for pages of shared streams; None to read everything.
    """
    starts = [
        [_start(feed, positions.get(feed.name)) for feed in feeds] for feeds, positions in clients
    ]
    pages = _read(chain.from_iterable(starts), limit, recent)
    return [_reply(started, pages, limit) for started in starts]


class ReplyBudget:
    """The bytes that are left in one reply."""

    def __init__(self) -> None:
        self._left = MAX_REPLY_SIZE
        self._is_empty = True

    def reserve(self, size: int) -> None:
        """Take ``size`` bytes for a part that cannot be left out."""
        self._left -= size

    def take(self, sizes: Iterable[int]) -> int:
        """Take as many of these parts as fit, in their order.

        The first part of a reply always fits, because it would not fit into the next one either.

        Args:
            sizes: bytes of each part.

        Returns:
            The number of parts that fit.
        """
        count = 0
        for size in sizes:
            if size > self._left and not self._is_empty:
                return count
            self._left -= size
            self._is_empty = False
            count += 1
        return count


def _read(
    starts: Iterable[_Start], limit: int, recent: Recent | None
) -> dict[Range, list[Publication]]:
    private: set[Range] = set()
    shared: set[Range] = set()
    epochs: dict[int, str] = {}
    for start in starts:
        entry = _range(start, limit)
        epochs[entry.stream_id] = start.feed.epoch
        if entry.after < entry.upto:
            (private if is_private(start.feed.name) else shared).add(entry)
    if recent is None:
        return read_ranges(private | shared)
    return read_ranges(private) | recent.read(shared, epochs)


def _start(feed: Feed, position: Position | None) -> _Start:
    if position is not None and is_ahead(feed, position):
        POSITIONS_AHEAD.inc()
    return _Start(feed, *resume_at(feed, position))


def _range(start: _Start, limit: int) -> Range:
    # Pruned entries cannot be read.
    after = max(start.after, start.feed.floor)
    return Range(start.feed.stream_id, after, min(start.feed.top, after + limit))


def _reply(
    started: Sequence[_Start], pages: Mapping[Range, list[Publication]], limit: int
) -> list[Recovered]:
    """The recovered streams of one client, cut to the size of one reply."""
    budget = ReplyBudget()
    for start in started:
        budget.reserve(STREAM_COST + len(start.feed.name.encode()))
    return [
        Recovered(start.feed, _page(start, pages, limit, budget), start.asked, start.recovered)
        for start in started
    ]


def _page(
    start: _Start, pages: Mapping[Range, list[Publication]], limit: int, budget: ReplyBudget
) -> Page:
    entry = _range(start, limit)
    if entry.after >= entry.upto:
        return Page([], max(start.after, start.feed.top), more=False)
    publications = first_that_fit(pages[entry], budget)
    if len(publications) < len(pages[entry]):
        # The position must not run ahead of the publications in the reply.
        offset = publications[-1].offset if publications else entry.after
        return Page(publications, offset, more=True)
    return Page(publications, entry.upto, more=entry.upto < start.feed.top)


def first_that_fit(
    publications: list[Publication], budget: ReplyBudget | None = None
) -> list[Publication]:
    """Return the first of these publications, as many as fit into a reply.

    Args:
        publications: in the order in which they are sent.
        budget: what is left of the reply; default a whole one.
    """
    costs = (publication.size + PUBLICATION_COST for publication in publications)
    return publications[: (budget or ReplyBudget()).take(costs)]
