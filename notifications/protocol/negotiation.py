"""Which form of the protocol a client asks for.

A WebSocket asks for Protobuf with the subprotocol ``centrifuge-protobuf``. Every transport accepts
``?format=protobuf`` or ``?cf_protocol=protobuf`` in the URL, as Centrifugo does. All other clients
get JSON.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qs

from .codec import Codec
from .json import JSON
from .protobuf import PROTOBUF

JSON_SUBPROTOCOL = "centrifuge-json"
PROTOBUF_SUBPROTOCOL = "centrifuge-protobuf"


class Agreed(NamedTuple):
    """The form that both sides speak, and the subprotocol to accept; None for none."""

    codec: Codec
    subprotocol: str | None


def codec_of(query: bytes) -> Codec:
    """Return the form that the query of a URL asks for; JSON by default."""
    fields = parse_qs(query.decode("latin-1"))
    asked = (fields.get(name, [""])[0] for name in ("format", "cf_protocol"))
    return PROTOBUF if "protobuf" in asked else JSON


def agree(query: bytes, offered: Sequence[str]) -> Agreed:
    """Choose the form of a WebSocket.

    A known subprotocol is accepted whatever the query says, because a browser fails if none of
    those it offered is accepted.

    Args:
        query: the query of the URL, not decoded.
        offered: the subprotocols that the client offers. If it offers both forms, it gets JSON,
            unless the query asks for Protobuf.
    """
    codec = codec_of(query)
    known = [JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL]
    if codec is PROTOBUF:
        known.reverse()
    subprotocol = next((name for name in known if name in offered), None)
    return Agreed(PROTOBUF if subprotocol == PROTOBUF_SUBPROTOCOL else codec, subprotocol)
