"""A socket with a bounded send buffer, which reports whether it has room and closes in time.

Whichever side ends a connection, ``CLOSE_TIMEOUT`` seconds later the socket is dropped, with
whatever the peer has not read.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from . import descriptors
from .events import Events

#: Bytes in the send buffer, beyond the kernel's, above which a socket counts as blocked; and
#: bytes at which it no longer does.
HIGH_WATER = 32 * 1024
LOW_WATER = 8 * 1024

#: Seconds in which the peer must answer a close frame and read what was written.
CLOSE_TIMEOUT = 10.0


class Framed(Protocol):
    """A message as one unmasked frame (RFC 6455 section 5.2)."""

    @property
    def frame(self) -> bytes: ...


class BoundedSocket(asyncio.Protocol):
    """The transport side of a protocol: flow control and closing, whatever the bytes mean."""

    __slots__ = (
        "_close_timer",
        "_descriptor",
        "_events",
        "_is_closing",
        "_is_lost",
        "_loop",
        "_on_direct_end",
        "_on_gone",
        "_writable",
        "is_blocked",
        "transport",
    )

    transport: asyncio.Transport
    _events: Events

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: The send buffer has exceeded ``HIGH_WATER`` and not fallen to ``LOW_WATER`` since.
        self.is_blocked = False
        self._is_closing = False
        self._is_lost = False
        self._writable: asyncio.Event | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._on_gone: Callable[[], None] | None = None
        #: Where frames may be sent past the transport; None until somebody asks.
        self._descriptor: int | None = None
        #: Set while they may be.
        self._on_direct_end: Callable[[], None] | None = None

    def offer(self, message: Framed) -> bool:
        """Write the frame of a message, without waiting.

        Returns:
            False if the socket is blocked and nothing was written, else True. After a close
            nothing is written either, but the result is True.
        """
        if self.is_blocked:
            return False
        if not self._is_closing and not self.transport.is_closing():
            self._write(message.frame)
        return True

    def direct(self, ended: Callable[[], None]) -> int:
        """Return a descriptor to which frames may be sent past the transport from now on.

        They may as long as nothing waits in the transport, so that all that is written keeps its
        order.

        Args:
            ended: called once, when they may no longer: before anything is written to the
                transport, and before the descriptor is closed and could be another socket's.

        Returns:
            The descriptor for :meth:`send_to_all`;
            :data:`~notifications.server.descriptors.NONE` if there is none now.
        """
        transport = self.transport
        if self._is_closing or transport.is_closing() or transport.get_write_buffer_size():
            return descriptors.NONE
        if self._descriptor is None:
            self._descriptor = descriptors.descriptor_of(transport)
        if self._descriptor != descriptors.NONE:
            self._on_direct_end = ended
        return self._descriptor

    send_to_all = staticmethod(descriptors.send_to_all)

    def take_rest(self, rest: bytes) -> None:
        """Write, by the transport, what the descriptor of :meth:`direct` has not taken."""
        if not self.transport.is_closing():
            self._write(rest)
        self._end_direct()

    async def drained(self) -> None:
        """Wait until the socket is no longer blocked, or is gone."""
        while self._writable is not None:
            await self._writable.wait()

    def abort(self) -> None:
        """Drop the socket and whatever its buffer holds."""
        self.transport.abort()

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the connection is lost; at once if it already is."""
        if self._is_lost:
            callback()
        else:
            self._on_gone = callback

    @property
    def is_closing(self) -> bool:
        """Whether one side has begun to close; the transport may still be open."""
        return self._is_closing

    @property
    def waiting_events(self) -> int:
        """The number of events that the application has not received yet."""
        return len(self._events)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._events = Events(self._loop, self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._end_direct()  # transports close their descriptors after this call
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

    def _write(self, data: bytes) -> None:
        """Write to the transport: the only place that does, so that all writes keep their order."""
        if self._on_direct_end is not None:
            self._end_direct()
        self.transport.write(data)

    def _end_direct(self) -> None:
        if self._on_direct_end is not None:
            ended, self._on_direct_end = self._on_direct_end, None
            ended()

    def _close_transport(self) -> None:
        """Close the socket once everything is written, or after ``CLOSE_TIMEOUT``."""
        self.transport.close()
        self._limit_closing_time()

    def _limit_closing_time(self) -> None:
        """Read on to see the peer's close, and drop the socket after ``CLOSE_TIMEOUT``."""
        self._events.ignore_limit()
        if self._close_timer is None and not self._is_lost:
            self._close_timer = self._loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def _call_on_gone(self) -> None:
        if self._on_gone is not None:
            callback, self._on_gone = self._on_gone, None
            callback()
