"""Announce a change of the inbox to the user's connections.

A ``message`` push carries the change to the user's other connections, which need no further
request. The revision of the user's private stream rises too, so that a worker notices the change
even if the hint to it was lost.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from django.contrib.auth.base_user import AbstractBaseUser

from ..database.transactions import after_commit
from ..layer import send_message
from ..models import database_alias
from ..streams import feeds as stream_feeds
from ..streams import names as stream_names
from ..streams import revisions
from .folders import count_unread
from .read_state import unmuted

#: Offsets of more channels than this are left out, to keep the push small. A client that misses
#: them sends a request.
MAX_CHANNELS = 100


def announce(
    user: AbstractBaseUser,
    change: str,
    ids: Iterable[int] = (),
    origin: str = "",
    channel: str = "",
    marks: Mapping[str, int] | None = None,
) -> None:
    """Push a ``message`` about a change once the current transaction has committed.

    Args:
        user: the owner of the inbox.
        change: its type on the wire, such as ``read``.
        ids: primary keys of the notifications that were changed.
        origin: client id of the connection that made the change, which gets no push; "" for none.
        channel: the stream that was joined, left or muted; "" for other changes.
        marks: offsets by stream. Everything up to them has changed, and nothing after them.
    """
    message: dict[str, Any] = {"type": change, "ids": list(ids)}
    if channel:
        message["channel"] = channel
    if marks is not None:
        message |= _offsets("marks", marks)
    after_commit(database_alias(), _send, user, message, origin)


def _send(user: AbstractBaseUser, message: dict[str, Any], origin: str) -> None:
    own = stream_names.user_stream(user.pk)
    revision = None
    try:
        revision = revisions.touch_one(own)
    finally:
        feeds = stream_feeds.load_inbox(user)
        unread = count_unread(user, feeds)
        tops = _offsets("tops", {feed.name: feed.top for feed in unmuted(feeds)})
        data = msgspec.json.encode({**message, "unread": unread, **tops})
        # Only joining, leaving and muting a stream name a channel.
        send_message(own, data, origin, unread, revision, recounted="channel" in message)


def _offsets(name: str, offsets: Mapping[str, int]) -> dict[str, Any]:
    return {name: offsets} if len(offsets) <= MAX_CHANNELS else {}
