"""May a position be moved over an offset, or be resumed from? Everybody asks here.

A position is resumed only if all between it and the top was sent to that client, or will be. What
lies below :func:`lowest` may have passed without being sent: before the user joined, while the
subscription was muted, or it was pruned. What lies beyond the top was never given out, or by a
history that is gone.
"""

from typing import NamedTuple

from .feeds import Feed


class Position(NamedTuple):
    """How far a client says it has come."""

    epoch: str
    offset: int


class Start(NamedTuple):
    """From where a client is sent publications.

    ``asked`` tells that it has shown a position, ``recovered`` that it misses nothing then.
    """

    after: int
    asked: bool
    recovered: bool


def lowest(feed: Feed) -> int:
    """The lowest offset after which everything is sent to the user."""
    return max(feed.since, feed.unmuted, feed.floor)


def beginning(feed: Feed) -> int:
    """Where a client without a position begins: after what its user has acknowledged."""
    return min(max(feed.delivered, feed.since, feed.floor), feed.top)


def may_resume(feed: Feed, position: Position) -> bool:
    """Was everything up to this position sent, and will everything behind it be?"""
    return position.epoch == feed.epoch and lowest(feed) <= position.offset <= feed.top


def is_ahead(feed: Feed, position: Position) -> bool:
    """Is this an offset that the history has not given out?

    Then the history may have gone back; or the client lies.
    """
    return position.epoch == feed.epoch and position.offset > feed.top


def resume_at(feed: Feed, position: Position | None) -> Start:
    """Where a client resumes.

    Args:
        position: what it has shown, None if it has shown nothing. One that cannot be resumed leads
            to the top; the client is told, and fetches the inbox.
    """
    if position is None:
        return Start(beginning(feed), asked=False, recovered=True)
    if not may_resume(feed, position):
        return Start(feed.top, asked=True, recovered=False)
    return Start(position.offset, asked=True, recovered=True)
