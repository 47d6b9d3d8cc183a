"""Telling of a change in the inbox.

The user's other connections learn it by a ``message`` push; the revision of the user's own stream
is a mark for workers that a lost hint did not reach.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from .. import streams
from ..database import after_commit
from ..layer import send_message
from .folders import alias, unread_count


def announce(
    user: Any, change: str, ids: Iterable[int] = (), origin: str = "", channel: str = ""
) -> None:
    """Push a ``message`` about a change once the current transaction has committed.

    Args:
        user: whose inbox.
        change: its type on the wire, such as ``read``.
        ids: of the notifications that were changed.
        origin: the client that has made it and is not told, "" for none.
        channel: the stream it is about, "" where ``ids`` says enough.
    """
    about = {"channel": channel} if channel else {}
    after_commit(alias(), _tell, user, {"type": change, "ids": list(ids), **about}, origin)


def _tell(user: Any, message: dict[str, Any], origin: str) -> None:
    own = streams.user_stream(user.pk)
    try:
        streams.touch([own])
    finally:
        send_message(own, msgspec.json.encode({**message, "unread": unread_count(user)}), origin)
