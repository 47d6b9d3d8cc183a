"""Incoming frames of one websocket: parsed in turns, counted and joined to messages."""

import asyncio
from collections.abc import Callable
from operator import xor
from typing import Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol as Frames
from websockets.utils import apply_mask

from .events import Events
from .pieces import PIECE_SIZE, next_piece

#: Frames after which the event loop gets a turn. One read may bring 40 000 of them.
MAX_PER_TURN = 64

#: Fragments that a message may have. Its size is limited too, but empty fragments add none.
MAX_FRAGMENTS = 1024

#: Cost of a fragment, in control frames.
FRAGMENT_COST = 1 / 8

#: Size in bytes of the largest message that is offered before it becomes an event.
SHORT = 4

#: The first byte of a whole message in one frame, and the bit in the second one of a masked frame
#: (RFC 6455 section 5.2). There, this in place of a length says that the length follows.
WHOLE_TEXT, WHOLE_BINARY, MASKED = 0x81, 0x82, 0x80
TWO_BYTES = 126

#: Bytes before the payload of a masked frame with a payload of up to 125 bytes, and more of them
#: before a longer one, whose length is then in two bytes.
HEAD_SIZE, MORE_HEAD = 6, 2

#: Size in bytes of the largest read that is looked at as one whole message.
LARGEST_WHOLE = 4096

#: Frames that are parsed after our own close frame, while the peer's is awaited.
MAX_FRAMES_AFTER_CLOSE = 1000


class Listener(Protocol):
    """The connection that the frames belong to."""

    @property
    def is_closing(self) -> bool: ...
    @property
    def frames(self) -> Frames: ...
    def flush(self) -> None: ...
    def closed(self) -> None: ...
    def failed(self) -> None: ...


class Incoming:
    """Turns received bytes into events for the application.

    Args:
        listener: is notified of closes and failures, and has the parser.
        events: receives the messages.
    """

    __slots__ = (
        "_charge",
        "_cost",
        "_events",
        "_frames_after_close",
        "_held",
        "_listener",
        "_loop",
        "_parts",
        "_take_short",
        "_unparsed",
    )

    def __init__(self, listener: Listener, events: Events, loop: asyncio.AbstractEventLoop) -> None:
        self._listener = listener
        self._events = events
        self._loop = loop
        #: Bytes that are not parsed yet. While there are any, the socket is not read.
        self._held: bytearray | None = None
        #: The fragments of a message so far, the first with its opcode.
        self._parts: list[Frame] = []
        #: Frames that came after our close frame.
        self._frames_after_close = 0
        #: Cost that is not charged yet, in control frames, and the callback to charge it to.
        self._cost = 0.0
        self._charge: Callable[[float], None] | None = None
        #: Bytes of a frame that has not arrived as a whole, and is in the parser.
        self._unparsed = 0
        self._take_short: Callable[[str | bytes], bool] | None = None

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Report to ``charge`` whatever costs work but delivers no message of its own.

        Args:
            charge: called with the cost, in control frames.
        """
        self._charge = charge
        self._charge_cost()

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        """Offer messages of :data:`SHORT` bytes to ``take``, if the application waits for one.

        Such a message needs no parser, and no turn of the application's task. That is most of
        what a pong costs, and pongs are most of what thousands of idle clients send.

        Args:
            take: called with the message; returns whether it was handled. If not, the message
                becomes an event like any other.
        """
        self._take_short = take

    def receive(self, data: bytes) -> None:
        """Process the bytes of one read."""
        if self._held is not None:
            self._held += data
        elif self._offer_short(data) or self._take_whole(data):
            return
        elif len(data) <= PIECE_SIZE:
            self._parse(data)
            self._charge_cost()
        else:
            self._held = bytearray(data)
            self._parse_held()

    def stop(self) -> None:
        """Drop the unparsed bytes and the callback, because the socket is gone."""
        self._held = self._charge = self._take_short = None

    def fail(self, code: CloseCode) -> None:
        """Fail the connection because of what the peer has sent."""
        self._parts = []
        if not self._listener.is_closing:
            self._listener.frames.fail(code)
            self._listener.failed()

    def _offer_short(self, data: bytes) -> bool:
        """Offer a read that is one short message, and nothing else; return whether it was taken."""
        size = len(data) - HEAD_SIZE
        if not 0 < size <= SHORT or data[1] != MASKED | size or self._take_short is None:
            return False
        if data[0] not in (WHOLE_TEXT, WHOLE_BINARY) or self._unparsed or self._parts:
            return False
        if self._listener.is_closing or not self._events.is_awaited:
            return False
        payload = bytes(map(xor, data[HEAD_SIZE:], data[2:HEAD_SIZE]))
        if data[0] == WHOLE_BINARY:
            return self._take_short(payload)
        return payload.isascii() and self._take_short(payload.decode())

    def _take_whole(self, data: bytes) -> bool:
        """Deliver a read that is one whole message, and nothing else; return whether it was.

        Nearly all messages are such ones: a client that only connects and answers pings needs no
        parser, which takes 1 KB.
        """
        if len(data) > LARGEST_WHOLE or self._unparsed or self._parts or self._listener.is_closing:
            return False
        payload = _payload(data)
        if payload is None:
            return False
        self._put(payload, is_binary=data[0] == WHOLE_BINARY)
        return True

    def _parse_held(self) -> None:
        """Parse as much as one turn of the event loop allows; the rest follows in the next."""
        count = 0
        while self._held and count < MAX_PER_TURN and not self._events.is_full:
            count += self._parse(next_piece(self._held))
        self._charge_cost()
        if not self._held:
            self._held = None
            self._events.hold(False)
            return
        self._events.hold(True)
        if self._events.is_full:
            self._events.when_empty = self._parse_held
        else:
            self._loop.call_soon(self._parse_held)

    def _parse(self, piece: bytes) -> int:
        """Parse some bytes and return the number of frames found."""
        if self._listener.frames.eof_sent:  # whatever follows is ignored
            return 0
        self._listener.frames.receive_data(piece)
        found = self._listener.frames.events_received()
        self._unparsed += len(piece) - sum(_size(cast(Frame, frame)) for frame in found)
        for frame in found:
            self._handle_frame(cast(Frame, frame))
        self._listener.flush()
        if self._listener.frames.parser_exc is not None:
            self._listener.failed()
        elif self._listener.is_closing:
            self._count_after_close(len(found))
        return len(found)

    def _handle_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._add_part(frame)
        elif frame.opcode is Opcode.CLOSE:
            self._listener.closed()
        else:
            self._cost += 1

    def _add_part(self, frame: Frame) -> None:
        self._parts.append(frame)
        if frame.fin:
            self._deliver()
            return
        self._cost += FRAGMENT_COST
        if len(self._parts) >= MAX_FRAGMENTS:
            self.fail(CloseCode.MESSAGE_TOO_BIG)

    def _deliver(self) -> None:
        parts, self._parts = self._parts, []
        if self._listener.is_closing:
            return
        data = b"".join(bytes(part.data) for part in parts)
        self._put(data, is_binary=parts[0].opcode is Opcode.BINARY)

    def _put(self, data: bytes, *, is_binary: bool) -> None:
        if is_binary:
            self._events.put({"type": "websocket.receive", "bytes": data})
            return
        try:
            self._events.put({"type": "websocket.receive", "text": data.decode()})
        except UnicodeDecodeError:
            self.fail(CloseCode.INVALID_DATA)

    def _count_after_close(self, count: int) -> None:
        """Stop parsing when a peer sends too many frames after our close frame."""
        self._frames_after_close += count
        if self._frames_after_close > MAX_FRAMES_AFTER_CLOSE and not self._listener.frames.eof_sent:
            self._listener.frames.fail(CloseCode.GOING_AWAY)
            self._listener.failed()

    def _charge_cost(self) -> None:
        if self._cost and self._charge is not None and not self._listener.is_closing:
            cost, self._cost = self._cost, 0.0
            self._charge(cost)


def _payload(data: bytes) -> bytes | None:
    """The unmasked payload of a masked frame that is a whole message; None if it is anything else.

    None too if its length is not written in as few bytes as possible, or takes more than two.
    """
    if len(data) < HEAD_SIZE or data[0] not in (WHOLE_TEXT, WHOLE_BINARY) or data[1] < MASKED:
        return None
    size, start = data[1] & 0x7F, HEAD_SIZE
    if size == TWO_BYTES:
        size, start = int.from_bytes(data[2:4]), HEAD_SIZE + MORE_HEAD
        if size < TWO_BYTES:
            return None
    if len(data) != start + size:
        return None
    return apply_mask(data[start:], data[start - 4 : start])


def _size(frame: Frame) -> int:
    """Return the bytes of a masked frame whose length is written in as few bytes as possible.

    A client that writes more is never again taken to be between two frames, which is safe.
    """
    size = len(frame.data)
    return size + HEAD_SIZE + (0 if size < 126 else 2 if size < 65_536 else 8)
