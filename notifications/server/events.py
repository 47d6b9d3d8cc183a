"""What waits for the ASGI application of one websocket."""

import asyncio
from collections import deque
from typing import Any

#: Events that may wait before nothing more is read from the socket.
MOST_WAITING = 8

Event = dict[str, Any]


class Events:
    """A queue that stops reading from the socket while the application does not keep up.

    An empty one holds nothing: an ``asyncio.Queue`` for each socket takes 3 KB.
    """

    __slots__ = ("_is_reading", "_loop", "_transport", "_waiter", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._waiting: deque[Event] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_reading = True

    def put(self, event: Event) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if len(self._waiting) >= MOST_WAITING:
            self._pause()

    async def get(self) -> Event:
        while self._waiting is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        event = self._waiting.popleft()
        if not self._waiting:
            self._waiting = None
            self.read_on()
        return event

    def read_on(self) -> None:
        """Read from the socket again, whatever waits."""
        if not self._is_reading and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def _pause(self) -> None:
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()
