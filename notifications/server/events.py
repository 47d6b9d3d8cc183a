"""The queue of ASGI events of one websocket, with back-pressure on its socket."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from .pausing import set_reading

#: Waiting events at which reading from the socket stops.
MAX_WAITING = 8

Event = dict[str, Any]


class Events:
    """A queue that stops reading from the socket while the application does not keep up.

    An empty queue allocates nothing; an ``asyncio.Queue`` for each socket would take 3 KB.
    """

    __slots__ = (
        "_holds",
        "_ignores_limit",
        "_is_reading",
        "_loop",
        "_transport",
        "_waiter",
        "_waiting",
        "is_full",
        "when_empty",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._waiting: deque[Event] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_reading = True
        self._ignores_limit = False
        self._holds = False
        #: ``MAX_WAITING`` events were reached; nothing should be put until none is left.
        self.is_full = False
        #: Called once, as soon as the queue is no longer full.
        self.when_empty: Callable[[], None] | None = None

    def put(self, event: Event) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if len(self._waiting) >= MAX_WAITING and not self._ignores_limit:
            self.is_full = True
            self._update_reading()

    @property
    def is_awaited(self) -> bool:
        """Does the application wait, with nothing left for it to do?"""
        return self._waiter is not None and self._waiting is None

    def __len__(self) -> int:
        return len(self._waiting or ())

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
            self._resume()
        return event

    def hold(self, holds: bool) -> None:
        """Set whether bytes are held that are not parsed yet; meanwhile the socket is not read."""
        self._holds = holds
        self._update_reading()

    def ignore_limit(self) -> None:
        """From now on, read from the socket however many events are waiting."""
        self._ignores_limit = True
        self._resume()

    def _resume(self) -> None:
        self.is_full = False
        if self.when_empty is not None:
            go_on, self.when_empty = self.when_empty, None
            self._loop.call_soon(go_on)
        self._update_reading()

    def _update_reading(self) -> None:
        may_read = not self.is_full and not self._holds
        self._is_reading = set_reading(self._transport, self._is_reading, may_read)
