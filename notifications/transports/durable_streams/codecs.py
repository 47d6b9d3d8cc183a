"""The forms in which the hub sends a publication to readers over HTTP."""

import time
from collections.abc import Iterator
from functools import lru_cache

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
    """Passes on publications as they are, and nothing else: :data:`NOTHING` is never sent."""

    is_binary = True

    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        yield from ()

    def encode(self, reply: Reply) -> Prepared:
        return NOTHING

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        return Part(data)


class EventCodec(MessageCodec):
    """Encodes each publication as two events of an SSE response: ``data`` and ``control``.

    Args:
        epoch: epoch of the stream.
        cursor: the lowest cursor that the client may get; 0 for that of the present.
        up_to_date: whether the client has got everything once it has got a publication.
    """

    def __init__(self, epoch: str, cursor: int, *, up_to_date: bool) -> None:
        self._epoch = epoch
        self._cursor = cursor
        self._is_up_to_date = up_to_date

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        return Part(data_event([data]) + self.control(offset, up_to_date=self._is_up_to_date))

    def control(self, offset: int, *, up_to_date: bool) -> bytes:
        """The ``control`` event of a client that has got everything up to ``offset``."""
        cursor = max(self._cursor, current_interval(time.time()))
        return control_event(offset_token(self._epoch, offset), cursor, up_to_date=up_to_date)


MESSAGES = MessageCodec()


@lru_cache(maxsize=1000)
def event_codec(epoch: str, cursor: int, up_to_date: bool) -> EventCodec:
    """The codec that readers with equal arguments share, so that each publication is encoded once.

    Args:
        epoch: see :class:`EventCodec`, as for the others.
        cursor: likewise.
        up_to_date: likewise.
    """
    return EventCodec(epoch, cursor, up_to_date=up_to_date)
