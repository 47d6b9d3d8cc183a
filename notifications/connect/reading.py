"""A page of one stream for each of many readers, who come by HTTP and keep their own position.

As for connecting clients (:mod:`.admission`), readers that wait at the same time are served
together: see :class:`notifications.hub.batches.Batcher`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..conf import app_settings
from ..host.questions import Undecided
from ..protocol import codes
from ..protocol.codes import ClientError
from ..streams import revisions
from ..streams.feeds import Feed, Inboxes
from ..streams.history import Page, Recent
from ..streams.names import user_stream
from ..streams.positions import Position, lowest
from ..streams.recovery import recover_many
from . import authentication
from .admission import read_sound_inboxes
from .authentication import Identity

#: The two positions that a reader may ask for without an epoch: before everything that the user
#: may see of the stream, and after all of it.
BEGINNING = Position("", -1)
TAIL = Position("", -2)


class Wanted(NamedTuple):
    """What a reader asks for.

    Args:
        identity: who reads.
        session_key: the session key that the user was authenticated by; "" for a token.
        name: name of a stream.
        position: the position that the reader has reached, :data:`BEGINNING` or :data:`TAIL`.
    """

    identity: Identity
    session_key: str
    name: str
    position: Position


class Found(NamedTuple):
    """The page after the position.

    ``start`` is the offset that the page begins after. ``page`` is None if the position cannot be
    resumed (see :mod:`notifications.streams.positions`). ``own`` is the feed of the user's private
    stream; its revision was read before anything else. None if there is none yet.
    """

    feed: Feed
    start: int
    page: Page | None
    own: Feed | None


class Unprepared(Exception):
    """Rows of the user are missing: pairs of user id and stream name."""

    def __init__(self, missing: Sequence[tuple[Any, str]]) -> None:
        super().__init__(f"{len(missing)} rows")
        self.missing = missing


def read_pages(wanted: Sequence[Wanted], recent: Recent | None = None) -> list[Found | Exception]:
    """Read a page for each reader. Users, sessions and rights are read again.

    Args:
        wanted: one entry for each reader.
        recent: cached pages of shared streams.

    Returns:
        For each reader the page, or an instance of
        :class:`~notifications.connect.authentication.Revoked`, :class:`Unprepared`,
        :class:`~notifications.host.questions.Undecided`, or
        :class:`~notifications.protocol.codes.ClientError`: the user may not read the stream.
    """
    # Revisions before users, so that a later change shows as a different revision.
    marks = revisions.of_users([entry.identity.user.pk for entry in wanted])
    confirmed = authentication.confirm([(entry.identity, entry.session_key) for entry in wanted])
    users = {entry.user.pk: entry.user for entry in confirmed if isinstance(entry, Identity)}
    inboxes = read_sound_inboxes(list(users.values()))
    feeds = [
        _choose(inboxes, now.user.pk, entry.name) if isinstance(now, Identity) else now
        for now, entry in zip(confirmed, wanted, strict=True)
    ]
    return _pages(wanted, feeds, inboxes, marks, recent)


def _choose(inboxes: Inboxes, user_id: Any, name: str) -> Feed | Exception:
    for feed in inboxes.feeds[user_id]:
        if feed.name == name:
            return feed
    missing = [pair for pair in inboxes.missing if pair[0] == user_id]
    if (user_id, name) in missing:
        return Unprepared(missing)
    if name in inboxes.undecided.get(user_id, ()):
        return Undecided()
    return ClientError(codes.PERMISSION_DENIED)


def _pages(
    wanted: Sequence[Wanted],
    feeds: Sequence[Feed | Exception],
    inboxes: Inboxes,
    marks: Mapping[Any, int],
    recent: Recent | None,
) -> list[Found | Exception]:
    clients = [
        ([feed], {feed.name: start_of(feed, entry.position)})
        if isinstance(feed, Feed)
        else ([], {})
        for entry, feed in zip(wanted, feeds, strict=True)
    ]
    pages = recover_many(clients, app_settings.PAGE_SIZE, recent)
    found: list[Found | Exception] = []
    for entry, feed, items in zip(wanted, feeds, pages, strict=True):
        if isinstance(feed, Exception):
            found.append(feed)
            continue
        page = items[0].page if items[0].recovered else None
        start = start_of(feed, entry.position)
        if page is not None and feed.muted:
            page = Page([], feed.top, more=False)
        own = _own(inboxes, marks, entry.identity.user.pk)
        found.append(Found(feed, start.offset, page, own))
    return found


def start_of(feed: Feed, position: Position) -> Position:
    """The position in a feed that a reader asks for."""
    if position == BEGINNING:
        return Position(feed.epoch, min(lowest(feed), feed.top))
    return Position(feed.epoch, feed.top) if position == TAIL else position


def _own(inboxes: Inboxes, marks: Mapping[Any, int], user_id: Any) -> Feed | None:
    name = user_stream(user_id)
    for feed in inboxes.feeds[user_id]:
        if feed.name == name:
            return feed._replace(revision=marks.get(user_id, feed.revision))
    return None
