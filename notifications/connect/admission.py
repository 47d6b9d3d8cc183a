"""What connecting clients need from the database, read for many of them at once.

After a deploy, all clients reconnect within seconds. Building a query costs far more than running
it, so waiting clients are served together: see :class:`notifications.hub.batches.Batcher`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..conf import app_settings
from ..inbox.counts import streams_counted, unread_counts
from ..streams import access, epochs, revisions
from ..streams import feeds as stream_feeds
from ..streams import names as stream_names
from ..streams.feeds import Feed, Inboxes
from ..streams.history import Recent
from ..streams.positions import Position
from ..streams.recovery import Recovered, recover_many
from . import authentication
from .authentication import Claimed, Credentials, Identity, key_of


class Admitted(NamedTuple):
    """An authenticated user, and the names of the streams to join before anything is read."""

    identity: Identity
    names: list[str]


class Returning(NamedTuple):
    """A user who may be connecting, and the positions that the client has sent.

    Args:
        identity: the identity that :func:`admit` has returned, or a genuine token.
        session_key: the session key that the user was authenticated by; "" for a token.
        positions: the client's positions by channel.
    """

    identity: Identity | Claimed
    session_key: str
    positions: dict[str, Position]


class Resumed(NamedTuple):
    """What a connecting client gets.

    Args:
        identity: the user as read now, and what the authentication depends on.
        recovered: where each stream resumes.
        unread: the user's unread count.
        topics: the topics that the user follows, to which the client subscribes by itself. Muted
            and unreadable ones are left out.
        own: the feed of the user's own stream, muted or not; None if there is none yet. Its
            revision was read before anything else. A later one means that the user's rights may
            have changed since.
        missing: pairs of user id and stream name without a subscription row.
        undecided: topics for which ``TOPIC_PERMISSION`` has not answered yet. ``recovered``,
            ``topics`` and ``unread`` leave them out.
        counted: identifies the streams that ``unread`` covers; see
            :func:`notifications.inbox.counts.streams_counted`.
    """

    identity: Identity
    recovered: list[Recovered]
    unread: int
    topics: list[str]
    own: Feed | None
    missing: list[tuple[Any, str]]
    undecided: Sequence[str] = ()
    counted: int = 0


def admit(callers: Sequence[Credentials]) -> list[Admitted | Exception]:
    """Authenticate callers. The errors are those of :func:`.authentication.identify`."""
    found = authentication.identify(callers)
    users = {entry.user.pk: entry.user for entry in found if isinstance(entry, Identity)}
    names = access.names_by_user(users.values())
    return [
        Admitted(entry, names[entry.user.pk]) if isinstance(entry, Identity) else entry
        for entry in found
    ]


def resume(
    returning: Sequence[Returning], recent: Recent | None = None
) -> list[Resumed | Exception]:
    """Read where each client resumes, what it has missed, and its unread count.

    Users and sessions are read again: the hub could not apply a change of rights between
    :func:`admit` and the registration of the connection. Nothing is written, unless a history
    has gone back.

    Args:
        returning: clients whose connections are registered with the hub.
        recent: cached pages of shared streams.

    Returns:
        For each client its data, or an error of :func:`.authentication.confirm`.
    """
    # Read revisions before users, so that a later change shows as a different revision.
    marks = revisions.of_users([key_of(entry.identity) for entry in returning])
    confirmed = authentication.confirm([(each.identity, each.session_key) for each in returning])
    users = {entry.user.pk: entry.user for entry in confirmed if isinstance(entry, Identity)}
    inboxes = read_sound_inboxes(list(users.values()))
    unread = unread_counts(users.values(), inboxes.feeds)
    missing: dict[Any, list[tuple[Any, str]]] = defaultdict(list)
    for pair in inboxes.missing:
        missing[pair[0]].append(pair)
    own: dict[Any, Feed] = {}
    pushed: dict[Any, list[Feed]] = {}
    topics: dict[Any, list[str]] = {}
    for user_id, feeds in inboxes.feeds.items():
        name = stream_names.user_stream(user_id)
        for feed in feeds:
            if feed.name == name:
                own[user_id] = feed._replace(revision=marks.get(user_id, feed.revision))
        loud = [feed for feed in feeds if not feed.muted]
        pushed[user_id] = [feed for feed in loud if not stream_names.is_topic(feed.name)]
        topics[user_id] = [feed.name for feed in loud if stream_names.is_topic(feed.name)]
    recovered = recover_many(
        ((pushed.get(key_of(entry.identity), ()), entry.positions) for entry in returning),
        app_settings.PAGE_SIZE,
        recent,
    )
    return [
        Resumed(
            entry,
            pages,
            unread[entry.user.pk],
            topics[entry.user.pk],
            own.get(entry.user.pk),
            missing[entry.user.pk],
            inboxes.undecided.get(entry.user.pk, ()),
            streams_counted(inboxes.feeds[entry.user.pk]),
        )
        if isinstance(entry, Identity)
        else entry
        for entry, pages in zip(confirmed, recovered, strict=True)
    ]


def read_sound_inboxes(users: Sequence[Any]) -> Inboxes:
    """Read the feeds of users; no mark in them lies above the top of its stream.

    If one does, the history has gone back while no worker was watching, and gets a new epoch.
    """
    inboxes = stream_feeds.read_inboxes(users)
    old = {
        feed.stream_id: epochs.Old(feed.epoch)
        for own in inboxes.feeds.values()
        for feed in own
        if max(feed.since, feed.delivered, feed.read, feed.archived) > feed.top
    }
    if not old:
        return inboxes
    epochs.renew(old)
    return stream_feeds.read_inboxes(users)
