"""The events of an SSE response (section 5.8 of the protocol)."""

from collections.abc import Iterable
from typing import Any

import msgspec


def json_array(messages: Iterable[bytes]) -> bytes:
    """Join messages, which are JSON already, into one array."""
    return b"[" + b",".join(messages) + b"]"


def data_event(messages: Iterable[bytes]) -> bytes:
    """The messages of one batch. Encoded JSON has no line breaks, so they are one line."""
    return b"event: data\ndata:" + json_array(messages) + b"\n\n"


def control_event(token: str, cursor: int, *, up_to_date: bool) -> bytes:
    """Where the client is after the events so far.

    Args:
        token: the offset to resume from.
        cursor: the cursor to send with the next request.
        up_to_date: whether the client has got everything.
    """
    content: dict[str, Any] = {"streamNextOffset": token, "streamCursor": str(cursor)}
    if up_to_date:
        content["upToDate"] = True
    return b"event: control\ndata:" + msgspec.json.encode(content) + b"\n\n"
