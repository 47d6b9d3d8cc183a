"""An entry of the inbox as clients get it, whichever way they ask."""

from typing import Any

from ..streams import encoding
from .read_state import Entry


def describe_entry(entry: Entry) -> dict[str, Any]:
    """The notification as it is pushed, its place in its stream, and its state for the user.

    ``published`` is a datetime; the other values are plain JSON. Empty values are left out.
    """
    notification = entry.notification
    return {
        **encoding.content(notification),
        "channel": notification.stream_name,
        "offset": notification.offset,
        "published": notification.published_at,
        "read": entry.read,
        "archived": entry.archived,
    }
