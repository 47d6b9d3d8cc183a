"""Forms for the body of an HTTP response that stays open: messages as lines or as events.

Each wraps the codec that encodes the messages, and is a codec itself: a publication is encoded
once for all clients of a form.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from .codec import Codec
from .commands import Command, Malformed
from .messages import Reply
from .prepared import Prepared


class Position(NamedTuple):
    """Where a client is in a channel; ``epoch`` is None where a message does not tell it."""

    epoch: str | None
    offset: int


#: The positions after a message by channel; None for a channel that has ended.
Moves = Mapping[str, Position | None]

NO_MOVES: Moves = MappingProxyType({})


class Chunk(Prepared):
    """A message as a part of a response's body.

    Args:
        payload: the bytes of the body.
        moves: how the client's positions change with this message.
    """

    __slots__ = ("moves",)

    payload: bytes

    def __init__(self, payload: bytes, moves: Moves = NO_MOVES) -> None:
        # No frame is built: a body has none.
        self.payload = self.frame = payload
        self.moves = moves


class Body(Codec):
    """Wraps the messages of another codec.

    Args:
        codec: encodes the messages, in JSON.
    """

    def __init__(self, codec: Codec) -> None:
        self.is_binary = codec.is_binary
        self.is_one_way = codec.is_one_way
        self._codec = codec

    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        return self._codec.decode(frame)

    def encode(self, reply: Reply) -> Chunk:
        return Chunk(self._wrap(self._codec.encode(reply)), _moves_of(reply))

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Chunk:
        message = self._codec.encode_publication(channel, offset, data)
        return Chunk(self._wrap(message), {channel: Position(None, offset)})

    @abstractmethod
    def _wrap(self, message: Prepared) -> bytes: ...


class Lines(Body):
    """One message per line."""

    def _wrap(self, message: Prepared) -> bytes:
        return _on_one_line(message) + b"\n"


class Events(Body):
    """One message per event (HTML, *Server-sent events*)."""

    def _wrap(self, message: Prepared) -> bytes:
        return b"data: " + _on_one_line(message) + b"\n\n"


def _on_one_line(message: Prepared) -> bytes:
    """Return JSON without line breaks; valid JSON has them between tokens only."""
    payload = message.payload
    text = payload.encode() if isinstance(payload, str) else payload
    return text.replace(b"\n", b" ").replace(b"\r", b" ")


def _moves_of(reply: Reply) -> Moves:
    if reply.connect is not None:
        subs = reply.connect.subs.items()
        return {name: Position(sub.epoch, sub.offset) for name, sub in subs}
    push = reply.push
    if push is None:
        return NO_MOVES
    if push.subscribe is not None:
        return {push.channel: Position(push.subscribe.epoch, push.subscribe.offset)}
    if push.unsubscribe is not None:
        return {push.channel: None}
    if push.pub is not None and push.pub.offset:
        return {push.channel: Position(None, push.pub.offset)}
    return NO_MOVES
