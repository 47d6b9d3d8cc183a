"""The rules for positions: where a client resumes, and whether it may resume there.

A position is resumed only if the client got everything up to it and will get everything after it.
Entries below :func:`lowest` may not have been sent: they are from before the user joined or while
the subscription was muted, or they were pruned. Offsets above the top were never given, or by a
history that is gone.
"""

from typing import NamedTuple

from .feeds import Feed


class Position(NamedTuple):
    """The position that a client claims to have reached."""

    epoch: str
    offset: int


#: Before everything that was ever published, in whichever history: what SDKs send for an
#: application that has no state of a stream yet (``getState``, ``since``).
ORIGIN = Position("", 0)


class Start(NamedTuple):
    """Where a client resumes.

    Args:
        after: offset after which publications are sent.
        asked: whether the client sent a position.
        recovered: whether the client misses nothing when it resumes here.
    """

    after: int
    asked: bool
    recovered: bool


def lowest(feed: Feed) -> int:
    """The lowest offset after which everything is sent to the user."""
    return max(feed.since, feed.unmuted, feed.floor)


def beginning(feed: Feed) -> int:
    """The offset after which a client without a position begins: what its user acknowledged."""
    return min(max(feed.delivered, feed.since, feed.floor), feed.top)


def may_resume(feed: Feed, position: Position) -> bool:
    """Return whether a client misses nothing if it resumes at this position."""
    if position.epoch != feed.epoch and position != ORIGIN:
        return False
    return lowest(feed) <= position.offset <= feed.top


def is_ahead(feed: Feed, position: Position) -> bool:
    """Return whether the offset is above the top.

    Then either the history has gone back, or the client claims an offset that it never got.
    """
    return position.epoch == feed.epoch and position.offset > feed.top


def resume_at(feed: Feed, position: Position | None) -> Start:
    """Decide where a client resumes.

    Args:
        feed: the user's feed of the stream.
        position: the position that the client sent, or None. If it cannot be resumed, the client
            resumes at the top with ``recovered: false``, and has to fetch the inbox.
    """
    if position is None:
        return Start(beginning(feed), asked=False, recovered=True)
    if not may_resume(feed, position):
        return Start(feed.top, asked=True, recovered=False)
    return Start(position.offset, asked=True, recovered=True)
