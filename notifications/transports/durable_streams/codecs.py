"""The forms in which the hub sends a publication to readers over HTTP."""

import time
from collections.abc import Iterator
from typing import NamedTuple
from weakref import WeakValueDictionary

from ...hub.sockets.connection import Stream
from ...protocol.codec import Codec
from ...protocol.commands import Command, Malformed
from ...protocol.messages import Reply
from ...protocol.prepared import Prepared
from .events import control_event, data_event
from .tokens import current_interval, offset_token


class Part(Prepared):
    """A part of the body of a response, which has no frame."""

    __slots__ = ()

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.frame = b""


NOTHING = Part(b"")


class MessageCodec(Codec):
    """Passes on the data of publications, and nothing else: :data:`NOTHING` is never sent."""

    is_binary = True

    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        yield from ()

    def encode(self, reply: Reply) -> Prepared:
        """Encode the push of a channel's publication, which has more than data."""
        push = reply.push
        if push is None or push.pub is None:
            return NOTHING
        return self.encode_publication(push.channel, push.pub.offset, bytes(push.pub.data))

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        return Part(data)


class Controls(NamedTuple):
    """Makes the ``control`` events of a response.

    Args:
        epoch: epoch of the stream.
        lowest: the lowest cursor that the client may get; 0 for that of the present.
    """

    epoch: str
    lowest: int

    def event(self, offset: int, *, up_to_date: bool) -> bytes:
        """The event for a client that has got everything up to ``offset``."""
        cursor = max(self.lowest, current_interval(time.time()))
        return control_event(offset_token(self.epoch, offset), cursor, up_to_date=up_to_date)


class EventCodec(MessageCodec):
    """Encodes each publication as two events of an SSE response: ``data`` and ``control``.

    Args:
        stream: the stream as it is read in this process.
        controls: makes the ``control`` events.
    """

    def __init__(self, stream: Stream, controls: Controls) -> None:
        self._stream = stream
        self._controls = controls

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        is_last = offset >= self._stream.seen().top
        return Part(data_event([data]) + self._controls.event(offset, up_to_date=is_last))


MESSAGES = MessageCodec()

_event_codecs: WeakValueDictionary[tuple[int, Controls], EventCodec] = WeakValueDictionary()


def event_codec(stream: Stream, controls: Controls) -> EventCodec:
    """The codec that equal readers share, so that each publication is encoded once for them."""
    key = (id(stream), controls)  # the codec keeps the stream alive, so the id is not reused
    codec = _event_codecs.get(key)
    if codec is None:
        codec = _event_codecs[key] = EventCodec(stream, controls)
    return codec
