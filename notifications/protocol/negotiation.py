"""Which form of the protocol the client of a WebSocket asks for.

It asks for Protobuf with the subprotocol ``centrifuge-protobuf``, or with ``?format=protobuf`` or
``?cf_protocol=protobuf`` in the URL, as with Centrifugo. All other clients get JSON.
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


def agree(query: bytes, offered: Sequence[str]) -> Agreed:
    """Choose the form of a WebSocket.

    A known subprotocol is accepted whatever the query says, because a browser fails if none of
    those it offered is accepted.

    Args:
        query: the query of the URL, not decoded.
        offered: the subprotocols that the client offers. If it offers both forms, it gets JSON,
            unless the query asks for Protobuf.
    """
    codec = PROTOBUF if _asks_for_protobuf(query) else JSON
    known = [JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL]
    if codec is PROTOBUF:
        known.reverse()
    subprotocol = next((name for name in known if name in offered), None)
    return Agreed(PROTOBUF if subprotocol == PROTOBUF_SUBPROTOCOL else codec, subprotocol)


def _asks_for_protobuf(query: bytes) -> bool:
    if not query:
        return False
    fields = parse_qs(query.decode("latin-1"))
    return any(fields.get(name, [""])[0] == "protobuf" for name in ("format", "cf_protocol"))
