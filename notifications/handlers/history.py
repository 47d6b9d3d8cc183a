"""`history`: a page of a stream that the user is subscribed to, or of a channel."""

from typing import Any

from ..conf import app_settings
from ..hub import Connection, Hub
from ..namespaces import find_namespace, namespace_of
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError
from ..streams import access, encoding, history
from ..streams import feeds as stream_feeds
from ..streams import names as stream_names
from ..streams.channel_rights import may
from ..streams.recovery import first_that_fit
from .outcome import Outcome
from .users import current_user

#: The feed of a channel to which nobody has subscribed or published yet.
NOTHING = stream_feeds.Feed(0, "", "", 0, 0, 0, 0, 0, 0, 0, muted=False)


async def read_history(
    hub: Hub, connection: Connection, request: commands.HistoryRequest
) -> Outcome:
    """Read a page of history, forward or backward; ``limit`` 0 returns the position only."""
    is_subscribed = request.channel in connection.readers
    user_id = connection.user_id
    return Outcome(
        await hub.turns.run(user_id, _read_history, user_id, request, is_subscribed=is_subscribed)
    )


def _read_history(
    user_id: Any, request: commands.HistoryRequest, *, is_subscribed: bool
) -> messages.HistoryResult:
    user = current_user(user_id)
    if namespace_of(request.channel) is None:
        feed = _readable_feed(user, request.channel)
    else:
        feed = _readable_channel(user, request.channel, is_subscribed)
    since = request.since
    last = feed.top + 1 if request.reverse else feed.top  # the highest valid ``since``
    if since is not None and (
        since.epoch not in ("", feed.epoch) or not feed.floor <= since.offset <= last
    ):
        raise ClientError(codes.UNRECOVERABLE_POSITION)
    limit = min(request.limit, app_settings.PAGE_SIZE)
    if limit < 0:
        limit = app_settings.PAGE_SIZE
    publications = (
        first_that_fit(_history_page(feed, since, limit, request.reverse)) if limit else []
    )
    return messages.HistoryResult(
        publications=[publication.message() for publication in publications],
        epoch=feed.epoch,
        offset=feed.top,
    )


def _history_page(
    feed: stream_feeds.Feed,
    since: commands.StreamPosition | None,
    limit: int,
    reverse: bool,
) -> list[encoding.Publication]:
    if reverse:
        before = feed.top + 1 if since is None else since.offset
        return history.read_back(feed.stream_id, before, feed.since, limit)
    after = feed.since if since is None else max(feed.since, since.offset)
    return history.read_page(feed.stream_id, after, limit).publications


def _readable_channel(user: Any, name: str, is_subscribed: bool) -> stream_feeds.Feed:
    """Return the feed of a channel of a namespace; an empty one if it has no row yet."""
    if not find_namespace(name).durable:
        raise ClientError(codes.NOT_AVAILABLE, "nothing is stored")
    if not may(user, "history", name, is_subscribed=is_subscribed):
        raise ClientError(codes.PERMISSION_DENIED)
    return stream_feeds.load_channel(name) or NOTHING


def _readable_feed(user: Any, name: str) -> stream_feeds.Feed:
    """Return the user's feed of this stream, or raise the error that explains why not."""
    try:
        allowed = access.may_read(user, name)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    if not allowed:
        raise ClientError(codes.PERMISSION_DENIED)
    for feed in stream_feeds.load_inbox(user):
        if feed.name == name:
            return feed
    raise ClientError(codes.PERMISSION_DENIED, "not subscribed")
