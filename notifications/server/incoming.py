"""Incoming frames of one websocket: parsed in turns, counted and joined to messages."""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol as Frames

from .events import Events
from .pieces import PIECE_SIZE, next_piece

#: Frames after which the event loop gets a turn. One read may bring 40 000 of them.
MAX_PER_TURN = 64

#: Fragments that a message may have. Its size is limited too, but empty fragments add none.
MAX_FRAGMENTS = 1024

#: Cost of a fragment, in control frames.
FRAGMENT_COST = 1 / 8

#: Frames that are parsed after our own close frame, while the peer's is awaited.
MAX_FRAMES_AFTER_CLOSE = 1000


class Listener(Protocol):
    """The connection that the frames belong to."""

    @property
    def is_closing(self) -> bool: ...
    def flush(self) -> None: ...
    def closed(self) -> None: ...
    def failed(self) -> None: ...


class Incoming:
    """Turns received bytes into events for the application.

    Args:
        listener: is notified of closes and failures.
        frames: the parser.
        events: receives the messages.
    """

    __slots__ = (
        "_charge",
        "_cost",
        "_events",
        "_frames",
        "_frames_after_close",
        "_held",
        "_listener",
        "_loop",
        "_parts",
    )

    def __init__(
        self, listener: Listener, frames: Frames, events: Events, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._listener = listener
        self._frames = frames
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

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Report to ``charge`` whatever costs work but delivers no message of its own.

        Args:
            charge: called with the cost, in control frames.
        """
        self._charge = charge
        self._charge_cost()

    def receive(self, data: bytes) -> None:
        """Process the bytes of one read."""
        if self._held is not None:
            self._held += data
        elif len(data) <= PIECE_SIZE:
            self._parse(data)
            self._charge_cost()
        else:
            self._held = bytearray(data)
            self._parse_held()

    def stop(self) -> None:
        """Drop the unparsed bytes and the callback, because the socket is gone."""
        self._held = self._charge = None

    def fail(self, code: CloseCode) -> None:
        """Fail the connection because of what the peer has sent."""
        self._parts = []
        if not self._listener.is_closing:
            self._frames.fail(code)
            self._listener.failed()

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
        if self._frames.eof_sent:  # whatever follows is ignored
            return 0
        self._frames.receive_data(piece)
        found = self._frames.events_received()
        for frame in found:
            self._handle_frame(cast(Frame, frame))
        self._listener.flush()
        if self._frames.parser_exc is not None:
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
        if parts[0].opcode is Opcode.BINARY:
            self._events.put({"type": "websocket.receive", "bytes": data})
            return
        try:
            self._events.put({"type": "websocket.receive", "text": data.decode()})
        except UnicodeDecodeError:
            self.fail(CloseCode.INVALID_DATA)

    def _count_after_close(self, count: int) -> None:
        """Stop parsing when a peer sends too many frames after our close frame."""
        self._frames_after_close += count
        if self._frames_after_close > MAX_FRAMES_AFTER_CLOSE and not self._frames.eof_sent:
            self._frames.fail(CloseCode.GOING_AWAY)
            self._listener.failed()

    def _charge_cost(self) -> None:
        if self._cost and self._charge is not None and not self._listener.is_closing:
            cost, self._cost = self._cost, 0.0
            self._charge(cost)
