"""What connecting clients need of the database, for many of them at once.

After a deploy all clients come back in the same seconds. Building a query costs far more than
running it, so those that wait are served together: see :class:`notifications.hub.Batcher`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import authentication, epochs, streams, subscriptions
from .authentication import Credentials, Identity
from .conf import app_settings
from .history import Recent
from .positions import Position
from .recovery import Recovered, recover_many
from .subscriptions import Feed
from .unread import unread_counts


class Admitted(NamedTuple):
    """Who connects, and the names of the streams to join before anything is read."""

    identity: Identity
    names: list[str]


class Returning(NamedTuple):
    """An admitted user, and the positions that the client has shown, by channel."""

    user: Any
    positions: dict[str, Position]


class Resumed(NamedTuple):
    recovered: list[Recovered]
    unread: int


def admit(callers: Sequence[Credentials]) -> list[Admitted | Exception]:
    """Authenticate callers; see :func:`notifications.authentication.identify` for the errors."""
    found = authentication.identify(callers)
    users = {entry.user.pk: entry.user for entry in found if isinstance(entry, Identity)}
    names = streams.names_by_user(users.values())
    return [
        Admitted(entry, names[entry.user.pk]) if isinstance(entry, Identity) else entry
        for entry in found
    ]


def resume(returning: Sequence[Returning], recent: Recent | None = None) -> list[Resumed]:
    """Where each client resumes in its streams, what it has missed, and its unread count.

    Args:
        returning: users and the positions that their clients have shown.
        recent: pages of shared streams that need not be read again.
    """
    users = list({entry.user.pk: entry.user for entry in returning}.values())
    feeds = _feeds(users)
    unread = unread_counts(users, feeds)
    pushed = {
        user_id: [feed for feed in own if not feed.muted and not streams.is_topic(feed.name)]
        for user_id, own in feeds.items()
    }
    recovered = recover_many(
        ((pushed[entry.user.pk], entry.positions) for entry in returning),
        app_settings.PAGE_SIZE,
        recent,
    )
    return [
        Resumed(pages, unread[entry.user.pk])
        for entry, pages in zip(returning, recovered, strict=True)
    ]


def _feeds(users: Sequence[Any]) -> dict[Any, list[Feed]]:
    """The feeds of users. No position of theirs lies above the top of its stream.

    Where one does, the history has gone back, and no worker was there to see it.
    """
    feeds = subscriptions.load_inboxes(users)
    old = {
        feed.stream_id: epochs.Old(feed.epoch)
        for own in feeds.values()
        for feed in own
        if max(feed.since, feed.delivered, feed.read, feed.archived) > feed.top
    }
    if not old:
        return feeds
    epochs.renew(old)
    return subscriptions.load_inboxes(users)
