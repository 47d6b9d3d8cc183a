"""Recovery of a connecting client: where each stream resumes, and the first page from there."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from ..metrics import POSITIONS_AHEAD
from ..protocol import messages
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
    the client has to fetch the inbox. ``publications`` are those of the page as a reply has them;
    they are the same objects for all clients that need the page.
    """

    feed: Feed
    page: Page
    asked: bool
    recovered: bool
    publications: list[messages.Publication]


class _Start(NamedTuple):
    """Where a stream resumes, and the range of the first page; None if there is nothing to read."""

    feed: Feed
    after: int
    asked: bool
    recovered: bool
    page: Range | None


class _Publications(NamedTuple):
    """The publications of a range, as a reply has them, and the bytes that they take in it."""

    page: list[Publication]
    messages: list[messages.Publication]
    cost: int


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
        [_start(feed, positions.get(feed.name), limit) for feed in feeds]
        for feeds, positions in clients
    ]
    pages = _read(chain.from_iterable(starts), recent)
    return [_reply(started, pages) for started in starts]


class ReplyBudget:
    """The bytes that are left in one reply."""

    def __init__(self) -> None:
        self._left = MAX_REPLY_SIZE
        self._is_empty = True

    def reserve(self, size: int) -> None:
        """Take ``size`` bytes for a part that cannot be left out."""
        self._left -= size

    def take_all(self, size: int) -> bool:
        """Take parts of ``size`` bytes together, if they fit; return whether they did."""
        if size > self._left:
            return False
        self._left -= size
        self._is_empty = self._is_empty and not size
        return True

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


def _read(starts: Iterable[_Start], recent: Recent | None) -> dict[Range, _Publications]:
    private: set[Range] = set()
    shared: set[Range] = set()
    epochs: dict[int, str] = {}
    for feed, _, _, _, entry in starts:
        if entry is not None:
            epochs[entry.stream_id] = feed.epoch
            (private if is_private(feed.name) else shared).add(entry)
    if recent is None:
        found = read_ranges(private | shared)
    else:
        found = read_ranges(private) | recent.read(shared, epochs)
    # Many clients need the same page.
    return {
        entry: _Publications(page, [one.message() for one in page], sum(map(_cost, page)))
        for entry, page in found.items()
    }


def _start(feed: Feed, position: Position | None, limit: int) -> _Start:
    if position is not None and is_ahead(feed, position):
        POSITIONS_AHEAD.inc()
    resumed = resume_at(feed, position)
    after = max(resumed.after, feed.floor)  # pruned entries cannot be read
    has_page = after < feed.top
    page = Range(feed.stream_id, after, min(feed.top, after + limit)) if has_page else None
    return _Start(feed, *resumed, page)


def _reply(started: Sequence[_Start], pages: Mapping[Range, _Publications]) -> list[Recovered]:
    """The recovered streams of one client, cut to the size of one reply."""
    budget = ReplyBudget()
    for start in started:
        budget.reserve(STREAM_COST + len(start.feed.name.encode()))
    return [_recovered(start, pages, budget) for start in started]


def _recovered(
    start: _Start, pages: Mapping[Range, _Publications], budget: ReplyBudget
) -> Recovered:
    page = _page(start, pages, budget)
    publications: list[messages.Publication] = []
    if start.page is not None:
        publications = pages[start.page].messages[: len(page.publications)]
    return Recovered(start.feed, page, start.asked, start.recovered, publications)


def _page(start: _Start, pages: Mapping[Range, _Publications], budget: ReplyBudget) -> Page:
    entry = start.page
    if entry is None:
        return Page([], max(start.after, start.feed.top), more=False)
    publications, _, cost = pages[entry]
    if not budget.take_all(cost):
        fitting = first_that_fit(publications, budget)
        if len(fitting) < len(publications):
            # The position must not run ahead of the publications in the reply.
            offset = fitting[-1].offset if fitting else entry.after
            return Page(fitting, offset, more=True)
    return Page(publications, entry.upto, more=entry.upto < start.feed.top)


def first_that_fit(
    publications: list[Publication], budget: ReplyBudget | None = None
) -> list[Publication]:
    """Return the first of these publications, as many as fit into a reply.

    Args:
        publications: in the order in which they are sent.
        budget: what is left of the reply; default a whole one.
    """
    return publications[: (budget or ReplyBudget()).take(map(_cost, publications))]


def _cost(publication: Publication) -> int:
    return publication.size + PUBLICATION_COST
