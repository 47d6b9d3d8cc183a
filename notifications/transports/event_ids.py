"""The ids of events: each holds the positions of its client, which EventSource sends back.

An id is a JSON object: ``{"user:7":["ab12cd34",44],"broadcast":["9f3e",3]}``. A browser keeps the
last one, and sends it as ``Last-Event-ID`` when it connects again (HTML, *Server-sent events*).
"""

from __future__ import annotations

import json

import msgspec
from msgspec import Raw

from ..protocol.bodies import Chunk, Position
from ..protocol.commands import Channel, Offset
from ..protocol.prepared import Prepared

#: Bytes of an id at most: nginx accepts header fields of 8 KB, and other proxies of 4 KB.
MAX_SIZE = 3500

_decoder = msgspec.json.Decoder(dict[Channel, tuple[str, Offset]])
_object_decoder = msgspec.json.Decoder(dict[str, Raw] | None)


class NotOurs(ValueError):
    """An id that this server has not given."""


class EventIds:
    """The positions of one client, by what has been written to it."""

    def __init__(self) -> None:
        #: By channel, in the order of the last changes.
        self._epochs: dict[str, str] = {}
        self._items: dict[str, str] = {}

    def stamp(self, message: Prepared) -> bytes:
        """Return an event with the id after it; one that moves no position needs none."""
        assert isinstance(message, Chunk)
        if not message.moves:
            return message.payload
        for channel, position in message.moves.items():
            self._move(channel, position)
        return b"id: " + self._id().encode() + b"\n" + message.payload

    def _move(self, channel: str, position: Position | None) -> None:
        self._items.pop(channel, None)
        if position is None:
            self._epochs.pop(channel, None)
            return
        epoch = position.epoch or self._epochs.get(channel, "")
        self._epochs[channel] = epoch
        if epoch:
            item = json.dumps([epoch, position.offset], separators=(",", ":"))
            self._items[channel] = f"{json.dumps(channel)}:{item}"

    def _id(self) -> str:
        """Join the positions. If they are too long, those that changed least recently are left out:

        in these channels the client is sent again what its user has not acknowledged.
        """
        items, size = [], 1
        for item in reversed(self._items.values()):
            size += len(item) + 1
            if size > MAX_SIZE:
                break
            items.append(item)
        return f"{{{','.join(items)}}}"


def with_positions(request: str | bytes, event_id: str) -> str:
    """Add the positions of an id to a valid connect request; they replace those in ``subs``.

    Raises:
        NotOurs: it is not an id of this server.
    """
    try:
        positions = _decoder.decode(event_id)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotOurs("this Last-Event-ID is not of this server") from error
    claims = {
        channel: {"recover": True, "epoch": epoch, "offset": offset}
        for channel, (epoch, offset) in positions.items()
    }
    fields = _fields_of(request)
    subs = {**_fields_of(fields.get("subs", "")), **claims}
    return msgspec.json.encode({**fields, "subs": subs}).decode()


def _fields_of(value: str | bytes | Raw) -> dict[str, Raw]:
    """Return the fields of a JSON object as they are; none for ``null`` and for blank text."""
    is_blank = isinstance(value, str | bytes) and not value.strip()
    return {} if is_blank else _object_decoder.decode(value) or {}
