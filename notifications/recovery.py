"""What a connecting client has missed: where each stream resumes, and the first page from there."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .history import Page, Publication, read_page
from .subscriptions import Feed

#: Content of one stream in one reply, in bytes; the rest follows as pushes.
MAX_REPLY_SIZE = 256 * 1024


class Position(NamedTuple):
    """How far a client says it has come."""

    epoch: str
    offset: int


class Recovered(NamedTuple):
    """Where a stream resumes for one client.

    ``recovered`` is False when the client's position cannot be served (pruned, another epoch,
    beyond the top): then it resumes at the top and the client has to fetch the inbox again.
    """

    feed: Feed
    page: Page
    asked: bool
    recovered: bool


def recover(
    feeds: Iterable[Feed], positions: Mapping[str, Position], limit: int
) -> list[Recovered]:
    """Resume each feed after the client's position, else after what the user has acknowledged.

    Args:
        feeds: loaded after the layer groups were joined ("join, then read").
        positions: by channel; feeds without one resume at ``delivered``.
        limit: publications per feed.
    """
    return [_recover(feed, positions.get(feed.name), limit) for feed in feeds]


def _recover(feed: Feed, position: Position | None, limit: int) -> Recovered:
    if position is None:
        return Recovered(feed, _page(feed, feed.delivered, limit), asked=False, recovered=True)
    if not _can_serve(feed, position):
        return Recovered(feed, Page([], feed.top, more=False), asked=True, recovered=False)
    after = max(position.offset, feed.since)
    return Recovered(feed, _page(feed, after, limit), asked=True, recovered=True)


def _can_serve(feed: Feed, position: Position) -> bool:
    return position.epoch == feed.epoch and feed.floor <= position.offset <= feed.top


def _page(feed: Feed, after: int, limit: int) -> Page:
    if after >= feed.top:
        return Page([], max(after, feed.top), more=False)
    return _cut(read_page(feed.stream_id, after, limit))


def _cut(page: Page) -> Page:
    """Keep a reply small enough for any client; the position never runs ahead of what is in it."""
    size = 0
    kept: list[Publication] = []
    for publication in page.publications:
        size += len(publication.data)
        if kept and size > MAX_REPLY_SIZE:
            return Page(kept, kept[-1].offset, more=True)
        kept.append(publication)
    return page
