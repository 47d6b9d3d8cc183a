"""A socket that holds little: it tells whether it has room, and it ends in time.

Whichever side ends a connection, and however: what its peer has not taken ``CLOSE_TIMEOUT`` later
is dropped.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from .events import Events

#: What one socket may hold beyond the kernel's buffers, in bytes, before it counts as blocked;
#: and what is left when it no longer does.
HIGH_WATER = 32 * 1024
LOW_WATER = 8 * 1024

#: How long the peer may take to answer a close frame, and to take what was written; in seconds.
CLOSE_TIMEOUT = 10.0


class Framed(Protocol):
    """A message that has been framed: one unmasked frame (RFC 6455 section 5.2)."""

    @property
    def frame(self) -> bytes: ...


class BoundedSocket(asyncio.Protocol):
    """What an asyncio protocol has to do with its transport, whatever the bytes mean."""

    __slots__ = (
        "_close_timer",
        "_events",
        "_gone",
        "_is_closing",
        "_is_lost",
        "_loop",
        "_writable",
        "is_blocked",
        "transport",
    )

    transport: asyncio.Transport
    _events: Events

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: Is the socket's buffer above its high-water mark?
        self.is_blocked = False
        self._is_closing = False
        self._is_lost = False
        self._writable: asyncio.Event | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._gone: Callable[[], None] | None = None

    def offer(self, message: Framed) -> bool:
        """Write the frame of a message, without waiting.

        Returns:
            False, and nothing was written, while the socket is blocked. After a close there is
            nothing left to write to: True.
        """
        if self.is_blocked:
            return False
        if not self._is_closing and not self.transport.is_closing():
            self.transport.write(message.frame)
        return True

    async def drained(self) -> None:
        """Wait until the buffer is below its low-water mark, or the socket is gone."""
        while self._writable is not None:
            await self._writable.wait()

    def abort(self) -> None:
        """Drop the socket with whatever it holds."""
        self.transport.abort()

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call this as soon as the socket is closed and holds nothing any more."""
        if self._is_lost:
            callback()
        else:
            self._gone = callback

    @property
    def is_closing(self) -> bool:
        """Has one side closed it? The transport may still be there."""
        return self._is_closing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._events = Events(self._loop, self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.is_blocked = True
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        self.is_blocked = False
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def _end(self) -> None:
        """Close the socket as soon as all has been written, or there was time enough for that."""
        self.transport.close()
        self._expect_end()

    def _expect_end(self) -> None:
        """The peer's end has to be read, whatever the application has left unread."""
        self._events.read_on()
        if self._close_timer is None and not self._is_lost:
            self._close_timer = self._loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _tell_gone(self) -> None:
        if self._gone is not None:
            gone, self._gone = self._gone, None
            gone()
