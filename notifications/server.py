"""uvicorn's WebSocket protocol with one more door: frames that are built already.

``manage.py serve`` runs it, and so does ``uvicorn --ws notifications.server:FrameProtocol``. It
offers the ASGI extension ``notifications.frames`` in the scope of each socket::

    scope["extensions"]["notifications.frames"] -> FrameWriter

:class:`FrameWriter` takes frames as they go over the wire, so that one publication is framed once
for all its readers, and tells without waiting whether the socket has room. Servers without the
extension (daphne, hypercorn, granian) get the ordinary ASGI ``send``.
"""

import asyncio
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

EXTENSION = "notifications.frames"

#: What one socket may hold beyond the kernel's buffers, in bytes, before it counts as blocked;
#: and what is left when it no longer does.
HIGH_WATER = 32 * 1024
LOW_WATER = 8 * 1024


class Framed(Protocol):
    """A message that has been framed: one unmasked frame (RFC 6455 section 5.2)."""

    @property
    def frame(self) -> bytes: ...


class FrameWriter:
    """Writes framed messages to one socket."""

    __slots__ = ("_protocol", "_transport")

    def __init__(self, protocol: "FrameProtocol") -> None:
        self._protocol = protocol
        self._transport = protocol.transport

    @property
    def is_blocked(self) -> bool:
        """Is the socket's buffer above its high-water mark?"""
        return self._protocol.is_paused

    def offer(self, message: Framed) -> bool:
        """Write the frame of a message, without waiting.

        Returns:
            False, and nothing was written, while the socket is blocked. After a close there is
            nothing left to write to: True.
        """
        protocol = self._protocol
        if protocol.is_paused:
            return False
        if protocol.conn.state is State.OPEN and not self._transport.is_closing():
            self._transport.write(message.frame)
        return True

    async def drained(self) -> None:
        """Wait until the buffer is below its low-water mark, or the socket is gone."""
        await self._protocol.writable.wait()

    def abort(self) -> None:
        """Drop the socket with whatever it holds."""
        self._transport.abort()


class FrameProtocol(WebSocketsSansIOProtocol):
    """The sans-I/O protocol of uvicorn, with the extension and bounded buffers."""

    is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)

    def pause_writing(self) -> None:
        self.is_paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.is_paused = False
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_paused = False
        super().connection_lost(exc)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        scope: dict[str, Any] | None = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = FrameWriter(self)

    def send_receive_event_to_app(self) -> None:
        # uvicorn would log a traceback for what is only a client's mistake.
        if self.curr_msg_data_type == "text" and not _is_utf8(self.frames):
            self._close_invalid()
            return
        super().send_receive_event_to_app()

    def _close_invalid(self) -> None:
        if self.close_sent:
            return
        self.conn.send_close(CloseCode.INVALID_DATA)
        self.handle_parser_exception()


def _is_utf8(parts: list[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True
