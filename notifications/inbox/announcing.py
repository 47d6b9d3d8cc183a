"""Telling of a change in the inbox.

The user's other connections learn it by a ``message`` push, which says enough for them to follow
without a question; the revision of the user's own stream is a mark for workers that a lost hint
did not reach.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..database.transactions import after_commit
from ..layer import send_message
from ..models import database_alias
from ..streams import feeds as stream_feeds
from ..streams import names as stream_names
from ..streams import revisions
from .folders import count_unread
from .read_state import counting

#: Offsets of more channels than this are not told: a push stays small, and a client that misses
#: them asks.
MOST_CHANNELS = 100


def announce(
    user: Any,
    change: str,
    ids: Iterable[int] = (),
    origin: str = "",
    channel: str = "",
    marks: Mapping[str, int] | None = None,
) -> None:
    """Push a ``message`` about a change once the current transaction has committed.

    Args:
        user: whose inbox.
        change: its type on the wire, such as ``read``.
        ids: of the notifications that were changed.
        origin: the client that has made it and is not told, "" for none.
        channel: the stream it is about, "" where ``ids`` says enough.
        marks: offsets by stream; everything up to them has changed, and nothing after them.
    """
    message: dict[str, Any] = {"type": change, "ids": list(ids)}
    if channel:
        message["channel"] = channel
    if marks is not None:
        message |= _offsets("marks", marks)
    after_commit(database_alias(), _tell, user, message, origin)


def _tell(user: Any, message: dict[str, Any], origin: str) -> None:
    own = stream_names.user_stream(user.pk)
    revision = None
    try:
        revision = revisions.touch_one(own)
    finally:
        feeds = stream_feeds.load_inbox(user)
        unread = count_unread(user, feeds)
        tops = _offsets("tops", {feed.name: feed.top for feed in counting(feeds)})
        data = msgspec.json.encode({**message, "unread": unread, **tops})
        # Joining, leaving and muting a stream: only these name one.
        send_message(own, data, origin, unread, revision, recounted="channel" in message)


def _offsets(name: str, offsets: Mapping[str, int]) -> dict[str, Any]:
    return {name: offsets} if len(offsets) <= MOST_CHANNELS else {}
